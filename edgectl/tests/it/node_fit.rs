//! Steps with `fit = "node"`: each node's values are its own, what is merged has none, and who answers
//! without values is told what to do.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Value, json as value};
use tempfile::TempDir;

use crate::support::{JOB, bytes, fails, federation, json, ok, table};

/// A federation of nodes whose sensors have another offset and gain each, and a job with a shared step
/// before one of each node.
fn shifted() -> TempDir {
    let folder = federation();
    for node in 1..=3 {
        let path = folder.path().join(format!("data/node_{node}.csv"));
        fs::write(path, moved(&table(node), f64::from(node))).expect("written");
    }
    fs::write(folder.path().join("job.toml"), job()).expect("written");
    folder
}

/// The same rows by another sensor.
fn moved(table: &str, by: f64) -> String {
    let mut lines = table.lines();
    let mut text = format!("{}\n", lines.next().expect("a head"));
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<f64>().expect("a number");
        let (x, y) = (100.0 * by + by * number(4), number(5) - 30.0 * by);
        writeln!(text, "{},{x:.4},{y:.4}", cells[..4].join(",")).expect("written");
    }
    text
}

fn job() -> String {
    let steps =
        "[[preprocess]]\nstep = \"min-max\"\n[[preprocess]]\nstep = \"z-score\"\nfit = \"node\"";
    let job = JOB.replace("[[preprocess]]\nstep = \"z-score\"", steps);
    assert_ne!(job, JOB);
    job
}

/// The steps of a model's preprocessing.
fn steps(folder: &Path, model: &str) -> Vec<Value> {
    let meta = json(folder, &["inspect", model])["edgectl"].clone();
    meta["preprocess"]["steps"].as_array().expect("steps").clone()
}

const UNFITTED: &str = r#"{"fit":"node","of":{"step":"z-score"},"step":"unfitted"}"#;

fn rounds(folder: &Path) {
    ok(folder, &["init", "--config", "job.toml", "--out", "g0"]);
    for node in 1..=3 {
        let (data, out) = (format!("data/node_{node}.csv"), format!("n{node}"));
        ok(folder, &["train", "--init", "g0", "--data", &data, "--out", &out]);
    }
    ok(folder, &["aggregate", "n1", "n2", "n3", "--base", "g0", "--out", "g1"]);
}

#[test]
fn updates_with_their_own_values_merge_and_the_next_round_fits_again() {
    let folder = shifted();
    let at = folder.path();
    rounds(at);
    let merged = steps(at, "g1");
    assert_eq!(steps(at, "g0"), merged);
    assert_eq!(merged[1].to_string(), UNFITTED);
    let needs = json(at, &["inspect", "g1"])["edgectl"]["needs"].clone();
    assert_eq!(needs, value!(["node-fit"]));
    let own: Vec<Vec<Value>> = ["n1", "n2", "n3"].map(|n| steps(at, n)).into();
    for node in &own {
        assert_eq!(node[0], merged[0], "what is shared stays as it was");
        assert_eq!((&node[1]["fit"], &node[1]["step"]), (&"node".into(), &"z-score".into()));
    }
    assert!(own[0][1]["mean"] != own[1][1]["mean"] && own[1][1]["mean"] != own[2][1]["mean"]);
    // Without a base they agree as well.
    ok(at, &["aggregate", "n3", "n1", "n2", "--out", "free"]);
    assert_eq!(steps(at, "free"), merged);

    let report =
        json(at, &["train", "--init", "g1", "--data", "data/node_2.csv", "--out", "again"]);
    assert_eq!(steps(at, "again"), own[1], "the same rows give the same values");
    let data = "data/node_2.csv";
    let said = value!({ "steps": [{ "position": 1, "step": "z-score" }], "rows": 240, "of": data });
    assert_eq!(report["node_fit"], said);
    // From another node's model the values are this node's all the same.
    ok(at, &["train", "--init", "n1", "--data", data, "--out", "other"]);
    assert_eq!(steps(at, "other"), own[1]);

    // A fresh model of one node has its values, and a job with another configuration does not merge.
    let other = job().replace("fit = \"node\"", "");
    fs::write(at.join("other.toml"), other).expect("written");
    ok(at, &["init", "--config", "other.toml", "--out", "h0"]);
    ok(at, &["train", "--init", "h0", "--data", data, "--out", "h2"]);
    let report = json(at, &["aggregate", "n1", "h2", "n3", "--base", "g0", "--out", "g2"]);
    assert_eq!(report["n_updates"], 2, "{report}");
    let why = report["rejected"].to_string();
    assert!(why.contains("h2") && why.contains("another preprocess than the others"), "{why}");
}

