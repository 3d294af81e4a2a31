//! Models that are calibrated, and what is found when what comes in changes.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Ended, answered, with_model};
use crate::support::{JOB, fails, ok};

const ALL: [&str; 4] = ["--model", "c.safetensors", "--queue", "all"];
const WINDOWS: usize = 10;

/// So many series of a person that nobody trained on, ten windows each; from a row on both channels are `gain` times
/// as large.
pub(super) fn person(number: u32, series: u32, gain: f64, from: u32) -> String {
    let mut text = "series,t,label,x,y\n".to_owned();
    for series in 0..series {
        let (label, speed) = if series % 2 == 0 { ("slow", 0.2) } else { ("fast", 0.9) };
        for t in 0..200_u32 {
            let phase = speed * f64::from(t) + f64::from(number + series);
            let noise = f64::from((t * 7919 + number * 31 + series * 17) % 23) / 60.0;
            let gain = if series * 200 + t >= from { gain } else { 1.0 };
            let (x, y) = (gain * (phase.sin() + noise), gain * (phase.cos() * 2.0 - noise));
            writeln!(text, "{series},{t},{label},{x:.3},{y:.3}").expect("written");
        }
    }
    text
}

/// A folder with `m.safetensors`, and `c.safetensors`, which is that calibrated on four people.
fn calibrated() -> (tempfile::TempDir, Value) {
    let folder = with_model(JOB);
    let at = folder.path();
    let names: Vec<String> = (4..8).map(|number| format!("h{number}.csv")).collect();
    for (name, number) in names.iter().zip(4..) {
        fs::write(at.join(name), person(number, 8, 1.0, 0)).expect("written");
    }
    let flags = ["calibrate", "--model", "m.safetensors", "--out", "c.safetensors", "--json"];
    let data: Vec<&str> = names.iter().map(String::as_str).collect();
    let said = ok(at, &[&flags[..], &["--arl0", "1000", "--data"], &data].concat());
    let report = serde_json::from_str(&said).expect("JSON");
    (folder, report)
}

fn inspected(folder: &Path, file: &str) -> Value {
    serde_json::from_str(&ok(folder, &["inspect", file, "--json"])).expect("JSON")
}

/// The drift events of these levels.
fn drifts<'a>(ended: &'a Ended, level: &str) -> Vec<&'a Value> {
    ended.events("drift").into_iter().filter(|event| event["level"] == level).collect()
}

#[test]
fn a_calibrated_model_is_the_same_with_what_is_usual_of_it() {
    let (folder, report) = calibrated();
    let at = folder.path();
    assert_eq!((&report["windows"], &report["series"]), (&320.into(), &32.into()));
    assert!(report["arl0"].as_f64().expect("a number") >= 1000.0);
    assert!(report["arl0_lower"].as_f64().expect("a number") > 100.0);
    let detectors = report["detectors"].as_array().expect("a list");
    let signals: Vec<&str> =
        detectors.iter().map(|detector| detector["signal"].as_str().expect("a name")).collect();
    assert_eq!(signals, ["input", "input", "confidence", "confidence", "error"]);
    let (before, after) = (inspected(at, "m.safetensors"), inspected(at, "c.safetensors"));
    assert_eq!(before["tensors"], after["tensors"]);
    assert!(before["edgectl"]["monitor"].is_null());
    assert_eq!(after["edgectl"]["monitor"]["windows"], 320);
    assert!(ok(at, &["inspect", "c.safetensors"]).contains("monitor: "));
    // Other weights are not what was calibrated.
    let train =
        ["train", "--init", "c.safetensors", "--data", "data/node_1.csv", "--out", "t.safetensors"];
    ok(at, &train);
    assert!(inspected(at, "t.safetensors")["edgectl"]["monitor"].is_null());
    ok(at, &["aggregate", "t.safetensors", "--base", "c.safetensors", "--out", "g.safetensors"]);
    assert!(inspected(at, "g.safetensors")["edgectl"]["monitor"].is_null());
}

