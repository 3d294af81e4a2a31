//! Files of checkpoint format 1, kept as edgectl 0.1.0 wrote them (`tests/golden/format1`, where
//! `make.sh` says how): whatever is read today must go on to be read, and to give the same answers.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::hashes::{Hashes, json, run};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format1");

/// By how much a loss or a probability may differ between machines.
const TOLERANCE: f64 = 2e-6;

/// A copy of the files, as commands write beside them.
fn files() -> TempDir {
    fn copy(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).expect("readable") {
            let entry = entry.expect("readable");
            let (path, target) = (entry.path(), to.join(entry.file_name()));
            if path.is_dir() {
                fs::create_dir(&target).expect("a folder");
                copy(&path, &target);
            } else {
                fs::copy(&path, &target).expect("copied");
            }
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    copy(Path::new(GOLDEN), folder.path());
    folder
}

fn answer(name: &str) -> String {
    fs::read_to_string(Path::new(GOLDEN).join("answers").join(name)).expect("text")
}

/// The same JSON but for rounding of numbers, and but for keys that only the new one has.
#[track_caller]
fn assert_alike(what: &str, found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (key, value) in expected {
                let inner = found.get(key).unwrap_or_else(|| panic!("{what}: no key {key}"));
                assert_alike(&format!("{what}: {key}"), inner, value);
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}");
            for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_alike(&format!("{what}[{i}]"), found, expected);
            }
        }
        (Value::Number(found), Value::Number(expected)) if expected.is_f64() => {
            let [found, expected] =
                [found, expected].map(|number| number.as_f64().expect("a number"));
            let same = (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0);
            assert!(same, "{what}: {found}, expected {expected}");
        }
        _ => assert_eq!(found, expected, "{what}"),
    }
}

/// The same table but for rounding of its last digits.
#[track_caller]
fn assert_same_table(what: &str, found: &str, expected: &str) {
    assert_eq!(found.lines().count(), expected.lines().count(), "{what}");
    for (i, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        let [found_cells, expected_cells] =
            [found, expected].map(|line| line.split(',').collect::<Vec<_>>());
        assert_eq!(found_cells.len(), expected_cells.len(), "{what}: line {}: {found}", i + 1);
        for (found_cell, expected_cell) in found_cells.iter().zip(&expected_cells) {
            let same = found_cell == expected_cell
                || match (found_cell.parse::<f64>(), expected_cell.parse::<f64>()) {
                    (Ok(a), Ok(b)) if expected_cell.contains('.') => (a - b).abs() <= TOLERANCE,
                    _ => false,
                };
            assert!(same, "{what}: line {}: {found}, expected {expected}", i + 1);
        }
    }
}

#[test]
fn models_and_updates_give_the_answers_they_gave() {
    let folder = files();
    let at = folder.path();
    for model in [
        "global",
        "update",
        "merged",
        "server/global",
        "scaffold/global",
        "scaffold/node_1",
        "interrupted/run",
    ] {
        let file = format!("{model}.safetensors");
        let found = json(at, &["eval", "--model", &file, "--data", "data"]);
        let expected = answer(&format!("{}.json", model.replace('/', "-")));
        assert_alike(model, &found, &serde_json::from_str(&expected).expect("JSON"));
    }
    for model in ["global", "merged", "scaffold/global"] {
        let file = format!("{model}.safetensors");
        let predict = ["predict", "--model", &file, "--data", "data/node_3.csv", "--out", "p.csv"];
        json(at, &predict);
        let found = fs::read_to_string(at.join("p.csv")).expect("text");
        assert_same_table(model, &found, &answer(&format!("{}.csv", model.replace('/', "-"))));
    }
}

