//! Training rows that are held out: by series, by time, fold by fold.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::support::{JOB, edgectl, fails, federation, json, ok, weights};

/// A folder's job with other lines in `[train]`, one epoch, and values as they are.
pub(crate) fn job(at: &Path, lines: &str) {
    let text = JOB
        .replace("epochs = 2", &format!("epochs = 1\n{lines}"))
        .replace("[[preprocess]]\nstep = \"z-score\"", "")
        .replace("[data]", "preprocess = []\n[data]");
    std::fs::write(at.join("job.toml"), text).expect("written");
}

/// The first node with the values of some training rows replaced, by series and row.
pub(crate) fn disturbed(at: &Path, is: impl Fn(u32, u32) -> bool) {
    let table = crate::support::table(1);
    let mut text = String::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.split(',').collect();
        match (cells[0].parse(), cells[1].parse()) {
            (Ok(series), Ok(row)) if is(series, row) => {
                writeln!(text, "{},{},{},{},37.0,-41.0", cells[0], cells[1], cells[2], cells[3])
            }
            _ => writeln!(text, "{line}"),
        }
        .expect("written");
    }
    std::fs::write(at.join("data/node_1.csv"), text).expect("written");
}

/// What is held out trains nothing: other values there give the same weights, also where windows are moved at
/// random; and other values elsewhere do not.
#[test]
fn held_out_rows_train_nothing() {
    type Rows = fn(u32, u32) -> bool;
    let cases: [(&str, Rows); 4] = [
        ("fraction = 0.5, by = \"series\", fold = 1", |series, _| series >= 2),
        ("fraction = 0.5, by = \"series\"", |series, _| series < 2),
        ("fraction = 0.5, by = \"time\"", |_, row| row >= 30),
        ("fraction = 0.33, by = \"time\", fold = 1", |_, row| (20..40).contains(&row)),
    ];
    for (part, rows) in cases {
        let folder = federation();
        let at = folder.path();
        job(at, &format!("validation = {{ {part} }}"));
        let train = |out: &str| {
            json(at, &["train", "--config", "job.toml", "--data", "data/node_1.csv", "--out", out])
        };
        let report = train("a.safetensors");
        assert!(report["val"]["n"].as_u64().is_some_and(|n| n > 0), "{part}: {report}");
        disturbed(at, rows);
        train("b.safetensors");
        assert_eq!(weights(at, "a.safetensors"), weights(at, "b.safetensors"), "{part}");
        disturbed(at, |series, row| row < 60 && !rows(series, row));
        train("c.safetensors");
        assert_ne!(weights(at, "a.safetensors"), weights(at, "c.safetensors"), "{part}");
    }
}

#[test]
fn a_share_is_of_series_where_every_class_has_several_and_else_of_time() {
    let folder = federation();
    let at = folder.path();
    let train = |data: &str, flags: &[&str]| {
        let args = ["train", "--config", "job.toml", "--data", data, "--out", "m.safetensors"];
        json(at, &[&args, flags].concat())["validation"].clone()
    };
    let by_series = train("data", &["--validation", "0.25"]);
    assert_eq!((&by_series["by"], &by_series["folds"]), (&"series".into(), &4.into()));
    // A node with one series of each class.
    let two: String = crate::support::table(1)
        .lines()
        .filter(|line| !line.starts_with(['2', '3']))
        .fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(at.join("two.csv"), two).expect("written");
    let by_time = train("two.csv", &["--validation", "0.4"]);
    assert_eq!(by_time["by"], "time", "{by_time}");
    for share in ["0", "0.6", "nan", "-0.1"] {
        let flag = format!("--validation={share}");
        let args = ["train", "--config", "job.toml", "--out", "n.safetensors", &flag];
        fails(at, &args, &["fraction must be above 0 and at most 0.5"]);
    }
}

/// A cross-validation as the report has it.
fn cv(at: &Path, data: &str, flags: &[&str]) -> Value {
    let args = ["train", "--config", "job.toml", "--data", data, "--out", "m.safetensors"];
    json(at, &[&args, flags].concat())["cv"].clone()
}

