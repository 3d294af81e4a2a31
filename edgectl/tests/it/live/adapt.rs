//! A model that is adjusted, by hand and while it runs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use edgectl::models::{Candidate, Models, Step};
use serde_json::Value;

use super::watched::person;
use super::{Running, rows, start, with_model};
use crate::support::{JOB, bytes, fails, json, ok, table};

/// A folder with a model whose windows share no rows, and labelled rows `now.csv` in which y is the other way round.
fn folder() -> tempfile::TempDir {
    let folder = with_model(&JOB.replace("stride = 10", "stride = 20"));
    fs::write(folder.path().join("now.csv"), shifted(1)).expect("written");
    folder
}

fn shifted(node: u32) -> String {
    let mut text = "series,t,label,split,x,y\n".to_owned();
    for row in table(node).lines().skip(1) {
        let (row, y) = row.rsplit_once(',').expect("cells");
        writeln!(text, "{row},{}", -y.parse::<f64>().expect("a number")).expect("a string");
    }
    text
}

const BY_HAND: [&str; 13] = [
    "adapt",
    "--model",
    "m.safetensors",
    "--data",
    "now.csv",
    "--replay",
    "data",
    "--steps",
    "100",
    "--lr",
    "3e-3",
    "--out",
    "a.safetensors",
];

#[test]
fn by_hand_a_model_learns_what_is_now_and_keeps_what_was() {
    let folder = folder();
    let at = folder.path();
    let report = json(at, &BY_HAND);
    assert!(report["clean"]["of"].as_u64() > Some(0) && report["replay"].as_u64() > Some(10));
    let loss = |part: &str| report[part]["loss"].as_f64().expect("a loss");
    assert!(loss("fresh") < loss("fresh_before"), "{report}");
    let found = json(at, &["inspect", "a.safetensors"]).to_string();
    let base = blake3::hash(&bytes(at, "m.safetensors")).to_hex().to_string();
    assert!(found.contains(&base) && found.contains("now"), "{found}");
    // Nothing is known of what was before.
    let mut alone = BY_HAND.to_vec();
    alone.drain(5..7);
    assert_eq!(json(at, &alone)["replay"], 0);
    json(at, &BY_HAND);
    let first = bytes(at, "a.safetensors");
    json(at, &[&BY_HAND[..], &["--threads", "2"]].concat());
    assert!(bytes(at, "a.safetensors") == first, "the same on any number of threads");
}

#[test]
fn a_model_whose_planned_rounds_are_over_still_learns() {
    let folder =
        with_model(&JOB.replace("stride = 10", "stride = 20").replace("rounds = 3", "rounds = 1"));
    let at = folder.path();
    fs::write(at.join("now.csv"), shifted(1)).expect("written");
    ok(at, &["init", "--config", "job.toml", "--out", "0.safetensors"]);
    let train = ["train", "--data", "data/node_1.csv", "--out", "n.safetensors", "--init"];
    ok(at, &[&train[..], &["0.safetensors"]].concat());
    ok(at, &["aggregate", "n.safetensors", "--base", "0.safetensors", "--out", "m.safetensors"]);
    fails(at, &[&train[..], &["m.safetensors"]].concat(), &["planned rounds are over"]);
    let report = json(at, &BY_HAND);
    let loss = |part: &str| report[part]["loss"].as_f64().expect("a loss");
    assert!(loss("learned") < 0.9 * loss("learned_before"), "{report}");
}

/// A folder with `c.safetensors`, calibrated, rows of its person as they were, `before.csv`, and now, `now.csv`.
fn calibrated() -> tempfile::TempDir {
    let folder = with_model(JOB);
    let at = folder.path();
    for (name, gain) in [("before.csv", 1.0), ("now.csv", -1.0)] {
        fs::write(at.join(name), person(8, 20, gain, 0)).expect("written");
    }
    let calibrate = ["calibrate", "--model", "m.safetensors", "--out", "c.safetensors", "--data"];
    ok(at, &[&calibrate[..], &["before.csv"]].concat());
    folder
}

#[test]
fn what_was_fitted_is_fitted_again() {
    let folder = calibrated();
    let at = folder.path();
    let mut args = BY_HAND;
    (args[2], args[6]) = ("c.safetensors", "before.csv");
    json(at, &args);
    let of = |file: &str| json(at, &["inspect", file])["edgectl"].clone();
    let (before, after) = (of("c.safetensors"), of("a.safetensors"));
    assert!(after["temperature"].as_f64().is_some(), "{after}");
    let of = |key: &str| (before["monitor"][key].clone(), after["monitor"][key].clone());
    let (before, after) = of("watches");
    assert_eq!(before, after, "thresholds are the calibration's");
    let (before, after) = of("scores");
    for signal in 0..2 {
        assert!(after[signal].is_object() && before[signal] != after[signal], "{signal}");
    }
}

