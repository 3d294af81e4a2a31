//! The jobs of `examples/` on a part of their data: training, and the answers of what was trained.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::hashes::{Hashes, json};

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A folder like the repository, with `examples/` and a part of one data set.
fn part_of(data: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let to = at.join("data").join(data);
    fs::create_dir_all(&to).expect("a folder");
    fs::create_dir(at.join("examples")).expect("a folder");
    let job = format!("examples/{data}.toml");
    fs::copy(repository(&job), at.join(&job)).expect("copied");
    let mut files: Vec<_> = fs::read_dir(repository("data").join(data))
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let is = |path: &Path, ending: &str| path.extension().is_some_and(|e| e == ending);
    for path in files.iter().filter(|p| is(p, "ts")) {
        copy(path, &to, every_seventh_case);
    }
    for path in files.iter().filter(|p| is(p, "csv")).take(3) {
        copy(path, &to, some_rows);
    }
    folder
}

fn copy(path: &Path, to: &Path, part: impl Fn(&str) -> String) {
    let text = fs::read_to_string(path).expect("text");
    let name = path.file_name().expect("a name");
    fs::write(to.join(name), part(&text)).expect("written");
}

/// The header of a `.ts` file, and every seventh case.
fn every_seventh_case(text: &str) -> String {
    let n_header = text.lines().position(|line| line.trim() == "@data").expect("a header") + 1;
    let header = text.lines().take(n_header);
    let cases = text.lines().skip(n_header).step_by(7);
    header.chain(cases).flat_map(|line| [line, "\n"]).collect()
}

/// Of every recording the first rows of each split: two or three windows.
fn some_rows(text: &str) -> String {
    let mut lines = text.lines();
    let header = lines.next().expect("a header");
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let rows = lines.filter(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let count = counts.entry((cells[0], cells[3])).or_default();
        *count += 1;
        *count <= 150
    });
    [header].into_iter().chain(rows).flat_map(|line| [line, "\n"]).collect()
}

fn compare(group: &'static str, data: &str) {
    let Some(mut hashes) = Hashes::of(group) else { return };
    let folder = part_of(data);
    let at = folder.path();
    let job = format!("examples/{data}.toml");
    json(at, &["init", "--config", &job, "--out", "fresh.safetensors"]);
    hashes.model("init", &at.join("fresh.safetensors"));
    json(at, &["train", "--config", &job, "--epochs", "2", "--out", "m.safetensors"]);
    hashes.model("train", &at.join("m.safetensors"));
    let predict = ["predict", "--model", "m.safetensors", "--data", &format!("data/{data}")];
    json(at, &[&predict[..], &["--out", "p.csv", "--tensors", "p.safetensors"]].concat());
    hashes.model("answers", &at.join("p.safetensors"));
    if data == "watch" {
        for precision in ["bf16", "int8"] {
            let eval = ["eval", "--model", "m.safetensors", "--data", "data/watch"];
            let report = json(at, &[&eval[..], &["--precision", precision]].concat());
            hashes.bytes(precision, report["loss"].to_string().as_bytes());
        }
        let scale = ["preprocess", "--model", "m.safetensors", "--data", "data/watch"];
        json(at, &[&scale[..], &["--out", "scaled.csv"]].concat());
        let scaled = fs::read_to_string(at.join("scaled.csv")).expect("readable");
        // The six channels, whatever stands before them.
        let values = scaled.lines().map(|line| line.rsplitn(7, ',').take(6).collect::<Vec<_>>());
        let values: Vec<String> = values.map(|row| row.join(",")).collect();
        hashes.bytes("scaled rows", values.join("\n").as_bytes());
        let simulate = ["simulate", "--epochs", "1", "--rounds", "2", "--out", "run"];
        json(at, &[&simulate[..], &["--centralised", "--keep-updates"]].concat());
        for file in ["global", "centralised", "fedavg/global", "nodes/subject_01"] {
            let path = at.join(format!("run/{file}.safetensors"));
            hashes.model(&format!("simulate {file}"), &path);
        }
    }
    if data == "gunpoint" {
        // A token for each step: 150 of them, more than a tile or a chunk of tokens holds.
        let text = fs::read_to_string(at.join(&job)).expect("text");
        let long = text.replace("patch_len = 5", "patch_len = 1");
        fs::write(at.join("examples/long.toml"), &long).expect("written");
        assert_ne!(text, long);
        let train = ["train", "--config", "examples/long.toml", "--epochs", "1"];
        json(at, &[&train[..], &["--out", "long.safetensors"]].concat());
        hashes.model("long", &at.join("long.safetensors"));
        let predict = ["predict", "--model", "long.safetensors", "--data", "data/gunpoint"];
        json(at, &[&predict[..], &["--out", "p.csv", "--tensors", "p.safetensors"]].concat());
        hashes.model("long answers", &at.join("p.safetensors"));
    }
    hashes.check();
}

#[test]
fn basicmotions() {
    compare("basicmotions", "basicmotions");
}

#[test]
fn gunpoint() {
    compare("gunpoint", "gunpoint");
}

#[test]
fn italypowerdemand() {
    compare("italypowerdemand", "italypowerdemand");
}

#[test]
fn japanesevowels() {
    compare("japanesevowels", "japanesevowels");
}

#[test]
fn watch() {
    compare("watch", "watch");
}
