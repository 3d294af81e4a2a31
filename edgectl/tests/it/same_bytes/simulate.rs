//! `simulate`: every server step, reducer and correction over two rounds of five nodes.

use super::{federation, write_job};
use crate::hashes::{Hashes, json};

/// What is replaced in the job, by name.
const JOBS: &[(&str, &str)] = &[
    ("mean and replace", ""),
    ("sgd", r#"federation.server = { name = "sgd", lr = 0.7 }"#),
    ("momentum", r#"federation.server = { name = "sgd", lr = 1.0, momentum = 0.8 }"#),
    (
        "nesterov",
        r#"federation.server = { name = "sgd", lr = 1.0, momentum = 0.8, nesterov = true }"#,
    ),
    ("adagrad", r#"federation.server = { name = "adagrad" }"#),
    ("adam", r#"federation.server = { name = "adam", lr = 0.01 }"#),
    (
        "adam corrected",
        r#"federation.server = { name = "adam", lr = 0.01, bias_correction = true }"#,
    ),
    ("yogi", r#"federation.server = { name = "yogi" }"#),
    ("adamw", r#"federation.server = { name = "adamw" }"#),
    ("lion", r#"federation.server = { name = "lion" }"#),
    ("feddyn", r#"federation.server = { name = "dyn", alpha = 0.1, population = 5 }"#),
    (
        "scaffold",
        r#"
        train.optimizer = { name = "sgd" }
        train.lr = 0.03
        federation.correction = "scaffold"
        federation.weights = "uniform"
        federation.population = 6"#,
    ),
    ("keep local", r#"federation.keep_local = ["*norm*"]"#),
    ("uniform", r#"federation.weights = "uniform""#),
    ("count", r#"federation.weights = "count""#),
    (
        "clipping in buckets",
        r#"
        federation.reduce = { name = "centred-clipping" }
        federation.bucket = 2
        federation.server = { name = "sgd", lr = 1.0, momentum = 0.9 }"#,
    ),
    ("any length", "federation.max_deviation = 0.0"),
    ("proximal", "train.proximal = 0.5"),
    ("trainable", r#"train.trainable = ["blocks.*.attn.*", "head.*"]"#),
    ("three rounds", "federation.rounds = 3\ntrain.epochs = 1"),
];

#[test]
fn jobs() {
    let Some(mut hashes) = Hashes::of("simulate") else { return };
    let folder = federation(5);
    let at = folder.path();
    for (name, changes) in JOBS {
        write_job(at, changes);
        json(at, &["simulate", "--config", "job.toml", "--out", "run", "--keep-updates"]);
        hashes.model(name, &at.join("run/global.safetensors"));
        if ["scaffold", "feddyn", "keep local"].contains(name) {
            hashes.model(&format!("{name} node"), &at.join("run/nodes/node_4.safetensors"));
        }
        std::fs::remove_dir_all(at.join("run")).expect("removed");
    }
    hashes.check();
}

#[test]
fn reducers() {
    let Some(mut hashes) = Hashes::of("simulate-reduce") else { return };
    let folder = federation(7);
    let at = folder.path();
    for (name, more) in [
        ("mean", &[][..]),
        ("norm-clipped-mean", &[]),
        ("norm-clipped-mean:max_norm=0.1", &[]),
        ("median", &[]),
        ("trimmed-mean:trim=0.3", &[]),
        ("krum:byzantine=1", &[]),
        ("multi-krum:byzantine=2,keep=3", &[]),
        ("bulyan:byzantine=1", &[]),
        ("geometric-median", &[]),
        ("centred-clipping", &[]),
        ("centred-clipping:radius=0.2,steps=3", &["--bucket", "3"]),
        ("median", &["--bucket", "2", "--server", "adam:lr=0.02"]),
        ("nova", &[]),
        ("buffered", &[]),
        ("mean", &["--seed", "5"]),
        ("mean", &["--max-deviation", "off", "--server", "sgd:lr=0.5,momentum=0.9"]),
        ("mean", &["--holdout", "node_3"]),
    ] {
        let run = ["simulate", "--config", "job.toml", "--out", "run", "--reduce", name];
        json(at, &[&run[..], &["--epochs", "1"], more].concat());
        hashes.model(&[&[name], more].concat().join(" "), &at.join("run/global.safetensors"));
        std::fs::remove_dir_all(at.join("run")).expect("removed");
    }
    hashes.check();
}

/// What attackers do to a model is repeatable too; only the accuracies of each cell are kept.
#[test]
fn attackers() {
    let Some(mut hashes) = Hashes::of("simulate-attack") else { return };
    let folder = federation(5);
    let report = json(
        folder.path(),
        &[
            "simulate",
            "--config",
            "job.toml",
            "--out",
            "run",
            "--attack",
            "sign-flip,gaussian,label-flip,alie,ipm,nan",
            "--attackers",
            "1",
            "--reduce",
            "median",
            "--epochs",
            "1",
        ],
    );
    for cell in report["attacks"].as_array().expect("a list") {
        let text = format!("{} {}", cell["accuracy"], cell["refused"]);
        let name = cell["attack"].as_str().unwrap_or("none");
        hashes.bytes(name, text.as_bytes());
    }
    hashes.check();
}
