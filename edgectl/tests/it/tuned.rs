//! `tune`: settings found on training rows, the same on any number of threads and after a break.

use std::path::Path;

use serde_json::Value;

use crate::support::{JOB, bytes, edgectl, fails, federation, json, ok};

const TUNE: [&str; 5] = ["tune", "--config", "job.toml", "--out", "best.toml"];

fn tune(at: &Path, flags: &[&str]) -> Value {
    json(at, &[&TUNE, flags].concat())
}

/// What a report says but for the clock.
fn found(mut report: Value) -> Value {
    for key in ["wall_s", "trainings", "data"] {
        report[key] = Value::Null;
    }
    report
}

#[test]
fn the_same_is_found_on_any_number_of_threads_and_after_a_break() {
    let folder = federation();
    let at = folder.path();
    let whole = found(tune(at, &["--trials", "7", "--threads", "1"]));
    let file = bytes(at, "best.toml");
    assert_eq!(whole["trials"], 7, "{whole}");
    assert_eq!(whole["ended"], "done");
    assert!(whole["parts"].as_u64().is_some_and(|n| n > 1), "{whole}");
    assert_eq!(found(tune(at, &["--trials", "7", "--threads", "3"])), whole);
    assert_eq!(bytes(at, "best.toml"), file);
    // A run that was cut short, in the middle of a line.
    let measured = bytes(at, "best.toml.tune");
    std::fs::write(at.join("best.toml.tune"), &measured[..measured.len() / 2]).expect("written");
    let resumed = tune(at, &["--trials", "7", "--resume"]);
    assert_eq!(found(resumed), whole);
    assert_eq!(bytes(at, "best.toml"), file);
    assert_eq!(bytes(at, "best.toml.tune").len(), measured.len());
    // Another seed proposes others.
    tune(at, &["--trials", "7", "--seed", "1"]);
    assert_ne!(bytes(at, "best.toml.tune").len(), measured.len());
}

#[test]
fn what_is_written_is_a_job_that_trains() {
    let folder = federation();
    let at = folder.path();
    let weak = JOB.replace("epochs = 2", "epochs = 8").replace("lr = 3e-3", "lr = 1e-3");
    std::fs::write(at.join("job.toml"), weak).expect("written");
    std::fs::create_dir(at.join("below")).expect("a folder");
    let args = ["tune", "--config", "job.toml", "--out", "below/best.toml", "--trials", "24"];
    let report = json(at, &args);
    // Little is learned at this rate: larger rates and more epochs are better.
    assert_eq!(report["kept"], "best", "{report}");
    assert!(report["gain"]["accuracy"].as_f64().is_some_and(|gain| gain > 0.0), "{report}");
    let choices = report["choices"].as_array().expect("choices");
    assert!(!choices.is_empty(), "{report}");
    let text = String::from_utf8(bytes(at, "below/best.toml")).expect("text");
    for choice in choices {
        let remark = format!(
            "# {} {} instead of",
            choice["name"].as_str().unwrap(),
            choice["to"].as_str().unwrap()
        );
        assert!(text.contains(&remark), "{remark} is not in {text}");
    }
    // Its path leads to the same data from another folder.
    assert!(text.contains("path = \"../data\""), "{text}");
    ok(at, &["train", "--config", "below/best.toml", "--out", "m.safetensors"]);
    let stdout = ok(at, &TUNE);
    assert!(stdout.contains("beside the job"), "{stdout}");
}

#[test]
fn test_rows_are_not_looked_at() {
    let folder = federation();
    let at = folder.path();
    let before = found(tune(at, &["--trials", "4"]));
    let file = bytes(at, "best.toml");
    for node in 1..=3 {
        let path = format!("data/node_{node}.csv");
        let text = String::from_utf8(bytes(at, &path)).expect("text");
        let line = |line: &str| match line.split_once(",test,") {
            Some((row, _)) => format!("{row},test,77,-77\n"),
            None => format!("{line}\n"),
        };
        std::fs::write(at.join(path), text.lines().map(line).collect::<String>()).expect("written");
    }
    assert_eq!(found(tune(at, &["--trials", "4"])), before);
    assert_eq!(bytes(at, "best.toml"), file);
    // What was measured is of the same training rows.
    assert_eq!(found(tune(at, &["--trials", "4", "--resume"])), before);
}

#[test]
fn limits_are_kept() {
    let folder = federation();
    let at = folder.path();
    let report = tune(at, &["--trials", "8", "--max-parameters", "6000", "--max-latency", "1s"]);
    for finalist in report["finalists"].as_array().expect("finalists") {
        assert!(finalist["parameters"].as_u64().is_some_and(|n| n <= 6000), "{report}");
    }
    let too_small = [&TUNE[..], &["--max-parameters", "10"]].concat();
    let output = edgectl(at, &too_small).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains("make [model] smaller"), "{stderr}");
}

