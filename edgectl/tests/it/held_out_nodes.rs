//! Training rows that the nodes of a simulation hold out: what is measured on them, and that nothing learns
//! from them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::held_out::{disturbed, job};
use crate::support::{JOB, edgectl, fails, federation, json, ok, weights};

const SIMULATE: [&str; 7] = ["simulate", "--config", "job.toml", "--rounds", "2", "--epochs", "2"];

/// A simulation in its folder `out`; its report.
fn simulate(at: &Path, out: &str, flags: &[&str]) -> Value {
    json(at, &[&SIMULATE[..], &["--out", out], flags].concat())
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// The report without times.
fn timeless(mut report: Value) -> Value {
    let object = report.as_object_mut().expect("an object");
    object.retain(|key, _| !["wall_s", "peak_rss_bytes", "out"].contains(&key.as_str()));
    for round in object["rounds"].as_array_mut().expect("rounds") {
        round.as_object_mut().expect("an object").remove("wall_s");
    }
    report
}

/// Of each node's four series, two of each class, the first two are held out.
const HALF: [&str; 3] = ["--validation", "0.5", "--centralised"];

#[test]
fn what_nodes_hold_out_trains_no_model() {
    let folder = federation();
    let at = folder.path();
    job(at, "");
    simulate(at, "a", &HALF);
    disturbed(at, |series, row| series < 2 && row < 60);
    simulate(at, "b", &HALF);
    disturbed(at, |series, row| series == 2 && row < 60);
    simulate(at, "c", &HALF);
    for model in ["global", "fedavg/global", "centralised", "rounds/round-001"] {
        let of = |run: &str| weights(at, &format!("{run}/{model}.safetensors"));
        assert!(of("a") == of("b"), "{model} learned from held-out rows");
        assert!(of("a") != of("c"), "{model} did not learn from the others");
    }
}

#[test]
fn every_model_is_measured_on_the_same_held_out_windows() {
    let folder = federation();
    let at = folder.path();
    let report = simulate(at, "run", &HALF);
    assert_eq!(report["validation"]["by"], "series");
    // Five windows in the 60 training rows of each of six series.
    assert_eq!(
        (&report["validation"]["windows"], &report["validation"]["of_training"]),
        (&30.into(), &30.into())
    );
    let rounds = report["rounds"].as_array().expect("rounds");
    assert_eq!(rounds.len(), 2);
    assert_eq!(rounds[1]["val"], report["final_val"]);
    assert_ne!(rounds[0]["val"], report["final_val"]);
    for val in
        [&rounds[0]["val"], &report["final_val"], &report["fedavg_val"], &report["centralised_val"]]
    {
        let counts: Vec<&Value> =
            val["per_class"].as_array().expect("classes").iter().map(|c| &c["n"]).collect();
        assert_eq!((&val["n"], counts), (&30.into(), vec![&15.into(), &15.into()]), "{val}");
    }
    // The same windows by another command: the held-out rows alone.
    fs::create_dir(at.join("held")).expect("a folder");
    for node in 1..=3 {
        let table = crate::support::table(node);
        let kept = table.lines().filter(|line| {
            line.starts_with("series") || (line.starts_with(['0', '1']) && line.contains(",train,"))
        });
        let kept = kept.fold(String::new(), |text, line| text + line + "\n");
        fs::write(at.join(format!("held/node_{node}.csv")), kept).expect("written");
    }
    for (model, val) in [
        ("global", "final_val"),
        ("fedavg/global", "fedavg_val"),
        ("centralised", "centralised_val"),
    ] {
        let model = format!("run/{model}.safetensors");
        let found = json(at, &["eval", "--model", &model, "--data", "held", "--all"]);
        assert_eq!(found["n"], 30);
        let off = number(&found["loss"]) - number(&report[val]["loss"]);
        assert!(off.abs() < 1e-6, "{model}: {found} and {}", report[val]);
    }
    let text = ok(at, &[&SIMULATE[..], &["--out", "run"], &HALF[..]].concat());
    for row in ["held-out training rows ", "held-out training rows, one model on all nodes' rows"] {
        assert!(text.contains(row), "{row}: {text}");
    }
}

#[test]
fn held_out_figures_do_not_depend_on_threads() {
    let folder = federation();
    let at = folder.path();
    let run = |threads| simulate(at, "run", &[&HALF[..], &["--threads", threads]].concat());
    let one = timeless(run("1"));
    for threads in ["2", "5"] {
        assert_eq!(timeless(run(threads)), one, "{threads} threads");
    }
}

#[test]
fn held_out_rows_of_a_node_pass_by_its_own_values() {
    let folder = federation();
    let at = folder.path();
    let own = JOB.replace("step = \"z-score\"", "step = \"z-score\"\nfit = \"node\"");
    fs::write(at.join("job.toml"), own).expect("written");
    let plain = simulate(at, "run", &HALF[..2]);
    let mut text = String::new();
    for (at, line) in crate::support::table(1).lines().enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        let larger = |at: usize| cells[at].parse::<f64>().expect("a number") * 1024.0;
        match at {
            0 => writeln!(text, "{line}"),
            _ => writeln!(text, "{},{:.2},{:.2}", cells[..4].join(","), larger(4), larger(5)),
        }
        .expect("written");
    }
    fs::write(at.join("data/node_1.csv"), text).expect("written");
    let scaled = simulate(at, "run", &HALF[..2]);
    let off = number(&plain["final_val"]["loss"]) - number(&scaled["final_val"]["loss"]);
    assert!(off.abs() < 1e-3, "{off}");
}

