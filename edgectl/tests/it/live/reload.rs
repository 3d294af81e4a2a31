//! Models that are put in the place of the one that answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::{Running, start, with_model};
use crate::exclusions::edit;
use crate::support::{JOB, bytes, ok};

/// Ten rows: with the ten before them they are a window.
pub(super) fn rows(from: u32) -> String {
    let row = |t: u32| format!("{{\"t\":{t},\"x\":{},\"y\":0.5}}\n", f64::from(t * 7919 % 101));
    (from..from + 10).map(row).collect()
}

pub(super) fn hash(folder: &Path, file: &str) -> String {
    blake3::hash(&bytes(folder, file)).to_hex().to_string()
}

/// A folder with models of rounds 1 and 2, and a live one.
pub(super) fn models() -> tempfile::TempDir {
    models_of(JOB)
}

/// The same by another job.
pub(super) fn models_of(job: &str) -> tempfile::TempDir {
    let folder = with_model(job);
    let at = folder.path();
    ok(
        at,
        &["train", "--config", "job.toml", "--out", "o.safetensors", "--seed", "9", "--node", "n"],
    );
    for (from, round) in [("m", 1), ("m", 3), ("o", 2)] {
        let to = format!("r{round}.safetensors");
        edit(at, &format!("{from}.safetensors"), &to, |meta| {
            meta["provenance"]["round"] = round.into();
        });
    }
    fs::copy(at.join("r1.safetensors"), at.join("live.safetensors")).expect("copied");
    folder
}

pub(super) fn put(at: &Path, file: &str) {
    fs::copy(at.join(file), at.join("new")).expect("copied");
    fs::rename(at.join("new"), at.join("live.safetensors")).expect("renamed");
}

/// A run that has begun: from here on another model is another one.
pub(super) fn begun(at: &Path, args: &[&str]) -> Running {
    let mut running = start(at, args);
    running.event("start");
    running
}

fn running(at: &Path, model: &str) -> Running {
    begun(at, &["--model", model, "--queue", "all", "--watch", "1ms"])
}

/// The next result of putting a model in place: the reason if it is refused.
pub(super) fn result(running: &mut Running) -> (String, Value) {
    let event = running.event("reload");
    (event["result"].as_str().expect("text").to_owned(), event["reason"].clone())
}

#[test]
fn a_sound_model_becomes_live_between_two_windows() {
    let folder = models();
    let at = folder.path();
    let mut running = running(at, "live.safetensors");
    running.feed(&(rows(0) + &rows(10)));
    put(at, "r2.safetensors");
    assert_eq!(result(&mut running).0, "checked");
    running.feed(&rows(20));
    let event = running.event("reload");
    assert_eq!((&event["result"], &event["round"]), (&"live".into(), &2.into()));
    running.feed(&rows(30));
    let ended = running.end();
    assert_eq!(ended.counts(), [("ok".to_owned(), 3)].into());
    let of: Vec<_> =
        ended.answers.iter().map(|a| (a["model"].clone(), a["round"].clone())).collect();
    // The first window may be answered before or after the new one is there.
    assert!(of[0].1 == 1 || of[0].1 == 2);
    for (model, round) in &of[1..] {
        assert_eq!((model, round), (&hash(at, "r2.safetensors").into(), &2.into()));
    }
    assert_eq!((&ended.summary()["reloads"], &ended.summary()["round"]), (&1.into(), &2.into()));
}

#[test]
fn no_model_that_is_not_sound_becomes_live() {
    let folder = models();
    let at = folder.path();
    let whole = bytes(at, "r2.safetensors");
    let write = |name: &str, bytes: &[u8]| fs::write(at.join(name), bytes).expect("written");
    write("half", &whole[..whole.len() / 2]);
    write("empty", b"");
    let mut nan = whole.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    write("nan", &nan);
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    write("huge", &huge);
    write("long", &[&whole[..], &vec![0; 4 << 20]].concat());
    let model = "r2.safetensors";
    edit(at, model, "classes", |meta| meta["classes"] = json!(["fast", "other"]));
    edit(at, model, "channels", |meta| {
        meta["channels"] = json!(["x", "z"]);
        meta["preprocess"]["names"] = json!(["x", "z"]);
    });
    edit(at, model, "windows", |meta| meta["window"]["stride"] = 7.into());
    edit(at, model, "older", |meta| meta["provenance"]["round"] = 0.into());
    edit(at, model, "needs", |meta| meta["needs"] = json!(["something"]));
    let shape = JOB.replace("n_layers = 1", "n_layers = 2").replace("len = 20", "len = 16");
    fs::write(at.join("shape.toml"), shape).expect("written");
    ok(at, &["train", "--config", "shape.toml", "--out", "shape", "--node", "n"]);
    // Weights that are finite, and overflow.
    let mut large = whole.clone();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
    for value in large[header..].chunks_exact_mut(4) {
        value.copy_from_slice(&3e38_f32.to_le_bytes());
    }
    write("large", &large);
    refuses_all(at, &[]);
    fs::copy(at.join("r1.safetensors"), at.join("live.safetensors")).expect("copied");
    let state = ["--state", "state"];
    refuses_all(at, &state);
    let models = edgectl::models::Models::open(&at.join("state")).expect("there");
    assert!(models.deployment().candidate.is_none() && models.deployment().previous.is_none());
}

