//! Runs that are killed.

use std::path::Path;

use edgectl::models::Models;

use super::reload::{hash, models, put, rows};
use super::start;
use crate::exclusions::edit;

const ARGS: [&str; 9] = [
    "--model",
    "live.safetensors",
    "--state",
    "state",
    "--queue",
    "all",
    "--watch",
    "1ms",
    "--shadow",
];

/// Whether the truth is whole: what it names is there, and is what it is called.
#[track_caller]
fn whole(at: &Path) -> String {
    let models = Models::open(&at.join("state")).expect("deploy.json is whole");
    let live = models.deployment().live.clone().expect("a live model");
    assert_eq!(hash(at, &format!("state/{}.safetensors", live.hash)), live.hash);
    live.hash
}

#[test]
fn after_a_kill_the_old_or_the_new_model_is_live() {
    let folder = models();
    let at = folder.path();
    let mut live = hash(at, "r1.safetensors");
    let mut last = live.clone();
    for moment in 0..12_u32 {
        let from = if moment.is_multiple_of(2) { "r3.safetensors" } else { "r2.safetensors" };
        edit(at, from, "next", |meta| meta["provenance"]["round"] = (10 + moment).into());
        let next = hash(at, "next");
        let windows = if moment < 6 { "0" } else { "2" };
        let mut running = start(at, &[&ARGS[..], &[windows, "--agreement", "0"]].concat());
        let begun = running.event("start");
        assert_eq!(begun["model"], live, "moment {moment}");
        running.feed(&(rows(0) + &rows(10)));
        put(at, "next");
        // At once, when it is seen, or when it is promoted: the files are being written then.
        match moment % 3 {
            0 => {}
            1 => drop(running.event("reload")),
            _ => {
                let kind = if moment < 6 { "reload" } else { "promote" };
                running.feed_until(kind, |i| rows(20 + 10 * i));
            }
        }
        running.child.kill().expect("killed");
        running.child.wait().expect("it ended");
        let now = whole(at);
        // Or the last one, which the kill before kept from becoming live.
        assert!([&live, &last, &next].contains(&&now), "moment {moment}");
        (live, last) = (now, next);
    }
    // And it answers.
    let mut running = start(at, &[&ARGS[..], &["0"]].concat());
    assert_eq!(running.event("start")["model"], live);
    running.feed(&(rows(0) + &rows(10)));
    let ended = running.end();
    assert_eq!(ended.answers[0]["status"], "ok");
    // Nothing is left of what the killed ones were writing, and no more than three models.
    let files = std::fs::read_dir(at.join("state")).expect("there");
    let names: Vec<String> =
        files.map(|file| file.expect("a file").file_name().into_string().expect("text")).collect();
    let models = names.iter().filter(|name| name.len() == 64 + ".safetensors".len()).count();
    assert!(models <= 3, "{names:?}");
}