#[test]
fn a_node_with_too_few_rows_is_named() {
    let folder = federation();
    let at = folder.path();
    let table = crate::support::table(2);
    let few = table.lines().enumerate().filter(|(at, line)| *at < 22 || line.contains("test"));
    let few = few.fold(String::new(), |text, (_, line)| text + line + "\n");
    fs::write(at.join("data/node_2.csv"), few).expect("written");
    let run = [&SIMULATE[..], &["--out", "run"][..]].concat();
    for (flag, more) in [("--validation", "0.5"), ("--cv", "2")] {
        fs::create_dir_all(at.join("run")).expect("a folder");
        let parts = ["node node_2 cannot hold out", "--holdout node_2", "windows to train on"];
        fails(at, &[&run[..], &[flag, more]].concat(), &parts);
    }
    simulate(at, "run", &["--validation", "0.5", "--holdout", "node_2"]);
    for share in ["0", "0.6", "nan"] {
        fails(at, &[&run[..], &["--validation", share]].concat(), &["above 0 and at most 0.5"]);
    }
    for flags in [["--cv", "1"], ["--cv", "x"]] {
        let output = edgectl(at, &[&run[..], &flags].concat()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    let both = [&run[..], &["--cv", "2", "--validation", "0.5"]].concat();
    fails(at, &both, &["cannot be used with"]);
}

#[test]
fn folds_hold_every_training_window_out_once_and_leave_no_file() {
    let folder = federation();
    let at = folder.path();
    let plain = simulate(at, "plain", &[]);
    let report = simulate(at, "run", &["--cv", "2"]);
    let folds = report["cv"]["folds"].as_array().expect("folds");
    assert_eq!(folds.len(), 2);
    for fold in folds {
        assert_eq!((&fold["metrics"]["n"], &fold["held_out"]["windows"]), (&30.into(), &30.into()));
    }
    let mean =
        f64::midpoint(number(&folds[0]["metrics"]["loss"]), number(&folds[1]["metrics"]["loss"]));
    assert!((mean - number(&report["cv"]["loss"])).abs() < 1e-12, "{report}");
    // Each is what a run with that part held out ends with.
    let of_fold = JOB.replace(
        "epochs = 2",
        "epochs = 2\nvalidation = { fraction = 0.5, by = \"series\", fold = 1, keep = \"last\" }",
    );
    let job = fs::read_to_string(at.join("job.toml")).expect("readable");
    fs::write(at.join("job.toml"), of_fold).expect("written");
    assert_eq!(simulate(at, "fold", &[])["final_val"], folds[1]["metrics"]);
    fs::write(at.join("job.toml"), job).expect("written");
    assert_eq!(report["final"], plain["final"]);
    assert!(report.get("final_val").is_none(), "{report}");
    assert_eq!(weights(at, "run/global.safetensors"), weights(at, "plain/global.safetensors"));
    assert!(!at.join("run/cv").exists());
    let text = ok(at, &[&SIMULATE[..], &["--out", "run", "--cv", "2"][..]].concat());
    assert!(text.contains("cross-validation on the training rows, by series"), "{text}");
}

/// With `keep = "last"` a run ends as one whose data has no such rows; else with the best epoch.
#[test]
fn held_out_rows_that_only_measure_choose_no_epoch() {
    let folder = federation();
    let at = folder.path();
    let train = |lines: &str, data: &str| {
        job(at, lines);
        let args = ["train", "--config", "job.toml", "--data", data, "--node", "n", "--out", "m"];
        json(at, &[&args[..], &["--epochs", "60", "--lr", "0.05"][..]].concat());
        weights(at, "m")
    };
    let rest: String = crate::support::table(1)
        .lines()
        .filter(|line| !line.starts_with(['0', '1']))
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(at.join("rest.csv"), rest).expect("written");
    let part =
        |keep: &str| format!("patience = 2\nvalidation = {{ fraction = 0.5, keep = \"{keep}\" }}");
    let last = train(&part("last").replace("patience = 2", ""), "data/node_1.csv");
    assert!(last == train("", "rest.csv"), "held-out rows decided something");
    // A run that lost its patience has an epoch that was better than its last.
    assert!(train(&part("last"), "data/node_1.csv") != train(&part("best"), "data/node_1.csv"));
}