/// Puts every unsound model in place of the live one.
#[track_caller]
fn refuses_all(at: &Path, state: &[&str]) {
    let args = ["--model", "live.safetensors", "--queue", "all", "--watch", "1ms"];
    let mut running = begun(at, &[&args[..], state].concat());
    for (file, part) in [
        ("half", ""),
        ("empty", ""),
        ("nan", "NaN"),
        ("huge", ""),
        ("long", "at most"),
        ("classes", "classes"),
        ("channels", "channels"),
        ("windows", "windows"),
        ("older", "round 0"),
        ("needs", "something"),
        ("shape", "windows"),
        ("large", "not finite"),
    ] {
        put(at, file);
        let (found, reason) = result(&mut running);
        let reason = reason.as_str().unwrap_or_default();
        assert_eq!(found, "refused", "{file}");
        assert!(!reason.is_empty() && reason.contains(part), "{file}: {reason}");
    }
    fs::remove_file(at.join("live.safetensors")).expect("removed");
    running.feed(&(rows(0) + &rows(10) + &rows(20)));
    let ended = running.end();
    assert!(ended.status.success());
    assert_eq!(ended.counts(), [("ok".to_owned(), 2)].into());
    assert!(ended.answers.iter().all(|a| a["model"] == hash(at, "r1.safetensors")));
    assert_eq!((&ended.summary()["reloads"], &ended.summary()["refused"]), (&0.into(), &12.into()));
}

#[test]
fn a_link_that_leads_elsewhere_is_seen() {
    let folder = models();
    let at = folder.path();
    symlink("r1.safetensors", at.join("link")).expect("linked");
    let mut running = running(at, "link");
    symlink("r2.safetensors", at.join("next")).expect("linked");
    fs::rename(at.join("next"), at.join("link")).expect("renamed");
    assert_eq!(result(&mut running).0, "checked");
    running.feed(&(rows(0) + &rows(10)));
    assert_eq!(result(&mut running).0, "live");
    let ended = running.end();
    assert_eq!(ended.answers[0]["round"], 2);
}

#[test]
fn a_folder_of_models_is_followed_and_what_it_refuses_is_not_taken() {
    let folder = models();
    let at = folder.path();
    let state = at.join("models");
    let deployed = |file: &str, round| edgectl::models::Deployed {
        hash: hash(at, file),
        round,
        accuracy: None,
    };
    let mut models = edgectl::models::Models::open_or_make(&state).expect("made");
    models.install(&bytes(at, "r1.safetensors"), deployed("r1.safetensors", 1)).expect("installed");
    let mut running = running(at, "models");
    models.install(&bytes(at, "r2.safetensors"), deployed("r2.safetensors", 2)).expect("installed");
    assert_eq!(result(&mut running).0, "checked");
    running.feed(&(rows(0) + &rows(10)));
    assert_eq!(result(&mut running).0, "live");
    let denied = edgectl::models::Denied {
        hash: hash(at, "r3.safetensors"),
        round: 3,
        reason: "it was bad".to_owned(),
    };
    models.refuse(denied).expect("noted");
    fs::copy(at.join("r3.safetensors"), state.join("new")).expect("copied");
    fs::rename(state.join("new"), state.join("current.safetensors")).expect("renamed");
    let (found, reason) = result(&mut running);
    assert!(found == "refused" && reason.as_str().is_some_and(|why| why.contains("it was bad")));
    running.feed(&rows(20));
    // Whoever keeps the folder goes back.
    models.roll_back(None, "by hand").expect("back");
    assert_eq!(running.event("rollback")["reason"], "by hand");
    running.feed(&rows(30));
    assert_eq!(result(&mut running).0, "live");
    running.feed(&rows(40));
    let ended = running.end();
    let rounds: Vec<_> = ended.answers.iter().filter_map(|a| a["round"].as_u64()).collect();
    assert!(rounds[0] == 2 && rounds.last() == Some(&1), "{rounds:?}");
}

