//! Preprocessing that is fitted across nodes: by hand as simulated, whatever the order, and refused where
//! it does not fit.

use std::fs;
use std::path::Path;

use crate::support::{JOB, bytes, fails, federation, json, ok};

/// Statistics of each node of [`federation`], and the job that they are for.
fn fitted(folder: &Path, steps: &str) -> Vec<String> {
    let job = JOB.replace("[[preprocess]]\nstep = \"z-score\"", steps);
    assert!(steps.contains("z-score") || job != JOB);
    fs::write(folder.join("job.toml"), job).expect("written");
    let nodes = (1..=3).map(|n| {
        let (data, out) = (format!("data/node_{n}.csv"), format!("stats-{n}.safetensors"));
        ok(folder, &["preprocess", "fit", "--config", "job.toml", "--data", &data, "--out", &out]);
        out
    });
    nodes.collect()
}

/// The fitted steps of a model.
fn steps(folder: &Path, model: &str) -> serde_json::Value {
    json(folder, &["inspect", model])["checkpoint"]["preprocess"]["steps"].clone()
}

#[track_caller]
fn assert_close(a: &serde_json::Value, b: &serde_json::Value) {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Array(a), Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| assert_close(a, b));
        }
        (Object(a), Object(b)) if a.len() == b.len() => {
            a.iter().for_each(|(key, value)| assert_close(value, &b[key]));
        }
        (Number(x), Number(y)) => {
            let (x, y) = (x.as_f64().expect("a number"), y.as_f64().expect("a number"));
            assert!((x - y).abs() <= 1e-12 * (1.0 + y.abs()), "{a} and {b}");
        }
        _ => assert_eq!(a, b),
    }
}

const STEPS: &str = "[[preprocess]]\nstep = \"impute\"\nmethod = \"previous\"\n[[preprocess]]\nstep = \"z-score\"\n[[preprocess]]\nstep = \"min-max\"";

#[test]
fn statistics_of_nodes_fit_what_their_rows_would() {
    let folder = federation();
    let at = folder.path();
    let stats = fitted(at, STEPS);
    ok(at, &["init", "--config", "job.toml", "--data", "data", "--out", "pooled"]);
    for order in [[0, 1, 2], [2, 0, 1]] {
        let files: Vec<&str> = order.iter().map(|&i| &*stats[i]).collect();
        let merge = [&["aggregate"], &files[..], &["--out", "stats"]].concat();
        let report = json(at, &merge);
        assert_eq!((&report["inputs"], &report["capped"]), (&3.into(), &serde_json::json!([])));
        ok(at, &["init", "--config", "job.toml", "--stats", "stats", "--out", "merged"]);
        assert_close(&steps(at, "merged"), &steps(at, "pooled"));
        fs::rename(at.join("merged"), at.join(format!("merged-{}", order[0]))).expect("moved");
    }
    assert!(bytes(at, "merged-0") == bytes(at, "merged-2"), "the order of nodes");
    // The model is one like any other.
    ok(at, &["train", "--init", "merged-0", "--data", "data/node_1.csv", "--out", "n1"]);
    ok(at, &["eval", "--model", "n1", "--data", "data/node_1.csv"]);
    let apply = ["preprocess", "apply", "--data", "data/node_2.csv", "--out"];
    ok(at, &[&apply[..], &["m.csv", "--model", "merged-0"]].concat());
    ok(at, &[&apply[..], &["s.csv", "--config", "job.toml", "--stats", "stats"]].concat());
    assert!(bytes(at, "m.csv") == bytes(at, "s.csv"));
}

#[test]
fn simulated_nodes_fit_by_the_same_statistics() {
    let folder = federation();
    let at = folder.path();
    let stats = fitted(at, STEPS);
    let job = fs::read_to_string(at.join("job.toml")).expect("a job");
    let job = job.replace("[federation]\n", "[federation]\nfit = \"statistics\"\n");
    assert!(job.contains("fit = "), "{job}");
    fs::write(at.join("sim.toml"), job).expect("written");
    let files: Vec<&str> = stats.iter().map(|file| &**file).collect();
    ok(at, &[&["aggregate"], &files[..], &["--out", "stats"]].concat());
    ok(at, &["init", "--config", "job.toml", "--stats", "stats", "--out", "merged"]);
    ok(at, &["simulate", "--config", "sim.toml", "--rounds", "1", "--out", "run"]);
    assert_eq!(steps(at, "run/global.safetensors"), steps(at, "merged"));
}

#[test]
fn what_does_not_fit_is_said() {
    let folder = federation();
    let at = folder.path();
    let stats = fitted(at, STEPS);
    fails(at, &["aggregate", &stats[0], &stats[0], "--out", "stats"], &["node \"node_1\""]);
    ok(at, &["init", "--config", "job.toml", "--data", "data", "--out", "g"]);
    fails(at, &["aggregate", &stats[0], "g", "--out", "stats"], &["merge them apart"]);
    let flag = ["aggregate", &stats[0], &stats[1], "--out", "stats", "--reduce", "median"];
    fails(at, &flag, &["--reduce has no effect on statistics"]);
    fs::write(at.join("other.toml"), JOB).expect("written");
    let other = ["init", "--config", "other.toml", "--stats", &stats[0], "--out", "x"];
    fails(at, &other, &["of other [[preprocess]] steps than the job has"]);
    let model = ["init", "--config", "job.toml", "--stats", "g", "--out", "x"];
    fails(at, &model, &["g: no statistics: it has no metadata key"]);
    ok(at, &["preprocess", "fit", "--config", "other.toml", "--out", "o", "--data", "data"]);
    let steps = ["aggregate", &stats[0], "o", "--out", "stats"];
    fails(at, &steps, &["the steps of preprocessing differ"]);
    assert!(!at.join("stats").exists() && !at.join("x").exists());
}

#[test]
fn the_node_of_a_folder_is_called_after_it_and_of_several_files_after_the_first() {
    let folder = federation();
    let at = folder.path();
    fs::write(at.join("job.toml"), JOB).expect("written");
    let named = |data: &[&str]| {
        let fit = ["preprocess", "fit", "--config", "job.toml", "--out", "o", "--data"];
        json(at, &[&fit[..], data].concat())["node"].clone()
    };
    assert_eq!(named(&["data"]), "data");
    assert_eq!(named(&["data/node_2.csv"]), "node_2");
    assert_eq!(named(&["data/node_2.csv", "data/node_1.csv"]), "node_2+1");
}