#[test]
fn a_merged_model_is_evaluated_by_the_values_of_the_data_or_of_statistics() {
    let folder = shifted();
    let at = folder.path();
    rounds(at);
    let eval = ["eval", "--model", "g1", "--data"];
    let own = json(at, &[&eval[..], &["data/node_3.csv"]].concat());
    assert_eq!(own["node_fit"]["rows"], 240);
    // The same with the node's values in the model.
    ok(at, &["train", "--init", "g1", "--data", "data/node_3.csv", "--epochs", "1", "--out", "n"]);
    let fitted = json(at, &["eval", "--model", "n", "--data", "data/node_3.csv"]);
    assert_eq!(fitted.get("node_fit"), None);

    // Changing test rows changes no value.
    let text = fs::read_to_string(at.join("data/node_3.csv")).expect("a table");
    let (train, test): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| !l.contains(",test,"));
    let (train, head) = (train.join("\n") + "\n", train[0].to_owned() + "\n");
    let far = train.clone() + &test.join("\n").replace(",test,", ",test,9");
    fs::write(at.join("far.csv"), far).expect("written");
    let apply = ["preprocess", "apply", "--model", "g1", "--out"];
    ok(at, &[&apply[..], &["a.csv", "--data", "data/node_3.csv"]].concat());
    ok(at, &[&apply[..], &["b.csv", "--data", "far.csv"]].concat());
    let kept = |file: &str| -> Vec<String> {
        let text = String::from_utf8(bytes(at, file)).expect("text");
        text.lines().filter(|line| line.contains("train")).map(str::to_owned).collect()
    };
    let cells = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|l| l.split(',').rev().take(2).collect::<Vec<_>>().join(",")).collect()
    };
    let (a, b) = (cells(kept("a.csv")), cells(kept("b.csv")));
    assert!(a.len() == 240 && a == b, "{} and {} rows", a.len(), b.len());

    // Where only test rows are there, statistics of the training rows give the values.
    fs::write(at.join("train.csv"), &train).expect("written");
    fs::write(at.join("new.csv"), head + &test.join("\n")).expect("written");
    let fit = ["preprocess", "fit", "--model", "g1", "--data", "train.csv", "--out", "s"];
    assert_eq!(json(at, &fit)["rows"], 240);
    let stats = json(at, &[&eval[..], &["new.csv", "--stats", "s"]].concat());
    assert_eq!(stats["node_fit"]["of"], "s");
    assert_eq!((&stats["n"], &stats["accuracy"]), (&own["n"], &own["accuracy"]));
    let predict = ["predict", "--model", "g1", "--out"];
    ok(at, &[&predict[..], &["p.csv", "--data", "new.csv", "--stats", "s"]].concat());
    ok(at, &[&apply[..], &["c.csv", "--data", "new.csv", "--stats", "s"]].concat());

    let says =
        ["step 1 (z-score) is fitted by each node", "--stats FILE", "preprocess fit --model"];
    fails(at, &[&eval[..], &["new.csv"]].concat(), &says);
    fails(at, &[&predict[..], &["q.csv", "--data", "new.csv"]].concat(), &says);
    let unmarked = text.replace(",train,", ",unmarked,").replace(",test,", ",unmarked,");
    fs::write(at.join("unmarked.csv"), unmarked).expect("written");
    fails(at, &[&eval[..], &["unmarked.csv", "--all"]].concat(), &says);
    let given = ["eval", "--model", "n3", "--data", "new.csv", "--stats", "s"];
    fails(at, &given, &["--stats s has no effect", "all steps of the model have values"]);
    ok(at, &["eval", "--model", "n3", "--data", "new.csv"]);
}