#[test]
fn rows_that_were_trained_on_are_left_out() {
    let folder = with_model(JOB);
    let at = folder.path();
    let flags = ["calibrate", "--model", "m.safetensors", "--out", "c.safetensors", "--data"];
    let training: String =
        person(9, 8, 1.0, 0).replace("label,", "label,split,").replace("slow,", "slow,train,");
    fs::write(at.join("t.csv"), training.replace("fast,", "fast,train,")).expect("written");
    fails(at, &[&flags[..], &["t.csv"]].concat(), &["marked for training", "--all"]);
    ok(at, &[&flags[..], &["t.csv", "--all"]].concat());
    let few = "series,t,label,x,y\n0,0,slow,1,2\n";
    fs::write(at.join("few.csv"), few).expect("written");
    fails(at, &[&flags[..], &["few.csv"]].concat(), &["few.csv"]);
    fails(at, &[&flags[..], &["t.csv", "--all", "--arl0", "1"]].concat(), &["arl0"]);
}

#[test]
fn a_change_is_told_and_what_is_usual_is_not() {
    let (folder, _) = calibrated();
    let at = folder.path();
    let n = 40 * WINDOWS;
    let ended = answered(at, &ALL, &person(8, 40, 1.0, 0));
    assert_eq!(ended.answers.len(), 40 * 19);
    assert!(ended.events("drift").len() <= 1, "{:?}", ended.events("drift"));
    let refitted = ended.events("monitor");
    assert_eq!((refitted.len(), &refitted[0]["windows"]), (2, &200.into()));
    for answer in &ended.answers {
        let set = answer["set"].as_array().expect("a set");
        assert!(set.contains(&answer["answer"]), "{answer}");
    }
    // In the middle of all windows both channels become twice as large.
    let ended = answered(at, &ALL, &person(8, 40, 2.0, 200 * 30));
    let first = drifts(&ended, "notice")[0]["window"].as_u64().expect("a number");
    assert!((30 * 19..30 * 19 + 40).contains(&first), "{first} of {n}");
    let start = ended.events("start")[0];
    assert_eq!(start["watched"], true);
    let plain =
        answered(at, &["--model", "m.safetensors", "--queue", "all"], &person(8, 2, 2.0, 0));
    assert!(plain.answers[0].get("set").is_none());
    let start = plain.events("start")[0];
    assert!(
        start["watched"] == false && start["hint"].as_str().expect("text").contains("calibrate")
    );
}

