//! The same windows and digits as `predict`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{answered, rows, with_model};
use crate::support::{JOB, edgectl, fails, federation, ok, table};

/// For each series, the class and the printed probabilities of its windows in order.
pub(super) type Found = BTreeMap<String, Vec<Vec<String>>>;

pub(super) fn predicted(folder: &Path, file: &str) -> Found {
    ok(folder, &["predict", "--model", "m.safetensors", "--data", file, "--out", "p.csv"]);
    let mut found = Found::new();
    for line in rows(folder, "p.csv").lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let answer = cells[7..].iter().map(|&cell| cell.to_owned()).collect();
        found.entry(cells[1].to_owned()).or_default().push(answer);
    }
    assert!(found.values().map(Vec::len).sum::<usize>() > 10, "{found:?}");
    found
}

pub(super) fn of_answers(answers: &[Value]) -> Found {
    let mut found = Found::new();
    for answer in answers {
        assert_eq!(answer["status"], "ok", "{answer}");
        let number = |value: &Value| format!("{:.6}", value.as_f64().expect("a number"));
        let mut cells = vec![answer["answer"].as_str().expect("a class").to_owned()];
        cells.push(number(&answer["p"]));
        let probs = answer["probs"].as_object().expect("an object");
        cells.extend(probs.values().map(number));
        found.entry(answer["series"].as_str().expect("a name").to_owned()).or_default().push(cells);
    }
    found
}

/// Rows of a table as objects, from each series one in turn.
fn objects(text: &str) -> String {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let mut series: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let mut object = serde_json::Map::new();
        for (&name, &cell) in names.iter().zip(&cells) {
            let number = cell.parse::<f64>().ok().filter(|_| name != "series");
            object.insert(name.to_owned(), number.map_or_else(|| cell.into(), Value::from));
        }
        series.entry(cells[0]).or_default().push(Value::Object(object).to_string());
    }
    let longest = series.values().map(Vec::len).max().expect("some");
    let turns = (0..longest).flat_map(|row| series.values().filter_map(move |rows| rows.get(row)));
    turns.fold(String::new(), |all, line| all + line + "\n")
}

#[track_caller]
fn compare(folder: &Path, text: &str, expected: &Found) {
    let all = ["--model", "m.safetensors", "--queue", "all", "--probs"];
    for rows in [text.to_owned(), objects(text)] {
        let ended = answered(folder, &all, &rows);
        assert!(of_answers(&ended.answers) == *expected, "other answers than predict's");
        let n = expected.values().map(Vec::len).sum::<usize>() as u64;
        assert_eq!(ended.counts(), BTreeMap::from([("ok".to_owned(), n)]));
    }
}

#[test]
fn all_recordings_are_answered_as_predict_answers_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let data = root.join("data/watch");
    let (job, data) = (root.join("examples/watch.toml"), data.to_str().expect("text"));
    let train = ["train", "--config", job.to_str().expect("text"), "--data", data];
    ok(folder.path(), &[&train[..], &["--epochs", "1", "--out", "m.safetensors"]].concat());
    let expected = predicted(folder.path(), data);
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), 2026);
    let mut text = String::new();
    for person in 1..=10 {
        let file = fs::read_to_string(format!("{data}/subject_{person:02}.csv")).expect("text");
        // As `cat` would: with the header of each.
        text += &file;
    }
    let all = ["--model", "m.safetensors", "--queue", "all", "--probs"];
    let ended = answered(folder.path(), &all, &text);
    assert!(of_answers(&ended.answers) == expected);
    let header = text.lines().next().expect("a header").to_owned();
    let lines = text.lines().filter(|line| *line != header);
    let text = lines.fold(format!("{header}\n"), |all, line| all + line + "\n");
    compare(folder.path(), &text, &expected);
}