#[test]
fn what_is_written_for_the_model_is_read_with_its_steps_behind_it() {
    let folder = shifted();
    let at = folder.path();
    rounds(at);
    let data = "data/node_1.csv";
    ok(at, &["preprocess", "apply", "--model", "g1", "--data", data, "--out", "scaled.csv"]);
    let train = ["train", "--init", "g1", "--out"];
    ok(at, &[&train[..], &["raw", "--data", data, "--node", "a"]].concat());
    let scaled = [&train[..], &["scaled", "--data", "scaled.csv", "--node", "a"]].concat();
    ok(at, &[&scaled[..], &["--preprocessed"]].concat());
    // Values are not known there, and the weights are the same.
    assert_eq!(steps(at, "scaled"), steps(at, "g1"));
    let raw = json(at, &["eval", "--model", "raw", "--data", data]);
    let again = ["eval", "--model", "scaled", "--data", "scaled.csv", "--preprocessed"];
    assert_eq!(json(at, &again)["loss"], raw["loss"]);
}

#[test]
fn simulated_nodes_fit_their_own_as_by_hand() {
    let folder = shifted();
    let at = folder.path();
    rounds(at);
    let run =
        ["simulate", "--config", "job.toml", "--rounds", "1", "--keep-updates", "--out", "run"];
    let report = json(at, &[&run[..], &["--centralised"]].concat());
    assert_eq!(report["node_fit"]["steps"], value!([{ "position": 1, "step": "z-score" }]));
    assert_eq!(report["node_fit"]["by_statistics"], value!([]));
    assert!(report["centralised"]["accuracy"].is_number() && report["fedavg"]["n"].is_number());
    for (node, own) in [("node_1", "n1"), ("node_2", "n2"), ("node_3", "n3")] {
        assert_eq!(steps(at, &format!("run/nodes/{node}.safetensors")), steps(at, own));
    }
    assert_eq!(steps(at, "run/global.safetensors"), steps(at, "g1"));
    // Its metrics are those of all nodes, each by its values.
    let mut correct = 0.0;
    for node in 1..=3 {
        let data = format!("data/node_{node}.csv");
        let one = json(at, &["eval", "--model", "run/global.safetensors", "--data", &data]);
        let (n, accuracy) = (one["n"].as_f64().expect("n"), one["accuracy"].as_f64().expect("a"));
        correct += n * accuracy;
    }
    let last = &report["final"];
    let all = last["n"].as_f64().expect("n") * last["accuracy"].as_f64().expect("a share");
    assert!((all - correct).abs() < 1e-6, "{all} and {correct}");
}

#[test]
fn nodes_that_do_not_train_take_the_values_of_merged_statistics() {
    let folder = shifted();
    let at = folder.path();
    let only_test = moved(&table(4), 2.0).replace(",train,", ",test,");
    fs::write(at.join("data/node_4.csv"), only_test).expect("written");
    let run = [
        "simulate",
        "--config",
        "job.toml",
        "--rounds",
        "1",
        "--holdout",
        "node_3",
        "--out",
        "run",
    ];
    let report = json(at, &run);
    assert_eq!(report["node_fit"]["by_statistics"], value!(["node_4", "node_3"]));
    assert!(report["holdout"]["n"].as_u64() > Some(0));
    // By hand: a file of statistics of each training node, merged.
    let model = "run/global.safetensors";
    for node in ["1", "2"] {
        let (data, out) = (format!("data/node_{node}.csv"), format!("s{node}"));
        ok(at, &["preprocess", "fit", "--model", model, "--data", &data, "--out", &out]);
    }
    ok(at, &["aggregate", "s1", "s2", "--out", "s"]);
    let eval = ["eval", "--model", model, "--data", "data/node_3.csv", "--all", "--stats", "s"];
    assert_eq!(json(at, &eval)["loss"], report["holdout"]["loss"]);
}

