//! Bad tables, recordings and pictures: each kind is handled as documented, or refused in one message that
//! names the file, the place and the column where there is one, in bounded memory.

use std::fs;
use std::io::Write;
use std::path::Path;

use edgectl::data::Understood;
use edgectl::data::{DataConfig, Dataset};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::edgectl;

/// Most memory that a description of a few bytes may take.
const MOST_RSS: u64 = 256 << 20;

/// A folder with one file.
fn with(name: &str, bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(name), bytes).expect("written");
    folder
}

/// What is read of one file by training, or why not.
fn trained(at: &Path, name: &str) -> Result<Understood, String> {
    let data = Dataset::read(&[at.join(name)], &DataConfig::default(), None);
    data.map(|data| Understood::of(&data)).map_err(|error| format!("{error:#}"))
}

/// Describes a file with the command: its report, or its only message.
#[track_caller]
fn described(at: &Path, name: &str) -> Result<Value, String> {
    let args = ["preprocess", "describe", "--data", name, "--json"];
    let output = edgectl(at, &args).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{name}: {stderr}");
    if output.status.success() {
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        if let Some(bytes) = report["peak_rss_bytes"].as_u64() {
            assert!(bytes < MOST_RSS, "{name}: {bytes} bytes");
        }
        return Ok(report);
    }
    let n_errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(n_errors, 1, "{name}: {stderr}");
    assert!(output.stdout.is_empty(), "{name}");
    Err(stderr)
}

/// Both refuse the file in one message with these parts.
#[track_caller]
fn refused(name: &str, bytes: &[u8], parts: &[&str]) {
    let folder = with(name, bytes);
    let by_training = trained(folder.path(), name).expect_err(name);
    let by_describe = described(folder.path(), name).expect_err(name);
    for part in parts.iter().chain(&[name]) {
        assert!(by_training.contains(part), "{part:?} is missing: {by_training}");
        // Lines are folded for people.
        let unfolded = by_describe.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(unfolded.contains(part), "{part:?} is missing: {by_describe}");
    }
}

/// Both read the file; what describe says of it.
#[track_caller]
fn read(name: &str, bytes: &[u8]) -> Value {
    let folder = with(name, bytes);
    let by_training = trained(folder.path(), name).expect(name);
    let report = described(folder.path(), name).expect(name);
    assert_eq!(report["steps"], by_training.steps, "{name}");
    report
}

#[track_caller]
fn warns(report: &Value, part: &str) {
    let warnings = report["warnings"].as_array().expect("a list");
    let found =
        warnings.iter().filter(|warning| warning.as_str().is_some_and(|w| w.contains(part)));
    assert_eq!(found.count(), 1, "{part:?} in {warnings:?}");
}

#[test]
fn gaps_and_doubled_times_are_counted() {
    let row = |i: u32| format!("{},{}\n", i + 100 * (i / 20), i % 3);
    let rows: String = (0..40).map(row).collect();
    let report = read("d.csv", format!("t_s,x\n{rows}").as_bytes());
    assert_eq!((&report["gaps"], &report["rate_hz"]), (&1.into(), &1.0.into()));
    let report = read("d.csv", b"t_s,x\n0,1\n1,2\n1,1\n1,0\n2,3\n");
    assert_eq!(report["doubled_times"], 2);
    warns(&report, "line 4: the time is that of the row before");
    let report = read("d.csv", b"t,x\n2016-07-01 02:00+02:00,1\n2016-07-01T00:00:00Z,2\n");
    assert_eq!(report["doubled_times"], 1, "the same moment in two spellings");
}

#[test]
fn times_that_run_backwards_are_told_with_their_line() {
    for (text, at) in [
        ("t,x\n0,1\n2,2\n1,3\n", "line 4, column \"t\": time runs backwards, from 2 to 1"),
        ("t,x\n2016-07-02,1\n2016-07-01,2\n", "line 3, column \"t\": time runs backwards"),
        (
            "t,x\n2016-07-01 02:00+02:00,1\n2016-07-01 02:30+03:00,2\n",
            "line 3, column \"t\": time runs backwards",
        ),
    ] {
        let folder = with("d.csv", text.as_bytes());
        let error = trained(folder.path(), "d.csv").expect_err(text);
        assert!(error.contains(at), "{error}");
        let report = described(folder.path(), "d.csv").expect(text);
        assert_eq!(report["backward_times"], 1, "{text}");
        warns(&report, "time runs backwards, as in 1 rows");
    }
    // A name is no proof: training takes such a column for no time, and says so.
    let folder = with("d.csv", b"time,x\n0,1\n2,2\n1,3\n");
    let found = trained(folder.path(), "d.csv").expect("read");
    assert!(
        found.warnings.iter().any(|warning| warning.contains("\"time\" is called as times are")),
        "{found:?}"
    );
    assert_eq!(described(folder.path(), "d.csv").expect("described")["backward_times"], 1);
}