#[test]
fn what_does_not_go_is_refused_and_writes_nothing() {
    let folder = folder();
    let at = folder.path();
    let with = |place: usize, value: &'static str| {
        let mut args = BY_HAND;
        args[place] = value;
        args
    };
    fails(at, &with(4, "none.csv"), &["none.csv"]);
    fails(at, &with(12, "m.safetensors"), &["m.safetensors"]);
    fails(at, &with(12, "now.csv"), &["now.csv"]);
    fails(at, &with(10, "0"), &["--lr 0"]);
    // With such a rate nothing is left of what was known.
    fails(at, &with(10, "10"), &[]);
    let unlabelled = shifted(1).replace("slow", "").replace("fast", "");
    fs::write(at.join("u.csv"), unlabelled).expect("written");
    fails(at, &with(4, "u.csv"), &["label"]);
}

/// Settings by which a run adapts.
const ALWAYS: &str = "[run]\nmodel = \"m.safetensors\"\n[adapt]\nwhen = \"always\"\nclean = [\"data\"]\n\
                      lr = 3e-3\nsteps = 100\ncpu = 1.0\nwindows = 16\n";

/// The class of a window of `shifted`.
fn label(id: u32) -> String {
    let label = if (id / 4).is_multiple_of(2) { "slow" } else { "fast" };
    format!("{{\"label\":\"{label}\",\"id\":{id}}}\n")
}

fn candidate(at: &Path) -> Option<Candidate> {
    Models::open(&at.join("state")).expect("a folder of models").deployment().candidate.clone()
}

fn running(at: &Path) -> Running {
    start(
        at,
        &[
            "--config",
            "live.toml",
            "--state",
            "state",
            "--queue",
            "all",
            "--watch",
            "1ms",
            "--shadow",
            "1000",
        ],
    )
}

#[test]
fn a_run_adapts_with_labels_that_come_back() {
    let folder = folder();
    let at = folder.path();
    let settings = format!("{ALWAYS}update = \"u.safetensors\"\nnode = \"n\"\n");
    fs::write(at.join("live.toml"), settings).expect("written");
    let mut running = running(at);
    running.event("start");
    running.feed(&shifted(1));
    running.feed(&(0..16).map(label).collect::<String>());
    assert_eq!(running.event("adapt")["result"], "begun");
    let event = running.event("adapted");
    let hash = event["model"].as_str().expect("a hash").to_owned();
    // It is a candidate once the run tells of it.
    while running.event("reload")["model"] != hash.as_str() {}
    assert_eq!(candidate(at).expect("one").hash, hash);
    let ended = running.end();
    assert!(ended.status.success());
    assert_eq!(ended.counts()["ok"], 16);
    // What was kept is read again, but for what is damaged.
    let path = at.join("state/replay/before.bin");
    let mut kept = fs::read(&path).expect("there");
    let middle = kept.len() / 2;
    kept[middle] ^= 1;
    fs::write(&path, kept).expect("written");
    let mut again = self::running(at);
    assert_eq!(again.event("replay-damaged")["windows"], 1);
    assert!(again.end().ended_well());
    // A file that seems to be of another job is put aside; one for more windows is taken over.
    let mut kept = fs::read(&path).expect("there");
    kept[8] ^= 1;
    fs::write(&path, &kept).expect("written");
    let mut again = self::running(at);
    let event = again.event("replay-damaged");
    assert!(event["windows"].as_u64() > Some(10), "{event}");
    assert!(event["aside"][0].as_str().is_some_and(|aside| aside.ends_with("before.damaged")));
    assert!(again.end().ended_well());
    kept[8] ^= 1;
    fs::write(&path, &kept).expect("written");
    let settings = fs::read_to_string(at.join("live.toml")).expect("there");
    fs::write(at.join("live.toml"), settings.replace("cpu", "replay = 10\ncpu")).expect("written");
    let mut again = self::running(at);
    assert!(again.event("replay-limited")["windows"].as_u64() > Some(0));
    assert!(again.end().ended_well());
}