#[test]
fn thresholds_hold_for_as_many_first_windows_as_they_were_found_for() {
    let (folder, report) = calibrated();
    let at = folder.path();
    assert_eq!(report["people"], 4);
    let rows = person(8, 8, 1.0, 0);
    let early = answered(at, &[&ALL[..], &["--refit", "40"]].concat(), &rows);
    let told = early.events("monitor");
    assert_eq!((&told[0]["result"], &told[0]["calibrated"]), (&"refit-early".into(), &200.into()));
    let flags =
        ["calibrate", "--model", "m.safetensors", "--refit", "40", "--out", "d.safetensors"];
    let said = ok(at, &[&flags[..], &["--data", "h4.csv"]].concat());
    assert!(said.contains("other series of the same person"), "{said}");
    let args = ["--model", "d.safetensors", "--queue", "all"];
    let ended = answered(at, &args, &rows);
    let told = ended.events("monitor");
    assert!(told.iter().all(|event| event["result"] == "refitted" && event["windows"] == 40));
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_profile_that_would_watch_nothing_is_refused() {
    let (folder, _) = calibrated();
    let at = folder.path();
    let whole = fs::read(at.join("c.safetensors")).expect("there");
    for (from, to) in [
        (&br#"\"arl0\":1000.0"#[..], &br#"\"arl0\":-100.0"#[..]),
        (br#"\"first\":200"#, br#"\"first\":1  "#),
    ] {
        let begin = whole.windows(from.len()).position(|part| part == from).expect("it is there");
        let mut changed = whole[..begin].to_vec();
        changed.extend(to);
        changed.extend(&whole[begin + from.len()..]);
        fs::write(at.join("e.safetensors"), changed).expect("written");
        fails(at, &["run", "--model", "e.safetensors"], &["e.safetensors"]);
    }
}

#[test]
fn labels_that_come_back_find_errors() {
    let (folder, _) = calibrated();
    let at = folder.path();
    let rows = person(8, 20, 1.0, 0);
    let clean = answered(at, &ALL, &rows);
    // The right class of every window, and from the middle on the wrong one.
    let told = |wrong_from: u64| {
        let mut text = rows.clone();
        for answer in &clean.answers {
            let id = answer["id"].as_u64().expect("a number");
            let said = answer["answer"].as_str().expect("a class");
            let other = if said == "slow" { "fast" } else { "slow" };
            let label = if id < wrong_from { said } else { other };
            writeln!(text, "{{\"label\":\"{label}\",\"id\":{id}}}").expect("written");
        }
        text
    };
    let ended = answered(at, &ALL, &told(u64::MAX));
    assert_eq!(ended.answers, clean_of(&ended, &clean));
    let wrong = answered(at, &ALL, &told(190));
    let errors = |ended: &Ended| {
        drifts(ended, "alarm").iter().filter(|event| event["signal"] == "error").count()
    };
    assert_eq!(errors(&ended), 0);
    assert!(errors(&wrong) > 0, "{:?}", wrong.events);
    // A span of time, a class that the model does not know, and a window that never was.
    let mut text = person(8, 1, 1.0, 0);
    text += "{\"label\":\"slow\",\"series\":\"0\",\"from\":0,\"to\":39}\n";
    text += "{\"label\":\"other\",\"id\":3}\n{\"label\":\"slow\",\"id\":999}\n";
    let ended = answered(at, &ALL, &text);
    assert_eq!(ended.summary()["labels"], 3, "{}", ended.summary());
    assert_eq!(ended.events("label-unmatched").len(), 2);
    assert_eq!(ended.summary()["bad_lines"], 0);
}

/// The same answers but for what time they took.
fn clean_of(ended: &Ended, clean: &Ended) -> Vec<Value> {
    let timed = ended.answers.iter().zip(&clean.answers);
    let same = timed.map(|(answer, clean)| {
        let mut clean = clean.clone();
        for key in ["age_us", "infer_us"] {
            clean[key] = answer[key].clone();
        }
        // Labels that came back move the sets.
        clean["set"] = answer["set"].clone();
        clean
    });
    same.collect()
}

#[test]
fn what_was_watched_goes_on_behind_a_restart() {
    let (folder, _) = calibrated();
    let at = folder.path();
    let args = [&ALL[..], &["--state", "state"]].concat();
    for runs in 1..=2_u64 {
        answered(at, &args, &person(8, 8, 1.0, 0));
        let kept = fs::read_to_string(at.join("state/monitor.json")).expect("kept");
        let kept: Value = serde_json::from_str(&kept).expect("JSON");
        assert_eq!(kept["windows"], 80 * runs);
        let first = &kept["places"][0]["first"];
        assert_eq!(first.as_array().expect("a list").len() as u64, 80 * runs);
    }
    // What is damaged is not taken up, and ends nothing.
    fs::write(at.join("state/monitor.json"), "{\"model\":").expect("written");
    answered(at, &args, &person(8, 8, 1.0, 0));
    let kept = fs::read_to_string(at.join("state/monitor.json")).expect("kept");
    assert_eq!(serde_json::from_str::<Value>(&kept).expect("JSON")["windows"], 80);
}

#[test]
fn answers_that_are_not_sure_enough_are_kept_back() {
    let (folder, _) = calibrated();
    let at = folder.path();
    let rows = person(8, 4, 1.0, 0);
    let plain = answered(at, &ALL, &rows);
    let ended = answered(at, &[&ALL[..], &["--abstain", "0.9999999"]].concat(), &rows);
    let mut n = 0;
    for (answer, plain) in ended.answers.iter().zip(&plain.answers) {
        assert_eq!(answer["p"], plain["p"]);
        if answer["status"] == "abstain" {
            n += 1;
            assert!(answer["answer"].is_null() && answer["set"].is_array());
        }
    }
    assert_eq!(ended.counts().get("abstain"), Some(&n));
    assert!(n > 0);
    fails(at, &["run", "--model", "c.safetensors", "--abstain", "1.5"], &["--abstain"]);
}

#[test]
fn values_that_no_person_has_are_named() {
    let (folder, _) = calibrated();
    let ended = answered(folder.path(), &ALL, &person(8, 2, 50.0, 200));
    let is_named = |answer: &Value| {
        answer["quality"].as_array().expect("a list").iter().any(|name| name == "range")
    };
    let named: Vec<bool> = ended.answers.iter().map(is_named).collect();
    assert!(!named[..19].contains(&true) && named[19..].iter().all(|named| *named));
    assert_eq!(ended.events("quality")[0]["what"], serde_json::json!(["range"]));
}
