//! What was taken from the data is shown by every command that makes or trains a model, as lines and as
//! JSON, with warnings of what is strange.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{edgectl, fails, federation, table};

/// The commands that read data for a model, each into files of its own.
const COMMANDS: [&[&str]; 3] = [
    &["init", "--config", "job.toml", "--out", "g.safetensors"],
    &["train", "--config", "job.toml", "--out", "m.safetensors"],
    &["simulate", "--config", "job.toml", "--rounds", "1", "--epochs", "1", "--out", "run"],
];

/// Runs a command with `--json`; its report, and what it says on stderr.
#[track_caller]
fn run(at: &Path, args: &[&str]) -> (Value, String) {
    let output = edgectl(at, &[args, &["--json"]].concat()).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {stderr}");
    (serde_json::from_slice(&output.stdout).expect("JSON"), stderr)
}

/// A federation whose data a change was made to.
fn with(change: impl Fn(String) -> String) -> TempDir {
    let folder = federation();
    for node in 1..=3 {
        let path = folder.path().join(format!("data/node_{node}.csv"));
        fs::write(path, change(table(node))).expect("written");
    }
    folder
}

/// The warnings of every command, which are the same on stderr and in the report.
#[track_caller]
fn warnings(folder: &TempDir) -> Vec<String> {
    let mut found = Vec::new();
    for args in COMMANDS {
        let (report, stderr) = run(folder.path(), args);
        let told: Vec<String> =
            serde_json::from_value(report["warnings"].clone()).expect("a list of warnings");
        for warning in &told {
            assert!(stderr.contains(&format!("warning: {warning}")), "{args:?}: {stderr}");
        }
        assert_eq!(stderr.matches("warning: ").count(), told.len(), "{args:?}: {stderr}");
        // A loss may rise by chance.
        let of_data = told.into_iter().filter(|warning| !warning.contains("loss rose"));
        found.push(of_data.collect::<Vec<_>>());
    }
    assert!(found.iter().all(|others| *others == found[0]), "{found:?}");
    found.swap_remove(0)
}

#[test]
fn what_was_read_is_in_the_report_and_on_stderr() {
    let folder = federation();
    for args in COMMANDS {
        let (report, stderr) = run(folder.path(), args);
        let data = &report["data"];
        let roles = json!({
            "series": "series", "time": "t", "label": "label", "split": "split", "node": null
        });
        assert_eq!(data["read"][0]["files"], 3, "{args:?}: {data}");
        assert_eq!(data["read"][0]["layout"], "long");
        assert_eq!(data["read"][0]["delimiter"], ",");
        assert_eq!(data["read"][0]["roles"], roles);
        assert_eq!(data["steps"], 3 * 4 * 80);
        assert_eq!(data["channels"][1]["name"], "y");
        assert_eq!(
            data["classes"],
            json!([{"name": "fast", "rows": 480}, {"name": "slow", "rows": 480}])
        );
        assert!(
            stderr.contains("and 2 more: read as a long table: each row is a time step"),
            "{stderr}"
        );
        assert!(stderr.contains("classes, with their rows: fast 480, slow 480"), "{stderr}");
        let quiet =
            edgectl(folder.path(), &[args, &["--quiet"]].concat()).output().expect("it runs");
        let quiet = String::from_utf8_lossy(&quiet.stderr).into_owned();
        assert!(!quiet.contains("read as"), "{args:?}: {quiet}");
    }
    assert_eq!(warnings(&folder), [""; 0]);
}

/// Without a column that says so, a row is a sample: that is a guess, and is told.
#[test]
fn a_table_of_time_steps_without_their_name_is_told_to_be_wide() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let mut rows = String::from("clock,x,label\n");
    for i in 0..64 {
        let _ = writeln!(rows, "{i},{},{}", i % 5, ["a", "b"][i / 32]);
    }
    fs::write(at.join("d.csv"), rows).expect("written");
    fs::write(
        at.join("job.toml"),
        "model = { d_model = 8, n_heads = 2, n_layers = 1, d_ff = 16 }\n",
    )
    .expect("written");
    for args in &COMMANDS[..2] {
        let (report, stderr) = run(at, &[args, &["--data", "d.csv"][..]].concat());
        assert_eq!(report["data"]["read"][0]["layout"], "wide");
        assert!(stderr.contains("d.csv: read as a wide table: each row is a sample"), "{stderr}");
    }
}

