//! A model that is adjusted, by hand and while it runs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use edgectl::models::Models;

use super::{Running, start, with_model};
use crate::support::{JOB, bytes, fails, json, table};

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
    let first = bytes(at, "a.safetensors");
    json(at, &[&BY_HAND[..], &["--threads", "2"]].concat());
    assert!(bytes(at, "a.safetensors") == first, "the same on any number of threads");
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
    let settings = "[run]\nmodel = \"m.safetensors\"\n[adapt]\nwhen = \"always\"\nclean = [\"data\"]\n\
                    lr = 3e-3\nsteps = 100\ncpu = 1.0\nwindows = 16\nupdate = \"u.safetensors\"\nnode = \"n\"\n";
    fs::write(at.join("live.toml"), settings).expect("written");
    let mut running = running(at);
    running.event("start");
    running.feed(&shifted(1));
    let labels = |id: u32| {
        let label = if (id / 4).is_multiple_of(2) { "slow" } else { "fast" };
        format!("{{\"label\":\"{label}\",\"id\":{id}}}\n")
    };
    running.feed(&(0..16).map(labels).collect::<String>());
    assert_eq!(running.event("adapt")["result"], "begun");
    let event = running.event("adapted");
    let hash = event["model"].as_str().expect("a hash").to_owned();
    // It is a candidate once the run tells of it.
    while running.event("reload")["model"] != hash.as_str() {}
    let models = Models::open(&at.join("state")).expect("a folder of models");
    assert_eq!(models.deployment().candidate.as_ref().expect("one").hash, hash);
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
