//! `aggregate` on updates of seven nodes: every strategy, reducer and server step, weights, privacy.

use std::fs;
use std::path::Path;

use super::federation;
use crate::hashes::{Hashes, json};

/// `global.safetensors` and `n1` to `n7.safetensors`, trained from it.
fn trained() -> tempfile::TempDir {
    let folder = federation(7);
    let at = folder.path();
    json(at, &["init", "--config", "job.toml", "--out", "global.safetensors"]);
    for node in 1..=7 {
        train(at, "global.safetensors", node, &[]);
    }
    folder
}

fn train(at: &Path, start: &str, node: u32, more: &[&str]) {
    let (data, out) = (format!("data/node_{node}.csv"), format!("n{node}.safetensors"));
    json(at, &[&["train", "--init", start, "--data", &data, "--out", &out], more].concat());
}

const UPDATES: [&str; 7] = [
    "n1.safetensors",
    "n2.safetensors",
    "n3.safetensors",
    "n4.safetensors",
    "n5.safetensors",
    "n6.safetensors",
    "n7.safetensors",
];

const BASE: [&str; 2] = ["--base", "global.safetensors"];

fn merge(at: &Path, updates: &[&str], more: &[&str]) {
    let _ = fs::remove_file(at.join("m.safetensors"));
    let _ = fs::remove_file(at.join("m.safetensors.server"));
    json(at, &[&["aggregate"], updates, more, &["--out", "m.safetensors"]].concat());
}

#[test]
fn strategies() {
    let Some(mut hashes) = Hashes::of("strategy") else { return };
    let folder = trained();
    let at = folder.path();
    for (n, strategy) in [
        (7, "fedavg"),
        (7, "weighted"),
        (7, "sgd"),
        (7, "fedsgd"),
        (7, "fedavgm"),
        (7, "fedadagrad"),
        (7, "fedadam"),
        (7, "fedadam:lr=0.1"),
        (7, "fedyogi"),
        (7, "fedadamw"),
        (7, "fedlion"),
        (7, "fednova"),
        (7, "fedbuff"),
        (1, "fedasync"),
        (7, "feddyn:alpha=0.1,population=7"),
        (7, "median"),
        (7, "trimmed-mean"),
        (7, "krum"),
        (7, "multi-krum"),
        (7, "bulyan"),
        (7, "geometric-median"),
        (7, "centred-clipping"),
        (7, "norm-clipped-mean"),
        (7, "linear"),
        (7, "ties"),
        (7, "ties:density=0.5,scale=0.8"),
        (7, "dare"),
        (7, "dare:density=0.3,seed=4"),
        (2, "slerp"),
        (2, "slerp:t=0.3"),
        (7, "job"),
    ] {
        let weights: &[&str] =
            if strategy == "weighted" { &["--weights", "1,2,3,4,3,2,1"] } else { &[] };
        merge(at, &UPDATES[..n], &[&BASE[..], &["--strategy", strategy], weights].concat());
        hashes.model(strategy, &at.join("m.safetensors"));
    }
    hashes.check();
}

#[test]
fn options() {
    let Some(mut hashes) = Hashes::of("merge") else { return };
    let folder = trained();
    let at = folder.path();
    for (name, more) in [
        ("uniform", &["--uniform"][..]),
        ("by count", &["--by-count"]),
        ("keep local", &["--keep-local", "blocks.*.norm*,head.bias"]),
        ("krum of two", &["--reduce", "krum:byzantine=2"]),
        ("multi-krum keep", &["--reduce", "multi-krum:byzantine=1,keep=4"]),
        ("trim", &["--reduce", "trimmed-mean:trim=0.4"]),
        ("geometric steps", &["--reduce", "geometric-median:steps=3,smoothing=0.001"]),
        ("buckets", &["--reduce", "median", "--bucket", "2", "--bucket-seed", "3"]),
        (
            "clipping in buckets",
            &["--reduce", "centred-clipping", "--bucket", "2", "--server", "sgd:momentum=0.9"],
        ),
        ("server and reducer", &["--reduce", "median", "--server", "yogi:lr=0.02"]),
        ("sgd lr and momentum", &["--strategy", "sgd", "--lr", "0.5", "--momentum", "0.3"]),
        ("private", &["--clip-norm", "0.1", "--noise-multiplier", "1.0", "--insecure-seed", "1"]),
        (
            "private quantile",
            &[
                "--clip-norm",
                "0.1",
                "--noise-multiplier",
                "1.0",
                "--insecure-seed",
                "2",
                "--clip-quantile",
                "0.5",
                "--sampling-rate",
                "0.5",
            ],
        ),
        ("strict", &["--strict", "--max-deviation", "off"]),
    ] {
        merge(at, &UPDATES, &[&BASE[..], more].concat());
        hashes.model(name, &at.join("m.safetensors"));
    }
    for (name, more) in [
        ("without a base", &[][..]),
        ("weights without a base", &["--weights", "3,1,1,1,1,1,2"]),
        ("median without a base", &["--strategy", "median"]),
        ("krum without a base", &["--strategy", "krum"]),
    ] {
        merge(at, &UPDATES, more);
        hashes.model(name, &at.join("m.safetensors"));
    }
    hashes.check();
}

