//! The main job by hand: init, train, aggregate, eval, predict, inspect.

use crate::support::{bytes, federation, json, ok, trained, weights};

#[test]
fn the_main_job_by_hand_learns_and_has_the_promised_keys() {
    let folder = federation();
    let at = folder.path();
    let has = |value: &serde_json::Value, keys: &[&str]| {
        for key in keys {
            assert!(value.get(key).is_some(), "key {key} is missing in {value}");
        }
    };
    let job = crate::support::JOB.replace("rounds = 3", "rounds = 4");
    std::fs::write(at.join("job.toml"), job).expect("written");
    ok(at, &["init", "--config", "job.toml", "--data", "data", "--out", "global.safetensors"]);
    let mut accuracy = 0.0;
    for _ in 0..4 {
        for node in ["1", "2", "3"] {
            let report = json(
                at,
                &[
                    "train",
                    "--init",
                    "global.safetensors",
                    "--data",
                    &format!("data/node_{node}.csv"),
                    "--out",
                    &format!("n{node}.safetensors"),
                    "--epochs",
                    "5",
                ],
            );
            has(
                &report,
                &[
                    "out",
                    "epochs",
                    "steps",
                    "examples",
                    "samples_per_s",
                    "loss",
                    "val",
                    "wall_s",
                    "peak_rss_bytes",
                ],
            );
        }
        let report = json(
            at,
            &[
                "aggregate",
                "n1.safetensors",
                "n2.safetensors",
                "n3.safetensors",
                "--base",
                "global.safetensors",
                "--out",
                "global.safetensors",
            ],
        );
        has(
            &report,
            &[
                "out",
                "inputs",
                "rejected",
                "strategy",
                "tensors",
                "parameters",
                "bytes_read",
                "wall_s",
                "peak_rss_bytes",
            ],
        );
        assert_eq!(report["inputs"], 3);
        let report = json(at, &["eval", "--model", "global.safetensors", "--data", "data"]);
        has(
            &report,
            &["task", "n", "loss", "accuracy", "macro_f1", "per_class", "confusion", "ece"],
        );
        assert_eq!(report["n"], 3 * 4, "one window of 20 rows in each series' test rows");
        accuracy = report["accuracy"].as_f64().expect("a number");
    }
    assert!(accuracy >= 0.9, "two easy classes, accuracy {accuracy}");
}

#[test]
fn predictions_inspection_and_scaled_rows_of_a_merged_model() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let merge = ["aggregate", "n1.safetensors", "n2.safetensors", "n3.safetensors"];
    let end = ["--base", "global.safetensors", "--out", "global.safetensors"];
    ok(at, &[&merge[..], &end[..]].concat());
    ok(
        at,
        &[
            "predict",
            "--model",
            "global.safetensors",
            "--data",
            "data/node_2.csv",
            "--out",
            "p.csv",
        ],
    );
    let csv = String::from_utf8(bytes(at, "p.csv")).expect("text");
    // 60 training rows give 5 windows at stride 10, 20 test rows one; four series.
    assert_eq!(csv.lines().count(), 1 + 4 * 6);
    assert!(csv.lines().next().is_some_and(|h| h.ends_with("p_fast,p_slow")), "{csv}");

    let text = ok(at, &["inspect", "global.safetensors"]);
    for part in ["blocks.0.attn.qkv.weight", "fast slow", "\"round\":1", "node_1"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    ok(
        at,
        &[
            "preprocess",
            "--model",
            "global.safetensors",
            "--data",
            "data/node_1.csv",
            "--out",
            "s.csv",
        ],
    );
    assert_eq!(String::from_utf8(bytes(at, "s.csv")).expect("text").lines().count(), 321);
}

#[test]
fn eval_leaves_training_rows_alone_and_all_takes_them() {
    let folder = federation();
    ok(folder.path(), &["init", "--config", "job.toml", "--out", "m.safetensors"]);
    let n = |args: &[&str]| {
        let all = [&["eval", "--model", "m.safetensors", "--data", "data"], args].concat();
        json(folder.path(), &all)["n"].clone()
    };
    assert_eq!(n(&[]), 12);
    assert_eq!(n(&["--all"]), 12 * 6);
}

#[test]
fn weights_of_the_files_and_of_the_command_line_count() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let merge = |args: &[&str], out: &str| {
        let all = [&["aggregate", "n1.safetensors", "n2.safetensors", "--out", out], args].concat();
        json(at, &all)
    };
    assert_eq!(merge(&[], "a.safetensors")["strategy"], "fedavg");
    assert_eq!(merge(&["--weights", "1,0"], "b.safetensors")["strategy"], "weighted");
    assert_eq!(merge(&["--uniform"], "c.safetensors")["strategy"], "fedavg");
    // Every node has 20 training windows, so examples and uniform weigh alike.
    assert_eq!(weights(at, "a.safetensors"), weights(at, "c.safetensors"));
    let evaluate =
        |model: &str| json(at, &["eval", "--model", model, "--data", "data"])["loss"].clone();
    assert_eq!(evaluate("b.safetensors"), evaluate("n1.safetensors"), "the other weighs nothing");
}