#[test]
fn a_time_stamp_among_the_channels_is_a_warning() {
    let stamped = |text: String| {
        let rows = text.lines().enumerate().map(|(i, line)| match i {
            0 => format!("{line},timestamp\n"),
            _ => format!("{line},{}\n", 1_467_331_200 + 40 * i),
        });
        rows.collect::<String>()
    };
    let found = warnings(&with(stamped));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("the channel \"timestamp\" only grows"), "{found:?}");
}

#[test]
fn classes_that_differ_in_spelling_are_a_warning() {
    let found = warnings(&with(|text| text.replacen("slow", "Slow", 7)));
    assert_eq!(
        found,
        [
            "the classes \"Slow\", \"slow\" differ in spelling only; if they are one, write them alike"
        ]
    );
    let number =
        |text: String| text.replace("fast", "1").replace("slow", "2").replacen(",1,", ",1.0,", 9);
    assert_eq!(warnings(&with(number)).len(), 1);
}

#[test]
fn labels_that_are_missing_are_no_class() {
    let missing = |text: String| text.replacen("slow", "NA", 3).replacen("slow", "NaN", 3);
    let quoted = |text: String| missing(text).replacen(",fast", ", \"fast\"", 5);
    for folder in [with(missing), with(quoted)] {
        let (report, _) = run(folder.path(), COMMANDS[0]);
        assert_eq!(report["classes"], json!(["fast", "slow"]));
        assert_eq!(report["data"]["classes"][1]["rows"], 480 - 18);
    }
}

/// What is said of a file that begins as one packed with gzip does.
const GZIP: &str = if cfg!(feature = "compression") {
    "the gzip data in it is damaged or cut off"
} else {
    "compressed with gzip"
};

/// Dialects of one table give one model; what cannot be read is named for what it is.
#[test]
fn dialects_are_read_or_named() {
    let weights = |change: &dyn Fn(String) -> String| {
        let folder = with(change);
        run(folder.path(), COMMANDS[1]);
        crate::support::weights(folder.path(), "m.safetensors")
    };
    let plain = weights(&|text| text);
    assert_eq!(weights(&|text| text.replace(',', "|")), plain);
    assert_eq!(weights(&|text| format!("# phone, 1\n# walk\n{text}")), plain);
    assert_eq!(weights(&|text| format!("sep=,\r\n{text}")), plain);
    assert_eq!(weights(&|text| format!("sep=;\n{}", text.replace(',', ";"))), plain);
    let with_commas = |text: String| text.replace(',', ";").replace('.', ",");
    assert_eq!(weights(&with_commas), plain);
    let (report, stderr) = run(with(with_commas).path(), COMMANDS[0]);
    assert_eq!(report["data"]["read"][0]["decimal"], ",");
    assert!(stderr.contains("; ',' before decimals"), "{stderr}");

    let folder = federation();
    let at = folder.path();
    for (bytes, part) in [
        (&b"\x1f\x8b\x08\0rest"[..], GZIP),
        (b"\xfd7zXZ\0rest", "compressed with xz"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"PAR1rest", "a Parquet file"),
        (
            b"series,t,label,split,x,y\n0,0,a,train,\"1,234.5\",2\n",
            "line 2, column \"x\": expected a number without thousands separators",
        ),
        (
            b"series;t;label;split;x;y\n0;0;a;train;1,5;2\n0;1;a;train;1;2.5\n",
            "line 3, column \"y\": \"2.5\" has a decimal point, but the same file holds \"1,5\" at line 2, \
             column \"x\"",
        ),
        (b"# by me\nsep=;\nseries;t;x\n0;0;q\n", "line 4, column \"x\": expected a number"),
    ] {
        fs::write(at.join("c.csv"), bytes).expect("written");
        for args in COMMANDS {
            fails(at, &[args, &["--data", "c.csv"]].concat(), &["c.csv", part]);
        }
    }
}