#[test]
fn times_of_two_spellings_are_refused() {
    for (text, parts) in [
        ("t,x\n0,1\n2016-07-01,1\n", &["line 3, column \"t\"", "a date", "line 2 is a number"][..]),
        (
            "t,x\n2016-07-01 1:00Z,1\n2016-07-01 2:00,1\n",
            &["line 3, column \"t\"", "with an offset"],
        ),
        ("t,x\n0,1\n,1\n", &["line 3, column \"t\": the cell is empty"]),
    ] {
        refused("d.csv", text.as_bytes(), parts);
    }
}

#[test]
fn constant_and_missing_channels_are_shown_as_such() {
    let report = read("d.csv", b"t,x,y\n0,5,\n1,5,NA\n2,5,?\n");
    assert_eq!(
        (&report["channels"][0]["min"], &report["channels"][0]["max"]),
        (&5.0.into(), &5.0.into())
    );
    assert_eq!(
        (&report["channels"][1]["min"], &report["channels"][1]["missing"]),
        (&Value::Null, &3.into())
    );
}

#[test]
fn a_channel_that_appears_later_is_told() {
    refused(
        "d.csv",
        b"t,x\n0,1\n1,2,3\n",
        &["line 3: expected 2 fields as in the header, found 3"],
    );
    refused(
        "d.csv",
        b"t,x,y\n0,1,2\n1,2\n",
        &["line 3: expected 3 fields as in the header, found 2"],
    );
    let report = read("d.jsonl", b"{\"t\":0,\"x\":1}\n{\"t\":1,\"x\":2,\"y\":3}\n");
    assert_eq!(
        (&report["channels"][1]["name"], &report["channels"][1]["missing"]),
        (&"y".into(), &1.into())
    );
    let line = |i: u32| format!("{{\"t\":{i},\"x\":1}}\n");
    let mut lines: String = (0..1200).map(line).collect();
    lines += "{\"t\":1200,\"x\":1,\"late\":2}\n";
    refused("d.jsonl", lines.as_bytes(), &["line 1201", "late"]);
}

#[test]
fn dialects_are_read_as_documented() {
    let report = read("d.csv", b"\xef\xbb\xbft;x\r\n0;1,5\n1;-2,25\r\n");
    assert_eq!(
        (&report["channels"][0]["min"], &report["channels"][0]["max"]),
        (&(-2.25).into(), &1.5.into())
    );
    assert_eq!(report["read"][0]["decimal"], ",");
    let report = read("d.csv", b"t,x\r0,1\r1,2\r");
    assert_eq!(report["steps"], 2, "line ends of old");
    refused(
        "d.csv",
        b"t;x\n0;1,5\n1;2.5\n",
        &["line 3, column \"x\"", "has a decimal point", "line 2"],
    );
    refused("d.csv", b"t,x\n0,1\n1,\"2,5\"\n", &["line 3, column \"x\"", "decimal point"]);
    refused("d.csv", b"t,x\n0,1\n1,\"2\n3,4\n", &["line 3"]);
    refused("d.csv", b"t,x\n0,1\n1,inf\n", &["line 3, column \"x\": expected a finite"]);
    refused("d.csv", b"", &["the file is empty"]);
    refused("d.csv", b"t,x\n", &["only a header"]);
    refused("d.csv", b"t,x,x\n0,1,2\n", &["\"x\""]);
    refused("d.csv", b"\x00\x01\x02\x03\xff\xfe\n\x00\n", &[]);
}

#[test]
fn packed_tables_that_are_cut_are_refused() {
    let row = |i: u32| format!("{i},{}\n", i * 7919 % 1013);
    let rows: String = (0..2000).map(row).collect();
    let text = format!("t,x\n{rows}");
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text.as_bytes()).expect("packed");
    let packed = packer.finish().expect("packed");
    assert_eq!(read("d.csv.gz", &packed)["steps"], 2000);
    for keep in [5, 20, packed.len() / 2, packed.len() - 4] {
        refused("d.csv.gz", &packed[..keep], &[]);
    }
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    refused("d.csv.gz", &damaged, &[]);
    // A zstd frame of one raw block, cut.
    refused("d.csv.zst", &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x41, 0x00, 0x00, b't'], &[]);
}

/// Zeros without end are not kept.
#[test]
fn a_small_file_that_unpacks_to_much_is_bounded() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b'0'; 1 << 20];
    packer.write_all(b"t,x\n").expect("packed");
    for _ in 0..300 {
        packer.write_all(&zeros).expect("packed");
    }
    let folder = with("d.csv.gz", &packer.finish().expect("packed"));
    let error = described(folder.path(), "d.csv.gz").expect_err("a row of 300 MB");
    assert!(error.contains("d.csv.gz"), "{error}");
}

