//! Tables and `.ts` files.

use std::path::Path;

use edgectl::data::{DataConfig, Dataset, Expected, Format};
use edgectl_fuzz::Campaign;

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