/// Packed files of a folder are its data, and give the model of the plain ones.
#[cfg(feature = "compression")]
#[test]
fn packed_tables_are_read() {
    use std::io::Write as _;

    let plain = federation();
    run(plain.path(), COMMANDS[1]);
    let packed = federation();
    let at = packed.path();
    for node in 1..=3 {
        let name = at.join(format!("data/node_{node}.csv"));
        fs::remove_file(&name).expect("removed");
        let file = fs::File::create(name.with_extension("csv.gz")).expect("created");
        let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        file.write_all(table(node).as_bytes()).expect("written");
        file.finish().expect("written");
    }
    run(at, COMMANDS[1]);
    let weights = |folder: &TempDir| crate::support::weights(folder.path(), "m.safetensors");
    assert_eq!(weights(&packed), weights(&plain));
}

/// Rates, gaps and doubled times are shown; the unit is that of the column's name, or of dates.
#[test]
fn times_are_understood() {
    let renamed = |text: String| {
        let rows = text.lines().enumerate().map(|(i, line)| {
            let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            cells[1] = match cells[1].parse::<u32>() {
                Err(_) => "t_ms".to_owned(),
                // The second row has the time of the first, and the fourth comes late.
                Ok(_) if i == 2 => "0".to_owned(),
                Ok(t) => (20 * t + if t >= 3 { 1000 } else { 0 }).to_string(),
            };
            cells.join(",") + "\n"
        });
        rows.collect()
    };
    let folder = with(renamed);
    let (report, stderr) = run(folder.path(), COMMANDS[0]);
    let data = &report["data"];
    assert_eq!(
        (&data["read"][0]["roles"]["time"], &data["read"][0]["time_unit"]),
        (&json!("t_ms"), &json!("ms"))
    );
    assert_eq!(
        (data["rate_hz"].as_f64(), data["times"]["step"].as_f64()),
        (Some(50.0), Some(0.02))
    );
    // A late row in each series, and the row behind the doubled one of each file.
    assert_eq!((&data["gaps"], &data["doubled_times"]), (&json!(3 * 4 + 3), &json!(3)));
    assert!(
        stderr.contains("times: 0 s to 2.58 s, a step of 0.02 s; 50 rows a second; 15 gaps"),
        "{stderr}"
    );
    let found = warnings(&folder);
    assert_eq!(found.len(), 3, "one for each file: {found:?}");
    assert!(
        found[0].contains("line 3: the time is that of the row before, as in 1 rows"),
        "{found:?}"
    );

    let at = folder.path();
    let mut rows = String::from("timestamp,value\n");
    for i in 0..48 {
        let _ = writeln!(rows, "2015-02-{:02} {:02}:00:00,{}", 26 + i / 24, i % 24, i % 5);
    }
    fs::write(at.join("nab.csv"), &rows).expect("written");
    let read = |name: &str| {
        edgectl::data::Understood::read(&[at.join(name)], &edgectl::data::DataConfig::default())
    };
    let found = read("nab.csv").expect("it is understood");
    assert_eq!(found.channels.iter().map(|c| &c.name[..]).collect::<Vec<_>>(), ["value"]);
    assert_eq!((found.series, found.steps, found.gaps), (1, 48, 0));
    assert!(found.lines()[2].contains("2015-02-26T00:00:00 to 2015-02-27T23:00:00"), "{found:?}");
    fs::write(at.join("back.csv"), rows.replace("27 05", "27 03")).expect("written");
    let error = format!("{:#}", read("back.csv").expect_err("it runs backwards"));
    assert!(error.contains("column \"timestamp\""), "{error}");
}