#[test]
fn every_training_window_is_in_one_fold() {
    let folder = federation();
    let at = folder.path();
    let all = json(at, &["train", "--config", "job.toml", "--out", "all.safetensors"]);
    let found = cv(at, "data", &["--cv", "3"]);
    let folds = found["folds"].as_array().expect("folds");
    assert_eq!(folds.len(), 3);
    let held_out: u64 = folds.iter().filter_map(|f| f["held_out"]["windows"].as_u64()).sum();
    assert_eq!(Some(held_out), all["examples"].as_u64(), "{found}");
    for fold in folds {
        assert_eq!(fold["metrics"]["n"], fold["held_out"]["windows"]);
        assert_eq!(fold["held_out"]["by"], "series");
    }
    let mean = folds.iter().filter_map(|f| f["metrics"]["accuracy"].as_f64()).sum::<f64>() / 3.0;
    assert!((mean - found["accuracy"].as_f64().expect("a number")).abs() < 1e-12, "{found}");
    // The model that is written is that of all rows.
    assert_eq!(weights(at, "all.safetensors"), weights(at, "m.safetensors"));
    for threads in ["1", "2", "5"] {
        assert_eq!(
            cv(at, "data", &["--cv", "3", "--threads", threads]),
            found,
            "{threads} threads"
        );
    }
    let text = ok(at, &["train", "--config", "job.toml", "--out", "m.safetensors", "--cv", "2"]);
    assert!(text.contains("cross-validation on the training rows, by series"), "{text}");
}

#[test]
fn cross_validation_that_cannot_be_is_refused() {
    let folder = federation();
    let at = folder.path();
    let base =
        ["train", "--config", "job.toml", "--data", "data/node_1.csv", "--out", "m.safetensors"];
    let with = |flags: &[&'static str]| [&base[..], flags].concat();
    fails(at, &with(&["--cv", "9"]), &["windows to train on"]);
    ok(at, &["init", "--config", "job.toml", "--out", "g.safetensors"]);
    let begun = ["train", "--init", "g.safetensors", "--data", "data", "--out", "m.safetensors"];
    fails(at, &[&begun[..], &["--cv", "2"]].concat(), &["--cv needs a fresh model"]);
    for flags in [["--cv", "1"], ["--cv", "0"], ["--cv", "x"]] {
        let output = edgectl(at, &with(&flags)).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    let private = JOB.replace("stride = 10", "stride = 20").replace(
        "shift = 3",
        "shift = 0\n[train.private]\nclip_norm = 1.0\nnoise_multiplier = 1.0",
    );
    std::fs::write(at.join("job.toml"), private).expect("written");
    fails(at, &with(&["--cv", "2"]), &["--cv does not go with [train.private]"]);
}

/// Folds are all by series or all by time, and no class is left without windows to train on.
#[test]
fn all_folds_are_held_out_in_one_way() {
    let folder = federation();
    let at = folder.path();
    let table = |label: fn(u32, u32) -> &'static str| {
        let mut text = "series,t,label,x,y\n".to_owned();
        for series in 0..9 {
            for t in 0..60 {
                let value = f64::from((t * 7 + series * 5) % 11) / 5.0;
                writeln!(text, "{series},{t},{},{value},{}", label(series, t), -value)
                    .expect("written");
            }
        }
        std::fs::write(at.join("mixed.csv"), text).expect("written");
    };
    let check = |by: &str| {
        let found = cv(at, "mixed.csv", &["--cv", "3"]);
        for fold in found["folds"].as_array().expect("folds") {
            assert_eq!(fold["held_out"]["by"], by, "{found}");
        }
    };
    // One class is in one series alone.
    table(|series, _| if series == 8 { "c" } else { ["a", "b"][series as usize % 2] });
    check("time");
    // One class is at the end of two series that begin with another and would be in one fold.
    table(
        |series, t| if series % 6 == 0 && t >= 30 { "c" } else { ["a", "b"][series as usize % 2] },
    );
    let found = cv(at, "mixed.csv", &["--cv", "3"]);
    let ways: Vec<&Value> =
        found["folds"].as_array().expect("folds").iter().map(|f| &f["held_out"]["by"]).collect();
    assert!(ways.iter().all(|by| *by == ways[0]), "{ways:?}");
    table(|series, _| ["a", "b"][series as usize % 2]);
    check("series");
}

#[test]
fn rows_that_are_held_out_to_measure_end_no_training() {
    let folder = federation();
    let at = folder.path();
    let train = |keep: &str| {
        let text = JOB.replace(
            "epochs = 2",
            &format!("epochs = 30\npatience = 1\nvalidation = {{ fraction = 0.5{keep} }}"),
        );
        std::fs::write(at.join("job.toml"), text.replace("lr = 3e-3", "lr = 0.05"))
            .expect("written");
        let report = json(at, &["train", "--config", "job.toml", "--out", "m.safetensors"]);
        report["epochs"].as_u64().expect("a number")
    };
    assert!(train("") < 30, "patience ends it");
    assert_eq!(train(", keep = \"last\""), 30);
}