#[test]
fn a_candidate_on_trial_keeps_its_place_while_more_labels_come() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("live.toml"), ALWAYS).expect("written");
    let mut running = running(at);
    running.event("start");
    running.feed(&shifted(1));
    // The same again, of series of other names.
    let again = shifted(1).replace("\n0,", "\n4,").replace("\n1,", "\n5,");
    let again = again.replace("\n2,", "\n6,").replace("\n3,", "\n7,");
    running.feed(again.split_once('\n').expect("a header").1);
    running.feed(&(0..16).map(label).collect::<String>());
    let event = running.event("adapted");
    while candidate(at).is_none_or(|found| found.state == Step::Checked) {
        std::thread::yield_now();
    }
    running.feed(&(16..32).map(label).collect::<String>());
    let ended = running.end();
    assert_eq!(ended.counts()["ok"], 32);
    assert_eq!(ended.summary()["labels"], 32);
    let begun = |event: &&&Value| event["result"] == "begun";
    assert_eq!(ended.events("adapt").iter().filter(begun).count(), 1);
    assert_eq!(candidate(at).expect("one").hash, event["model"].as_str().expect("a hash"));
}

#[test]
fn an_update_that_cannot_be_written_is_told_and_the_candidate_stays() {
    let folder = folder();
    let at = folder.path();
    let settings = format!("{ALWAYS}update = \"out/u.safetensors\"\n");
    fs::write(at.join("live.toml"), settings).expect("written");
    let args = ["run", "--config", "live.toml", "--state", "state"];
    fails(at, &args, &["[adapt] update", "out"]);
    fs::create_dir(at.join("out")).expect("made");
    let mut running = running(at);
    running.event("start");
    fs::remove_dir(at.join("out")).expect("empty");
    running.feed(&shifted(1));
    running.feed(&(0..16).map(label).collect::<String>());
    let hash = running.event("adapted")["model"].clone();
    let event = running.event("update-unwritten");
    let reason = event["reason"].as_str().unwrap_or_default();
    assert!(event["model"] == hash && reason.contains("u.safetensors"), "{event}");
    let ended = running.end();
    let results: Vec<_> = ended.events("adapt").iter().map(|event| &event["result"]).collect();
    assert_eq!(results, ["begun"]);
    assert_eq!(candidate(at).expect("one").hash, hash.as_str().expect("a hash"));
}

#[test]
fn an_adapted_model_that_answers_is_watched() {
    let folder = calibrated();
    let at = folder.path();
    let settings = "[run]\nmodel = \"c.safetensors\"\nshadow = 0\n[adapt]\nwhen = \"always\"\nclean = [\"before.csv\"]\n\
                    lr = 3e-3\nsteps = 100\ncpu = 1.0\nwindows = 16\n";
    fs::write(at.join("live.toml"), settings).expect("written");
    let now = rows(at, "now.csv");
    let (first, later) = now.split_at(now.find("2,0,").expect("a third series"));
    let mut running = start(
        at,
        &["--config", "live.toml", "--state", "state", "--queue", "all", "--watch", "1ms"],
    );
    assert_eq!(running.event("start")["watched"], true);
    running.feed(first);
    let labels =
        (0..38).map(|id| format!("{{\"label\":\"{}\",\"id\":{id}}}\n", ["slow", "fast"][id / 19]));
    running.feed(&labels.collect::<String>());
    let hash = running.event("adapted")["model"].as_str().expect("a hash").to_owned();
    while running.event("reload")["result"] != "checked" {}
    // It takes its place between two windows.
    let (some, rest) = later.split_at(later.find("12,0,").expect("a series"));
    running.feed(some);
    while running.event("reload")["result"] != "live" {}
    running.feed(rest);
    let ended = running.end();
    assert!(ended.status.success());
    let last = ended.answers.last().expect("some");
    assert_eq!(last["model"], hash.as_str());
    assert!(last["set"].as_array().is_some_and(|set| set.contains(&last["answer"])), "{last}");
    let kept: Value = serde_json::from_slice(&bytes(at, "state/monitor.json")).expect("JSON");
    assert_eq!(kept["model"], hash.as_str());
    assert_eq!(kept["detectors"].as_array().expect("detectors").len(), 5);
}

#[test]
fn a_run_that_adapts_needs_a_folder_and_sound_settings() {
    let folder = folder();
    let at = folder.path();
    for (text, part) in
        [("when = \"always\"", "--state"), ("cpu = 2.0", "cpu"), ("wen = \"always\"", "line 2")]
    {
        fs::write(at.join("live.toml"), format!("[adapt]\n{text}\n")).expect("written");
        fails(at, &["run", "--config", "live.toml", "--model", "m.safetensors"], &[part]);
    }
}