#[test]
fn what_cannot_be_tuned_is_refused() {
    let folder = federation();
    let at = folder.path();
    let with = |flags: &[&'static str]| [&TUNE[..], flags].concat();
    fails(at, &["tune", "--config", "job.toml", "--out", "job.toml"], &["job.toml"]);
    fails(at, &["tune", "--config", "job.toml", "--out", "data/node_1.csv"], &["node_1.csv"]);
    fails(at, &["tune", "--config", "none.toml", "--out", "best.toml"], &["none.toml"]);
    fails(at, &with(&["--resume"]), &["best.toml.tune", "without --resume"]);
    for flags in [["--trials", "0"], ["--budget", "soon"], ["--max-latency", "2"]] {
        let output = edgectl(at, &with(&flags)).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    // A data file of the name under which it keeps what it measures.
    std::fs::write(at.join("data.csv"), crate::support::table(1)).expect("written");
    std::fs::rename(at.join("data.csv"), at.join("x.toml.tune")).expect("renamed");
    let job = JOB.replace("path = \"data\"", "path = \"x.toml.tune\"\nformat = \"long\"");
    std::fs::write(at.join("job.toml"), job).expect("written");
    fails(at, &["tune", "--config", "job.toml", "--out", "x.toml"], &["x.toml.tune"]);
    let private = JOB.replace("stride = 10", "stride = 20").replace(
        "shift = 3",
        "shift = 0\n[train.private]\nclip_norm = 1.0\nnoise_multiplier = 1.0",
    );
    std::fs::write(at.join("job.toml"), private).expect("written");
    fails(at, &TUNE, &["tune does not go with [train.private]"]);
}

#[test]
fn a_budget_ends_it_and_what_was_measured_goes_on() {
    let folder = federation();
    let at = folder.path();
    let short = [&TUNE[..], &["--budget", "1ms"]].concat();
    let output = edgectl(at, &short).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("give a larger --budget"), "{stderr}");
    assert!(!at.join("best.toml").exists());
    // What an earlier run has measured is not measured again, by however small a budget.
    let whole = tune(at, &["--trials", "5"]);
    let again = tune(at, &["--trials", "5", "--resume", "--budget", "1h"]);
    assert_eq!(again["trainings"], 0, "{again}");
    assert!(whole["trainings"].as_u64().is_some_and(|n| n > 20), "{whole}");
    assert_eq!(found(again), found(whole));
}

/// What the job does not say and nothing was gained by stays unsaid, and passes in a round are the federation's.
#[test]
fn what_was_not_chosen_is_not_written() {
    let folder = federation();
    let at = folder.path();
    let text = |job: &str| {
        std::fs::write(at.join("job.toml"), job).expect("written");
        let report = tune(at, &["--trials", "4"]);
        (report, String::from_utf8(bytes(at, "best.toml")).expect("text"))
    };
    let auto = JOB.replace("epochs = 2\n", "");
    let (report, written) = text(&auto);
    assert!(!written.contains("epochs ="), "{report} {written}");
    let (alone, _) = auto.split_once("[federation]").expect("there");
    let (report, written) = text(alone);
    let chosen = report["choices"].as_array().expect("choices");
    let is_chosen = chosen.iter().any(|choice| choice["name"] == "epochs");
    assert_eq!(written.contains("epochs ="), is_chosen, "{report} {written}");
}

#[test]
fn the_data_of_the_command_line_is_that_of_the_written_job() {
    let folder = federation();
    let at = folder.path();
    let data = |paths: &[&str]| {
        let args = [&TUNE, &["--trials", "1", "--data"][..], paths].concat();
        json(at, &args);
        String::from_utf8(bytes(at, "best.toml")).expect("text")
    };
    assert!(data(&["data/node_2.csv"]).contains("path = \"data/node_2.csv\""));
    assert!(!data(&["data/node_2.csv", "data/node_3.csv"]).contains("path ="));
}

/// What was measured of other times, classes or values is not gone on with.
#[test]
fn measurements_of_other_data_are_refused() {
    let folder = federation();
    let at = folder.path();
    tune(at, &["--trials", "1"]);
    let table = crate::support::table(1);
    for other in [table.replace("0,59,", "0,59.5,"), table.replace("test", "train")] {
        std::fs::write(at.join("data/node_1.csv"), other).expect("written");
        let output = edgectl(at, &[&TUNE[..], &["--resume"]].concat()).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains("other data"), "{stderr}");
    }
}