/// A `.npy` file of such a shape with so many bytes of values.
fn npy(shape: &str, n_bytes: usize) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + n_bytes, 0);
    bytes
}

/// A WAV of one channel of 16 bits that says it has `claimed` bytes.
fn wav(claimed: u32, samples: &[i16]) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(claimed.saturating_add(36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(8000_u32.to_le_bytes());
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(claimed.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

#[test]
fn arrays_and_sounds_that_claim_too_much_are_refused() {
    assert_eq!(read("a.npy", &npy("(4, 2)", 64))["steps"], 4);
    for (shape, n_bytes) in [
        ("(4, 2)", 63),
        ("(4, 2)", 0),
        ("(1000000000000, 8)", 64),
        ("(18446744073709551615, 8)", 64),
        ("(4294967296, 4294967296, 4)", 64),
        ("(-1, 2)", 64),
    ] {
        refused("a.npy", &npy(shape, n_bytes), &[]);
    }
    refused("a.npy", b"\x93NUMPY\x01\x00\xff\xff{", &[]);
    refused("a.npz", b"PK\x03\x04 cut", &[]);
    assert_eq!(read("a.wav", &wav(8, &[1, 2, 3, 4]))["steps"], 4);
    refused("a.wav", &wav(4_000_000_000, &[1, 2, 3, 4]), &[]);
    refused("a.wav", &wav(8, &[1, 2])[..], &[]);
    refused("a.wav", &wav(8, &[1, 2, 3, 4])[..30], &[]);
}

#[test]
fn columnar_files_that_are_cut_are_refused() {
    let mut huge = b"PAR1".to_vec();
    huge.extend([0; 8]);
    huge.extend(u32::MAX.to_le_bytes());
    huge.extend(b"PAR1");
    for bytes in [&b"PAR1"[..], b"PAR1\0\0\0\0PAR1", b"PAR1 not a footer\x10\0\0\0PAR1", &huge] {
        refused("a.parquet", bytes, &[]);
    }
}

#[test]
fn videos_and_pictures_that_are_cut_are_refused() {
    let frame = |n: usize| [&b"FRAME\n"[..], &vec![7; n]].concat();
    let whole = [&b"YUV4MPEG2 W4 H2 F25:1 Cmono\n"[..], &frame(8), &frame(8)].concat();
    assert_eq!(read("a.y4m", &whole)["steps"], 2);
    refused("a.y4m", &whole[..whole.len() - 1], &[]);
    refused("a.y4m", b"YUV4MPEG2 W4 H2 F25:1 Cmono\n", &[]);
    refused("a.y4m", b"YUV4MPEG2 W4000000000 H4000000000 F25:1 Cmono\nFRAME\n", &[]);
    refused("a.y4m", b"YUV4MPEG2 W0 H2 F25:1 Cmono\nFRAME\n", &[]);
    let unknown = [&b"YUV4MPEG2 W4 H2 F0:0 Cmono\n"[..], &frame(8)].concat();
    assert!(read("a.y4m", &unknown)["rate_hz"].is_null(), "0:0 is a rate that nobody knows");
    // The head of a PNG of 4 billion by 4 billion points.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend([0xff, 0xff, 0xff, 0xf0, 0xff, 0xff, 0xff, 0xf0, 8, 0, 0, 0, 0]);
    png.extend(0xf7c0_98ba_u32.to_be_bytes());
    refused("a.png", &png, &[]);
    refused("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIH", &[]);
    refused("a.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", &[]);
}

#[test]
fn records_shorter_than_their_header_says_are_refused() {
    for (n_samples, n_bytes, is_read) in [
        ("4", 8, true),
        ("5", 8, false),
        ("4000000000", 8, false),
        ("99999999999999999999", 8, false),
    ] {
        let folder = with("r.dat", &vec![1; n_bytes]);
        let header = format!("r 1 100 {n_samples}\nr.dat 16 200 11 0 257 1028 0 x\n");
        fs::write(folder.path().join("r.hea"), header).expect("written");
        let (found, told) = (trained(folder.path(), "r.hea"), described(folder.path(), "r.hea"));
        assert_eq!(
            (found.is_ok(), told.is_ok()),
            (is_read, is_read),
            "{n_samples}: {found:?} {told:?}"
        );
        if let (Err(found), Err(told)) = (found, told) {
            assert!(found.contains("r.hea") || found.contains("r.dat"), "{found}");
            assert!(told.contains("r.hea") || told.contains("r.dat"), "{told}");
        }
    }
    refused("r.hea", b"r 1 100 4\nr.dat 16 200 11 0 0 0 0 x\n", &[]);
    refused("r.hea", b"r 4000000000 100 4\n", &[]);
}