#[test]
fn shared_steps_behind_those_of_nodes_are_fitted_across_nodes() {
    let folder = shifted();
    let at = folder.path();
    let steps_of = "step = \"z-score\"\nfit = \"node\"\n[[preprocess]]\nstep = \"min-max\"";
    let job = job().replace("step = \"min-max\"", "step = \"log1p\"");
    let job = job.replace("step = \"z-score\"\nfit = \"node\"", steps_of);
    fs::write(at.join("job.toml"), &job).expect("written");
    ok(at, &["init", "--config", "job.toml", "--out", "pooled"]);
    for node in 1..=3 {
        let (data, out) = (format!("data/node_{node}.csv"), format!("s{node}"));
        ok(at, &["preprocess", "fit", "--config", "job.toml", "--data", &data, "--out", &out]);
    }
    ok(at, &["aggregate", "s1", "s2", "s3", "--out", "s"]);
    ok(at, &["init", "--config", "job.toml", "--stats", "s", "--out", "merged"]);
    let (pooled, merged) = (steps(at, "pooled"), steps(at, "merged"));
    assert_eq!((pooled[1].to_string().as_str(), &merged[1]), (UNFITTED, &pooled[1]));
    let low = |steps: &[Value]| steps[2]["min"][0].as_f64().expect("a number");
    assert!((low(&merged) - low(&pooled)).abs() < 1e-9 && low(&merged) > -9.0, "{merged:?}");
    let job = job.replace("[federation]\n", "[federation]\nfit = \"statistics\"\n");
    fs::write(at.join("sim.toml"), job).expect("written");
    ok(at, &["simulate", "--config", "sim.toml", "--rounds", "1", "--out", "run"]);
    assert_eq!(steps(at, "run/global.safetensors"), merged);
    ok(
        at,
        &[
            "preprocess",
            "apply",
            "--config",
            "job.toml",
            "--stats",
            "s",
            "--data",
            "data/node_1.csv",
            "--out",
            "a.csv",
        ],
    );
    ok(
        at,
        &[
            "preprocess",
            "apply",
            "--model",
            "merged",
            "--data",
            "data/node_1.csv",
            "--out",
            "b.csv",
        ],
    );
    assert!(bytes(at, "a.csv") == bytes(at, "b.csv"));
}

#[test]
fn it_is_refused_where_nothing_is_fitted_and_shown_where_it_is() {
    let folder = shifted();
    let at = folder.path();
    let wrong = job().replace("step = \"min-max\"", "step = \"log1p\"\nfit = \"node\"");
    fs::write(at.join("wrong.toml"), wrong).expect("written");
    let init = ["init", "--config", "wrong.toml", "--out", "g"];
    fails(at, &init, &["step 0: log1p: fit = \"node\" has no effect", "leave it out"]);
    fs::write(at.join("typo.toml"), job().replace("\"node\"", "\"nod\"")).expect("written");
    fails(at, &["init", "--config", "typo.toml", "--out", "g"], &["nod", "shared", "node"]);
    let own = job().replace("step = \"min-max\"", "step = \"log1p\"");
    fs::write(at.join("own.toml"), own).expect("written");
    let fit = ["preprocess", "fit", "--config", "own.toml", "--data", "data", "--out", "s"];
    fails(at, &fit, &["no [[preprocess]] step is left", "with --model"]);

    ok(at, &["init", "--config", "job.toml", "--out", "g0"]);
    let text = ok(at, &["inspect", "g0"]);
    assert!(
        text.contains("node steps: step 1 (z-score) is fitted by each node; here no values"),
        "{text}"
    );
    ok(at, &["train", "--config", "job.toml", "--data", "data/node_1.csv", "--out", "one"]);
    let text = ok(at, &["inspect", "one"]);
    assert!(text.contains("fitted by each node; here the values of one"), "{text}");
    assert!(!String::from_utf8_lossy(&bytes(at, "g0")).contains("\"fit\":\"shared\""));
}

#[test]
fn a_run_that_was_resumed_gives_the_same_bytes() {
    let folder = shifted();
    let at = folder.path();
    rounds(at);
    let train = ["train", "--init", "g1", "--data", "data/node_2.csv", "--epochs", "3", "--out"];
    ok(at, &[&train[..], &["whole"]].concat());
    ok(at, &[&train[..], &["parts", "--stop-after-steps", "5"]].concat());
    ok(at, &[&train[..], &["parts", "--resume"]].concat());
    assert!(bytes(at, "whole") == bytes(at, "parts"));
}

#[test]
fn private_training_keeps_values_with_the_rows() {
    let folder = shifted();
    let at = folder.path();
    let private = "[train.private]\nclip_norm = 1.0\nnoise_multiplier = 1.0\n[train.augment]";
    let job = job().replace("[train.augment]", private).replace("stride = 10", "train_stride = 20");
    let job = job.replace("shift = 3", "shift = 0");
    fs::write(at.join("job.toml"), job).expect("written");
    ok(at, &["init", "--config", "job.toml", "--out", "g0"]);
    ok(at, &["train", "--init", "g0", "--data", "data/node_2.csv", "--out", "n2"]);
    assert_eq!(steps(at, "n2"), steps(at, "g0"));
    ok(at, &["eval", "--model", "n2", "--data", "data/node_2.csv"]);
}
