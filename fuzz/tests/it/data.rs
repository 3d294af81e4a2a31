//! Tables and samples in every format.

use std::path::Path;

use edgectl::data::{DataConfig, Dataset, Expected, Format};
use edgectl_fuzz::Campaign;

/// Files of NumPy and pyarrow, which edgectl's own tests read too.
const GOLDEN_NPY: &str = "../../edgectl/tests/golden/formats/npy";
const GOLDEN_NPZ: &str = "../../edgectl/tests/golden/formats/npz";
const GOLDEN_PARQUET: &str = "../../edgectl/tests/golden/formats/parquet";

/// Reads a file as the data of a job by chance; whether it is accepted.
fn read(path: &Path, choice: u64) -> bool {
    let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let config = DataConfig {
        format: [Format::Auto, Format::Auto, Format::Long, Format::Wide][choice as usize % 4],
        channels: (choice / 4).is_multiple_of(4).then(|| strings(&["x"])),
        wide_channels: 1 + choice as usize / 16 % 2,
        ..DataConfig::default()
    };
    let (channels, classes) = (strings(&["x"]), strings(&["fast", "slow"]));
    let expected = Expected { channels: &channels, classes: &classes };
    let expected = (choice / 32).is_multiple_of(4).then_some(expected);
    let Ok(data) = Dataset::read(&[path.to_owned()], &config, expected) else { return false };
    let n_channels = data.channels.len();
    assert!(data.segments.iter().all(|s| s.values.len() == s.n_rows(n_channels) * n_channels));
    assert!(data.nodes().len() <= data.segments.len());
    true
}

#[test]
fn tables() {
    Campaign::new("tables", 5000)
        .damaged("d.csv", "csv")
        .run(|folder, choice| read(&folder.join("d.csv"), choice));
}

#[test]
fn ts_files() {
    Campaign::new("ts-files", 5000)
        .damaged("d.ts", "ts")
        .run(|folder, choice| read(&folder.join("d.ts"), choice));
}

#[test]
fn arff_files() {
    Campaign::new("arff-files", 5000)
        .damaged("d.arff", "arff")
        .run(|folder, choice| read(&folder.join("d.arff"), choice));
}

#[test]
fn json_lines() {
    Campaign::new("json-lines", 5000)
        .damaged("d.jsonl", "jsonl")
        .run(|folder, choice| read(&folder.join("d.jsonl"), choice));
}

#[test]
fn npy_files() {
    Campaign::new("npy-files", 5000)
        .damaged("d.npy", GOLDEN_NPY)
        .run(|folder, choice| read(&folder.join("d.npy"), choice));
}

#[test]
fn npz_files() {
    Campaign::new("npz-files", 5000)
        .damaged("d.npz", GOLDEN_NPZ)
        .run(|folder, choice| read(&folder.join("d.npz"), choice));
}

#[test]
fn parquet_files() {
    Campaign::new("parquet-files", 5000)
        .damaged("d.parquet", GOLDEN_PARQUET)
        .run(|folder, choice| read(&folder.join("d.parquet"), choice));
}