#[test]
fn a_validation_part_is_watched_and_patience_ends_the_run() {
    let folder = federation();
    let job = format!(
        "{}\n[train.validation]\nfraction = 0.5\nby = \"time\"\n",
        crate::support::JOB
            .replace("epochs = 2", "epochs = 200\npatience = 2")
            .replace("lr = 3e-3", "lr = 0.05")
    );
    std::fs::write(folder.path().join("job.toml"), job).expect("written");
    let report = json(folder.path(), &["train", "--config", "job.toml", "--out", "m.safetensors"]);
    assert!(
        report["epochs"].as_u64().is_some_and(|e| e < 200),
        "patience did not end it: {report}"
    );
    assert_eq!(report["val"]["n"], 24, "two windows in the last 30 of 60 rows: {report}");
}

#[test]
fn held_out_nodes_never_train_and_are_tested_at_the_end() {
    let folder = federation();
    let args = [
        "simulate",
        "--config",
        "job.toml",
        "--out",
        "run",
        "--holdout",
        "node_3",
        "--rounds",
        "1",
        "--keep-updates",
    ];
    let report = json(folder.path(), &args);
    assert_eq!(report["nodes"], serde_json::json!(["node_1", "node_2"]));
    assert_eq!(report["holdout"]["n"], 24, "all rows of the four series of node_3");
    let update = |node: &str| folder.path().join(format!("run/nodes/{node}.safetensors"));
    assert!(update("node_1").exists() && !update("node_3").exists());
}

#[test]
fn simulate_compares_with_plain_averaging_and_with_one_model() {
    let folder = federation();
    let args = ["simulate", "--config", "job.toml", "--out", "run", "--centralised"];
    let report = json(folder.path(), &args);
    assert_eq!(report["rounds"].as_array().map(Vec::len), Some(3));
    for key in ["final", "fedavg", "centralised"] {
        assert_eq!(report[key]["n"], 12, "{key}");
    }
    for file in ["global", "rounds/round-003", "centralised", "fedavg/global"] {
        assert!(folder.path().join(format!("run/{file}.safetensors")).exists(), "{file}");
    }
    assert!(!folder.path().join("run/nodes").exists(), "no update was to be kept");
}

/// The rows that a federation is compared with are what a run gives that was asked for plainly.
#[test]
fn comparison_rows_are_real_runs_whatever_the_federation_does() {
    let folder = federation();
    let at = folder.path();
    let sgd = crate::support::JOB
        .replace("lr = 3e-3", "lr = 0.1\noptimizer = { name = \"sgd\" }")
        .replace("server = { name = \"sgd\", lr = 1.0, momentum = 0.5 }", "");
    let run = |job: &str| {
        std::fs::write(at.join("job.toml"), job).expect("written");
        json(at, &["simulate", "--config", "job.toml", "--out", "run", "--centralised"])
    };
    let plain = run(&format!("{sgd}server = {{ name = \"replace\" }}\n"));
    assert_eq!(plain["fedavg"], plain["final"], "a plain job is its own baseline");
    for lines in [
        "correction = \"scaffold\"",
        "server = { name = \"dyn\", alpha = 0.1, population = 3 }",
        "server = { name = \"adam\", lr = 0.1 }",
        "reduce = { name = \"median\" }\nbucket = 2",
        "weights = \"uniform\"",
        "keep_local = [\"*norm*\"]",
        "max_deviation = \"off\"",
    ] {
        let report = run(&sgd.replace("rounds = 3", &format!("rounds = 3\n{lines}")));
        assert_eq!(report["fedavg"], plain["final"], "{lines}");
        assert_eq!(report["centralised"], plain["centralised"], "{lines}");
    }
    let pulled = sgd.replace("epochs = 2", "epochs = 2\nproximal = 2.0");
    let report = run(&format!("{pulled}server = {{ name = \"replace\" }}\n"));
    assert_ne!(report["final"], plain["final"], "the pull is felt");
    assert_eq!(report["fedavg"], plain["final"], "proximal");
    assert_eq!(report["centralised"], plain["centralised"], "proximal");
}

#[test]
fn a_time_budget_ends_training_with_the_model_saved() {
    let folder = federation();
    let args = [
        "train",
        "--config",
        "job.toml",
        "--out",
        "m.safetensors",
        "--epochs",
        "1000000",
        "--time-budget",
        "1s",
    ];
    let report = json(folder.path(), &args);
    assert_eq!(report["stopped"], "time budget spent");
    json(folder.path(), &["eval", "--model", "m.safetensors", "--data", "data"]);
}

#[test]
fn benchmarks_have_the_promised_keys() {
    let folder = federation();
    let small = [
        "--batch",
        "2",
        "--seq",
        "8",
        "--d-model",
        "8",
        "--heads",
        "2",
        "--d-ff",
        "8",
        "--seconds",
        "0.02",
    ];
    let cases: [&[&str]; 4] = [
        &[&["bench", "train"], &small[..]].concat(),
        &[&["bench", "infer"], &small[..]].concat(),
        &[
            "bench",
            "attention",
            "--batch",
            "2",
            "--seq",
            "9",
            "--head-dim",
            "4",
            "--backward",
            "--seconds",
            "0.02",
        ],
        &["bench", "gemm", "--m", "8", "--n", "9", "--k", "10", "--seconds", "0.02"],
    ];
    for case in cases {
        let report = json(folder.path(), &[case, &["--threads", "2"]].concat());
        for key in ["p50_us", "p90_us", "p99_us", "gflops", "matmul_gflops", "share"] {
            assert!(report[key].as_f64().is_some_and(|v| v > 0.0), "{key} in {report}");
        }
    }
}