/// Trees of merges, parts of models, and a second round that finds the center's memory.
#[test]
fn rounds() {
    let Some(mut hashes) = Hashes::of("round") else { return };
    let folder = trained();
    let at = folder.path();
    merge(at, &UPDATES[..3], &BASE);
    fs::rename(at.join("m.safetensors"), at.join("region.safetensors")).expect("renamed");
    for (name, more) in [("tree", &[][..]), ("tree by count", &["--by-count"])] {
        let updates = ["region.safetensors", UPDATES[3], UPDATES[4]];
        merge(at, &updates, &[&BASE[..], &["--max-weight", "off"], more].concat());
        hashes.model(name, &at.join("m.safetensors"));
    }

    for strategy in ["fedavgm", "fedadam", "fedyogi", "fedlion", "feddyn:alpha=0.1,population=7"] {
        fs::copy(at.join("global.safetensors"), at.join("g.safetensors")).expect("copied");
        for _ in 0..2 {
            for node in 1..=3 {
                train(at, "g.safetensors", node, &["--epochs", "1"]);
            }
            let files = ["--base", "g.safetensors", "--out", "g.safetensors"];
            let more = ["--strategy", strategy];
            json(at, &[&["aggregate"], &UPDATES[..3], &files, &more].concat());
        }
        hashes.model(&format!("two of {strategy}"), &at.join("g.safetensors"));
        let _ = fs::remove_file(at.join("g.safetensors.server"));
    }

    // A late update of the first model beside one of the second.
    fs::rename(at.join("g.safetensors"), at.join("second.safetensors")).expect("renamed");
    train(at, "global.safetensors", 1, &[]);
    // The planned rounds are over: at a rate that moves no weight, as that of the schedule would be.
    let job = fs::read_to_string(at.join("job.toml")).expect("read");
    let mut job: toml::Table = job.parse().expect("TOML");
    let options = job["train"].as_table_mut().expect("a table");
    let constant = toml::Table::from_iter([("name".to_owned(), "constant".into())]);
    options.insert("schedule".to_owned(), constant.into());
    options.insert("lr".to_owned(), 1e-30.into());
    fs::write(at.join("late.toml"), job.to_string()).expect("written");
    train(at, "second.safetensors", 2, &["--config", "late.toml"]);
    let late = ["--base", "second.safetensors", "--older-base", "global.safetensors"];
    merge(at, &UPDATES[..2], &[&late[..], &["--strategy", "fedbuff"]].concat());
    hashes.model("late", &at.join("m.safetensors"));

    train(at, "global.safetensors", 2, &["--trainable", "blocks.*.attn.*"]);
    train(at, "global.safetensors", 3, &["--trainable", "blocks.*.attn.*"]);
    for (name, updates, strategy) in [
        ("parts", &UPDATES[1..3], "fedavg"),
        ("parts and a whole", &UPDATES[..3], "fedavg"),
        ("parts with memory", &UPDATES[1..3], "fedadam"),
    ] {
        // Of two nodes none has more than half, unless every claim is believed.
        let more = ["--strategy", strategy, "--max-weight", "off"];
        merge(at, updates, &[&BASE[..], &more].concat());
        hashes.model(name, &at.join("m.safetensors"));
    }
    hashes.check();
}