#[test]
fn steps_that_hold_rows_back_or_change_their_rate_give_the_same() {
    let steps = [
        "step = \"moving-average\"\nlen = 5",
        "step = \"median\"\nlen = 7\n[[preprocess]]\nstep = \"decimate\"\nfactor = 2",
        "step = \"grid\"\nrate_hz = 0.7\n[[preprocess]]\nstep = \"window-normalize\"",
    ];
    for step in steps {
        let steps = format!("{step}\n[[preprocess]]\nstep = \"z-score\"");
        let mut job = JOB.replace("step = \"z-score\"", &steps);
        if step.contains("window-normalize") {
            job = JOB.replace("step = \"z-score\"", step);
        }
        let job = job.replace("len = 20\nstride = 10", "len = 12\nstride = 5");
        let job = job.replace("path = \"data\"", "path = \"data\"\ntime = \"t_s\"");
        let folder = federation();
        let at = folder.path();
        for node in 1..=3 {
            let text = table(node).replacen(",t,", ",t_s,", 1);
            fs::write(at.join(format!("data/node_{node}.csv")), text).expect("written");
        }
        fs::write(at.join("job.toml"), &job).expect("written");
        let train = ["train", "--config", "job.toml", "--out", "m.safetensors", "--node", "n"];
        ok(at, &train);
        let expected = predicted(at, "data/node_2.csv");
        compare(at, &rows(at, "data/node_2.csv"), &expected);
    }
}

#[test]
fn columns_are_found_by_name_and_by_what_the_job_says() {
    let job = JOB.replace(
        "path = \"data\"",
        "path = \"data\"\nseries = [\"who\", \"series\"]\nchannels = [\"y\", \"x\"]\nwhere = { kind = \"a\" }",
    );
    let folder = federation();
    let at = folder.path();
    for node in 1..=3 {
        let text = table(node);
        let wide = text.lines().enumerate().map(|(i, line)| match i {
            0 => format!("{line},who,kind,extra\n"),
            // Every fifth row is of a kind that is not read.
            _ => format!("{line},\"p,{node}\",{},text\n", if i % 5 > 0 { "a" } else { "b" }),
        });
        let text = wide.collect::<String>();
        fs::write(at.join(format!("data/node_{node}.csv")), text).expect("written");
    }
    fs::write(at.join("job.toml"), job).expect("written");
    ok(at, &["train", "--config", "job.toml", "--out", "m.safetensors", "--node", "n"]);
    ok(at, &["predict", "--model", "m.safetensors", "--data", "data/node_1.csv", "--out", "p.csv"]);
    let n = rows(at, "p.csv").lines().count() - 1;
    let all = ["--model", "m.safetensors", "--queue", "all"];
    let ended = answered(at, &all, &rows(at, "data/node_1.csv"));
    assert_eq!(ended.answers.len(), n);
    assert_eq!(ended.answers[0]["series"], "p,1/0");
    assert_eq!(ended.summary()["not_wanted"], 64);
    // Semicolons and tabs separate cells too.
    for sign in [";", "\t"] {
        let text = rows(at, "data/node_1.csv").replace("p,1", "p1").replace(',', sign);
        assert_eq!(answered(at, &all, &text).answers.len(), n);
    }
}

#[test]
fn what_cannot_answer_on_a_stream_is_refused_with_what_to_do_instead() {
    let run = ["run", "--model", "m.safetensors"];
    let job = JOB.replace("len = 20\nstride = 10", "");
    let folder = with_model(&job);
    fails(
        folder.path(),
        &run,
        &["m.safetensors", "whole series", "edgectl predict", "[window] len"],
    );
    let steps = "step = \"impute\"\nmethod = \"linear\"\n[[preprocess]]\nstep = \"z-score\"";
    let folder = with_model(&JOB.replace("step = \"z-score\"", steps));
    fails(folder.path(), &run, &["m.safetensors", "impute", "previous"]);
    let job = JOB.replace("step = \"z-score\"", "step = \"z-score\"\nfit = \"node\"");
    let folder = federation();
    fs::write(folder.path().join("job.toml"), job).expect("written");
    ok(folder.path(), &["init", "--config", "job.toml", "--out", "m.safetensors"]);
    fails(folder.path(), &run, &["fit = \"node\"", "edgectl train"]);
    fails(folder.path(), &["run", "--model", "none"], &["none"]);
    fails(folder.path(), &["run"], &["--model"]);
}

#[test]
fn a_table_without_the_channels_is_an_error() {
    let folder = with_model(JOB);
    let mut run = edgectl(folder.path(), &["run", "--model", "m.safetensors"]);
    let output = run.write_stdin("series,t,x,z\n0,1,2,3\n").output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty());
    assert!(stderr.contains("error: ") && stderr.contains("no column \"y\""), "{stderr}");
}