#[test]
fn a_run_goes_back_with_the_node_that_its_models_come_from() {
    // With a model before in its own folder of state, and without; once beside a run without such a folder.
    for (installs, state) in [(2, true), (1, true), (1, false)] {
        let folder = models();
        let at = folder.path();
        let [r1, r2] = ["r1", "r2"].map(|name| hash(at, &format!("{name}.safetensors")));
        let node = at.join("models/01");
        let mut models = edgectl::models::Models::open_or_make(&node).expect("made");
        let mut install = |file: &str, round| {
            let hash = hash(at, file);
            let model = edgectl::models::Deployed { hash, round, accuracy: None };
            models.install(&bytes(at, file), model).expect("installed");
        };
        install("r1.safetensors", 1);
        if installs == 1 {
            install("r2.safetensors", 2);
        }
        let args = ["--model", "models/01/current.safetensors", "--queue", "all", "--watch", "1ms"];
        let more: &[&str] = if state { &["--state", "state", "--shadow", "0"] } else { &[] };
        let mut running = begun(at, &[&args[..], more].concat());
        if installs == 2 {
            install("r2.safetensors", 2);
            assert_eq!(result(&mut running).0, "checked");
            running.feed(&(rows(0) + &rows(10)));
            assert_eq!(result(&mut running).0, "live");
        }
        ok(at, &["rollback", "models/01"]);
        let event = running.event("rollback");
        let found = (&event["model"], &event["to"], &event["reason"]);
        let reason = "rolled back by hand".into();
        assert_eq!(found, (&r2.clone().into(), &r1.clone().into(), &reason), "{installs} {state}");
        running.feed(&(rows(20) + &rows(30)));
        assert_eq!(result(&mut running).0, "live");
        // Somebody puts it there again.
        fs::copy(at.join("r2.safetensors"), node.join("new")).expect("copied");
        fs::rename(node.join("new"), node.join("current.safetensors")).expect("renamed");
        let (found, why) = result(&mut running);
        let why = why.as_str().unwrap_or_default();
        assert!(found == "refused" && why.contains("refused before: rolled back by hand"), "{why}");
        running.feed(&rows(40));
        let ended = running.end();
        assert_eq!(ended.answers.last().expect("some")["model"], r1);
        assert_eq!(ended.events("rollback").len(), 1);
        if state {
            let models = edgectl::models::Models::open(&at.join("state")).expect("there");
            let deployment = models.deployment();
            assert!(deployment.refusal(&r2).is_some() && deployment.previous.is_none());
            // Neither does it come elsewhere, nor behind a restart.
            fs::copy(at.join("r2.safetensors"), at.join("live.safetensors")).expect("copied");
            let args = ["--model", "live.safetensors", "--queue", "all", "--watch", "1ms"];
            let mut again = begun(at, &[&args[..], more].concat());
            assert_eq!(again.events[0]["model"], r1);
            assert_eq!(result(&mut again).0, "refused");
            assert!(again.end().ended_well());
        }
    }
}

#[test]
fn many_models_after_each_other_lose_no_answer() {
    for state in [&[][..], &["--state", "state", "--shadow", "0"]] {
        let folder = models();
        let at = folder.path();
        let args = ["--model", "live.safetensors", "--queue", "all", "--watch", "1ms"];
        let mut running = begun(at, &[&args[..], state].concat());
        running.feed(&rows(0));
        let mut last = String::new();
        for swap in 0..50_u32 {
            edit(at, ["r1.safetensors", "r2.safetensors"][swap as usize % 2], "next", |meta| {
                meta["provenance"]["round"] = (10 + swap).into();
            });
            last = hash(at, "next");
            put(at, "next");
            assert_eq!(result(&mut running).0, "checked");
            running.feed(&(rows(10 + 20 * swap) + &rows(20 + 20 * swap)));
            let event = running.event("reload");
            assert_eq!((&event["result"], &event["model"]), (&"live".into(), &last.clone().into()));
        }
        let ended = running.end();
        assert_eq!(ended.counts(), [("ok".to_owned(), 100)].into());
        assert_eq!(ended.summary()["reloads"], 50);
        assert_eq!(ended.answers.last().expect("some")["model"], last);
        let mut rounds: Vec<_> = ended.answers.iter().filter_map(|a| a["round"].as_u64()).collect();
        assert!(rounds.is_sorted(), "{rounds:?}");
        rounds.dedup();
        assert!(rounds.len() >= 50, "{rounds:?}");
    }
}