#[test]
fn what_a_file_says_of_itself_is_understood() {
    let folder = files();
    let provenance = |file: &str| {
        let report = json(folder.path(), &["inspect", file]);
        report["edgectl"]["provenance"].clone()
    };
    let update = provenance("update.safetensors");
    assert_eq!(update["node"], "node_1");
    assert!(update["examples"].as_u64() > Some(0) && update["local_steps"].as_u64() > Some(0));
    assert!(update["metrics"]["loss"].is_number(), "{update}");
    assert_eq!(provenance("partial.safetensors")["partial"], true);
    let merged = provenance("merged.safetensors");
    assert_eq!(merged["round"], 1);
    assert_eq!(merged["merged"].as_array().map(Vec::len), Some(3), "{merged}");
    assert!(merged["merge"].is_object(), "{merged}");
    // All other kinds can at least be looked at.
    for file in ["server/global.safetensors.server", "scaffold/node_1.safetensors.variate"] {
        json(folder.path(), &["inspect", file]);
    }
    let text = run(folder.path(), &["inspect", "merged.safetensors"]);
    let text = String::from_utf8(text.stdout).expect("text");
    for part in ["blocks.0.attn.qkv.weight", "fast slow", "node_1", "node_2", "node_3"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn a_part_of_a_model_says_so() {
    let folder = files();
    let args = ["eval", "--model", "partial.safetensors", "--data", "data"];
    let output = run(folder.path(), &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("partial.safetensors") && stderr.contains("--base"), "{stderr}");
}

const UPDATES: [&str; 2] = ["update.safetensors", "other.safetensors"];

/// Training and merging go on from these files, to the bytes to which they went then.
#[test]
fn everything_goes_on() {
    let folder = files();
    let at = folder.path();
    let mut hashes = Hashes::of("format1");
    let mut keep = |name: &str, file: &str| {
        if let Some(hashes) = &mut hashes {
            hashes.model(name, &at.join(file));
        }
    };
    let train = |start: &str, node: u32, out: &str, more: &[&str]| {
        let data = format!("data/node_{node}.csv");
        json(at, &[&["train", "--init", start, "--data", &data, "--out", out], more].concat());
    };
    let merge = |updates: &[&str], base: &str, out: &str, more: &[&str]| {
        let files = ["--base", base, "--out", out];
        json(at, &[&["aggregate"], updates, &files[..], more].concat())
    };

    // An update trained again from its base, and training from each kind of model.
    train("global.safetensors", 1, "n.safetensors", &[]);
    keep("from global", "n.safetensors");
    for start in ["update.safetensors", "merged.safetensors", "interrupted/run.safetensors"] {
        train(start, 2, "n.safetensors", &["--epochs", "3"]);
        keep(&format!("from {start}"), "n.safetensors");
    }
    train("merged.safetensors", 3, "n.safetensors", &["--trainable", "blocks.*.attn.*"]);
    keep("part from merged", "n.safetensors");

    // Updates, also a part of a model and a merged one, into their base.
    let three = [&UPDATES[..], &["partial.safetensors"]].concat();
    for strategy in ["fedavg", "median", "fedadam", "job"] {
        merge(&UPDATES, "global.safetensors", "m.safetensors", &["--strategy", strategy]);
        keep(&format!("two by {strategy}"), "m.safetensors");
        fs::remove_file(at.join("m.safetensors.server")).ok();
        merge(&three, "global.safetensors", "m.safetensors", &["--strategy", strategy]);
        keep(&format!("three by {strategy}"), "m.safetensors");
        fs::remove_file(at.join("m.safetensors.server")).ok();
    }
    let report = merge(&["merged.safetensors"], "global.safetensors", "m.safetensors", &[]);
    assert_eq!(report["n_updates"], 3, "the merged updates are counted: {report}");
    keep("merged again", "m.safetensors");
    train("merged.safetensors", 1, "n.safetensors", &[]);
    merge(&["n.safetensors"], "merged.safetensors", "merged.safetensors", &[]);
    keep("next round", "merged.safetensors");

    // The center's memory moves the second round.
    let global = "server/global.safetensors";
    for (node, out) in [(1, "s1.safetensors"), (2, "s2.safetensors")] {
        train(global, node, out, &[]);
    }
    let updates = ["s1.safetensors", "s2.safetensors"];
    merge(&updates, global, "forgotten.safetensors", &["--strategy", "fedavg"]);
    merge(&updates, global, global, &["--strategy", "job"]);
    keep("server", global);

    // Variates: the center's inside its model, a node's beside its update.
    let global = "scaffold/global.safetensors";
    let nodes = ["scaffold/node_1.safetensors", "scaffold/node_2.safetensors"];
    merge(&nodes, global, "scaffold/next.safetensors", &["--strategy", "job"]);
    keep("scaffold merge", "scaffold/next.safetensors");
    train(global, 1, nodes[0], &[]);
    keep("scaffold node with its variate", nodes[0]);
    fs::rename(at.join("scaffold/next.safetensors"), at.join(global)).expect("renamed");
    train(global, 1, nodes[0], &[]);
    train(global, 2, nodes[1], &[]);
    merge(&nodes, global, global, &["--strategy", "job"]);
    keep("scaffold next round", global);

    if let Some(hashes) = hashes {
        hashes.check();
    }
}

/// An interrupted run goes on to the bytes to which it went then, on a machine of its kind those of
/// a whole run, or is refused in words and kept.
#[test]
fn a_state_goes_on_or_is_refused() {
    let folder = files();
    let at = folder.path();
    let state = fs::read(at.join("interrupted/run.safetensors.state")).expect("readable");
    let train = ["train", "--init", "global.safetensors", "--data", "data/node_1.csv"];
    let out = ["--epochs", "400", "--out", "interrupted/run.safetensors", "--resume"];
    let output = run(at, &[&train[..], &out].concat());
    if output.status.success() {
        if let Some(mut hashes) = Hashes::of("format1-state") {
            hashes.model("resumed", &at.join("interrupted/run.safetensors"));
            hashes.check();
        }
    } else {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
        assert!(stderr.contains("interrupted/run.safetensors.state"), "{stderr}");
        let kept = fs::read(at.join("interrupted/run.safetensors.state")).expect("still there");
        assert!(kept == state, "the refused state was changed");
        json(at, &["eval", "--model", "interrupted/run.safetensors", "--data", "data"]);
    }
}
