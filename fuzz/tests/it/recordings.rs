//! Records, videos, pictures and sound, and tables that tell of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use edgectl::data::{Annotations, Colour, DataConfig, Dataset, Frames, LabelTable};
use edgectl_fuzz::Campaign;

/// Options by chance.
fn config(choice: u64) -> DataConfig {
    let bit = |n: u64| choice >> n & 1 == 1;
    let colour = if bit(0) { Colour::Rgb } else { Colour::Grey };
    let frames = Frames { size: bit(1).then_some([3, 2]), colour, fps: None };
    let annotations = bit(2).then(Annotations::default);
    DataConfig { frames: Some(frames), annotations, ..DataConfig::default() }
}

/// Reads a file; whether it is accepted.
fn read(path: PathBuf, config: &DataConfig) -> bool {
    let Ok(data) = Dataset::read(&[path], config, None) else { return false };
    let n_channels = data.channels.len();
    assert!(data.segments.iter().all(|s| s.values.len() == s.n_rows(n_channels) * n_channels));
    true
}

fn read_in(folder: &Path, name: &str, choice: u64) -> bool {
    read(folder.join(name), &config(choice))
}

#[test]
fn records() {
    Campaign::new("records", 5000)
        .damaged("r.hea", "wfdb-header")
        .damaged("r.dat", "wfdb-samples")
        .damaged("r.atr", "wfdb-marks")
        .run(|folder, choice| read_in(folder, "r.hea", choice));
}

#[test]
fn videos() {
    Campaign::new("videos", 5000)
        .damaged("v.y4m", "y4m")
        .run(|folder, choice| read_in(folder, "v.y4m", choice));
}

#[test]
fn listings() {
    Campaign::new("listings", 5000).damaged("labels.csv", "listing").sound("v.y4m", "y4m").run(
        |folder, choice| {
            let path = Some(folder.join("labels.csv"));
            let split_file = (choice % 8 == 7).then(|| folder.join("labels.csv"));
            let labels = Some(LabelTable { path, ..LabelTable::default() });
            let labels = labels.filter(|_| split_file.is_none());
            read(folder.join("v.y4m"), &DataConfig { labels, split_file, ..config(choice) })
        },
    );
}

#[test]
fn pictures() {
    // A byte may stand for 8,256 pixels of a bit, each of which is a byte once it is unpacked.
    Campaign::new("pictures", 5000)
        .allow(128 << 20)
        .damaged("p.png", "picture")
        .run(|folder, choice| read_in(folder, "p.png", choice));
}

#[test]
fn sounds() {
    Campaign::new("sounds", 5000)
        .damaged("s.wav", "wav")
        .run(|folder, choice| read_in(folder, "s.wav", choice));
}

#[test]
fn videos_of_ffmpeg() {
    let mut command = Command::new("ffmpeg");
    let command = command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null());
    if command.status().is_ok() {
        Campaign::new("videos-of-ffmpeg", 20)
            .at_most(1000)
            .damaged("v.mp4", "mp4")
            .run(|folder, choice| read_in(folder, "v.mp4", choice));
    }
}
