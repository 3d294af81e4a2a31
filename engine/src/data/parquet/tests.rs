//! Files of pyarrow and polars, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{DataConfig, Dataset, Expected, Labels, Understood};
use proptest::prelude::*;

fn golden(name: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../edgectl/tests/golden/formats/parquet");
    folder.join(format!("{name}.parquet"))
}

fn read_with(path: PathBuf, config: &DataConfig) -> Result<Dataset, String> {
    Dataset::read(&[path], config, None).map_err(|error| format!("{error:#}"))
}

fn read(path: PathBuf) -> Result<Dataset, String> {
    read_with(path, &DataConfig::default())
}

/// Reads a file of such bytes.
fn read_bytes(bytes: &[u8]) -> Result<Dataset, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.parquet");
    fs::write(&path, bytes).unwrap();
    read(path)
}

/// What `make_formats.py` puts into most files.
fn check_table(name: &str) {
    let data = read(golden(name)).unwrap();
    assert_eq!(
        (&data.channels[..], &data.classes[..]),
        (&["x", "y", "z"].map(str::to_owned)[..], &["run", "walk"].map(str::to_owned)[..]),
        "{name}"
    );
    let [segment] = &data.segments[..] else { panic!("{name}: {data:?}") };
    let labels = (0..50).map(|row| Some(u32::from(row < 25))).collect();
    assert_eq!(segment.labels, Labels::PerRow(labels), "{name}");
    let times: Vec<f64> = (0..50).map(|row| f64::from(row) * 0.5).collect();
    assert_eq!(segment.times.as_deref(), Some(&times[..]), "{name}");
    assert_eq!(segment.values.len(), 150, "{name}");
    for (row, values) in segment.values.chunks_exact(3).enumerate() {
        let i = row as f64;
        assert_eq!(values[0].is_nan(), row % 7 == 3, "{name}, row {row}");
        assert!(row % 7 == 3 || values[..1] == [i / 4.0], "{name}, row {row}");
        assert_eq!(values[1..], [i - 20.0, (row % 5) as f64], "{name}, row {row}");
    }
}

#[test]
fn every_encoding_is_read() {
    ["snappy", "none", "pages", "delta", "lengths"].into_iter().for_each(check_table);
}

#[test]
#[cfg(feature = "compression")]
fn gzip_and_zstd_are_unpacked() {
    ["gzip", "zstd", "polars"].into_iter().for_each(check_table);
}

#[test]
fn every_type_of_number_is_read() {
    let data = read(golden("types")).unwrap();
    let names = ["bool", "i8", "u8", "u32", "u64", "half", "dec", "day", "noon", "ns", "empty"];
    assert_eq!(data.channels, names);
    let [segment] = &data.segments[..] else { panic!("{data:?}") };
    assert_eq!(segment.times.as_deref(), Some(&[1_467_331_200.0, 1_467_331_201.0][..]));
    let two_to_63 = 9_223_372_036_854_775_808.0;
    let first = [1.0, -1.0, 255.0, 4e9, two_to_63, 0.5, 1.25, 86_400.0, 43_200.0, 1.5];
    let second = [0.0, 2.0, 2.0, 2.0, 2.0, -2.0, -0.5, -86_400.0, 0.001, -1.0];
    assert_eq!((&segment.values[..10], &segment.values[11..21]), (&first[..], &second[..]));
    assert!(segment.values[10].is_nan() && segment.values[21].is_nan());
}

#[test]
fn stamps_of_96_bits_are_times() {
    let data = read(golden("stamps")).unwrap();
    let times = [1_467_331_200.0, 1_467_334_800.0];
    assert_eq!(data.segments[0].times.as_deref(), Some(&times[..]));
}

#[test]
fn what_is_not_read_is_named() {
    let error = read(golden("brotli")).unwrap_err();
    assert!(
        error.contains("row 1 or after: damaged (Parquet error: packed with BROTLI")
            || error.contains("packed with BROTLI, which is not read"),
        "{error}"
    );
    let error = read(golden("nested")).unwrap_err();
    assert!(error.contains("nested.parquet: column \"acc\" is nested"), "{error}");
    let channels = Some(vec!["x".to_owned()]);
    let config = DataConfig { channels, ..DataConfig::default() };
    assert_eq!(read_with(golden("nested"), &config).unwrap().segments[0].values, [1.0, 2.0]);
    let channels = Some(vec!["label".to_owned()]);
    let label = Some("y".to_owned());
    let config = DataConfig { label, channels, ..DataConfig::default() };
    let error = read_with(golden("snappy"), &config).unwrap_err();
    assert!(
        error.contains("snappy.parquet: row 1, column \"label\": expected a number"),
        "{error}"
    );
}

#[test]
fn whole_numbers_are_classes_digit_by_digit() {
    let label = Some("y".to_owned());
    let channels = Some(vec!["x".to_owned()]);
    let config = DataConfig { label, channels, ..DataConfig::default() };
    let data = read_with(golden("none"), &config).unwrap();
    assert_eq!(
        (data.classes.len(), &data.classes[..2]),
        (50, &["-20", "-19"].map(str::to_owned)[..])
    );
}

#[test]
fn a_model_gets_its_channels_in_its_order() {
    let (channels, classes) = (["z".to_owned(), "y".to_owned()], []);
    let expected = Some(Expected { channels: &channels, classes: &classes });
    let data = Dataset::read(&[golden("snappy")], &DataConfig::default(), expected).unwrap();
    assert_eq!(data.segments[0].values[..4], [0.0, -20.0, 1.0, -19.0]);
}

#[test]
fn it_is_described_as_it_is_read() {
    let data = read(golden("snappy")).unwrap();
    let understood = Understood::of(&data);
    assert_eq!(understood.channels[0].missing, 7, "{understood:?}");
}

#[test]
fn damage_is_told() {
    let sound = fs::read(golden("snappy")).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sound.clone();
        change(&mut bytes);
        read_bytes(&bytes).unwrap_err()
    };
    let n = sound.len();
    for (error, reason) in [
        (changed(&|bytes| bytes.truncate(7)), "too short for a Parquet file"),
        (changed(&|bytes| bytes.truncate(n - 1)), "does not end as a Parquet file does"),
        (changed(&|bytes| bytes[n - 1] = b'E'), "encrypted Parquet is not read"),
        (changed(&|bytes| bytes[n - 5] = 0x7f), "its end claims more bytes than the file has"),
        (changed(&|bytes| bytes[n - 20..n - 8].fill(0xff)), "the end of the file is damaged"),
        (changed(&|bytes| bytes[4] = 0xff), "column \"t\", row 1 or after: damaged"),
        (changed(&|bytes| drop(bytes.drain(4..400))), "or after"),
    ] {
        assert!(error.contains("d.parquet: ") && error.contains(reason), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_edit_returns(at: prop::sample::Index, byte: u8, file in 0..4_usize) {
        let mut bytes = fs::read(golden(["snappy", "delta", "lengths", "types"][file])).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read_bytes(&bytes);
    }
}
