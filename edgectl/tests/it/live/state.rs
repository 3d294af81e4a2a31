//! The folder of state: what a run begins with, and what people do with it.

use std::fs;
use std::path::Path;

use edgectl::models::{Candidate, Deployed, Deployment, Models, Step};

use super::Running;
use super::reload::{begun, hash, models, put, result, rows};
use crate::exclusions::edit;
use crate::support::{bytes, edgectl, fails, json, ok};

/// A run in which what is sound is live at once.
fn at_once(at: &Path, args: &[&str]) -> Running {
    let all = ["--state", "state", "--queue", "all", "--watch", "1ms", "--shadow", "0"];
    begun(at, &[&all[..], args].concat())
}

/// A run in which what is sound is long on trial.
fn on_trial(at: &Path) -> Running {
    let args = ["--model", "live.safetensors", "--state", "state", "--queue", "all"];
    begun(at, &[&args[..], &["--watch", "1ms", "--shadow", "1000"]].concat())
}

fn deployed(at: &Path) -> Deployment {
    Models::open(&at.join("state")).expect("a folder of models").deployment().clone()
}

/// The hashes of the live model, the one before and the candidate.
fn hashes(at: &Path) -> [Option<String>; 3] {
    let Deployment { live, previous, candidate, .. } = deployed(at);
    [live.map(|m| m.hash), previous.map(|m| m.hash), candidate.map(|m| m.hash)]
}

#[test]
fn a_run_begins_with_the_model_that_was_live() {
    let folder = models();
    let at = folder.path();
    let [r1, r2, r3] = [1, 2, 3].map(|round| hash(at, &format!("r{round}.safetensors")));
    says(at, &["run", "--state", "none"], "--state has none");
    fails(at, &["run", "--model", "r1.safetensors", "--shadow", "1"], &["--shadow", "--state DIR"]);

    let mut running = at_once(at, &["--model", "live.safetensors"]);
    let event = running.events[0].clone();
    assert_eq!((&event["model"], &event["from"]), (&r1.clone().into(), &"model".into()));
    put(at, "r2.safetensors");
    assert_eq!(result(&mut running).0, "checked");
    running.feed(&(rows(0) + &rows(10)));
    assert_eq!(result(&mut running).0, "live");
    put(at, "r3.safetensors");
    assert_eq!(result(&mut running).0, "checked");
    running.feed(&rows(20));
    assert_eq!(result(&mut running).0, "live");
    assert!(running.end().ended_well());
    assert_eq!(hashes(at), [Some(r3.clone()), Some(r2.clone()), None]);
    assert_eq!((deployed(at).newest_round, deployed(at).canary), (3, false));
    assert_eq!(hash(at, "state/current.safetensors"), r3);

    // Now that of the folder, and one of an older round is none to take.
    put(at, "r1.safetensors");
    let mut running = at_once(at, &["--model", "live.safetensors"]);
    let event = running.events[0].clone();
    assert_eq!((&event["model"], &event["from"]), (&r3.clone().into(), &"state".into()));
    let (found, reason) = result(&mut running);
    assert!(found == "refused" && reason.as_str().is_some_and(|why| why.contains("round 1")));
    // Two runs in one folder would take each other's files.
    fails(at, &["run", "--state", "state"], &["another process"]);
    assert!(running.end().ended_well());
    // It needs no other.
    let mut running = at_once(at, &[]);
    running.feed(&(rows(0) + &rows(10)));
    let ended = running.end();
    assert_eq!(ended.answers[0]["model"], r3);
    // One that is damaged does not answer.
    fs::write(at.join(format!("state/{r3}.safetensors")), b"xxx").expect("written");
    let mut running = at_once(at, &[]);
    assert_eq!(running.events[0]["model"], r2);
    let event = running.event("model-lost");
    assert_eq!((&event["model"], &event["was"]), (&r3.into(), &"live".into()));
    assert!(event["reason"].as_str().is_some_and(|why| why.contains("damaged")), "{event}");
    assert!(running.end().ended_well());
    // Where there is none before, either, the reason is told.
    fs::remove_file(at.join(format!("state/{r2}.safetensors"))).expect("removed");
    says(at, &["run", "--state", "state"], &format!("{r2}.safetensors"));
}

#[test]
fn models_that_are_lost_are_told_and_come_again() {
    let folder = adjusted();
    let at = folder.path();
    let [live, previous, candidate] = hashes(at).map(|hash| hash.expect("one"));
    fs::remove_file(at.join(format!("state/{candidate}.safetensors"))).expect("removed");
    fs::write(at.join(format!("state/{live}.safetensors")), b"xxx").expect("written");
    let mut running = on_trial(at);
    assert_eq!(running.events[0]["model"], previous.as_str());
    for (hash, was) in [(&live, "live"), (&candidate, "candidate")] {
        let event = running.event("model-lost");
        assert_eq!((&event["model"], &event["was"]), (&hash.as_str().into(), &was.into()));
    }
    assert!(running.end().ended_well());
    assert_eq!(hashes(at), [Some(previous), None, None]);
    // What came from the file and was lost is taken from there again.
    put(at, "r2.safetensors");
    let r2 = hash(at, "r2.safetensors");
    for _ in 0..2 {
        let mut running = on_trial(at);
        assert_eq!(running.event("reload")["model"], r2.as_str());
        assert!(running.end().ended_well());
        fs::remove_file(at.join(format!("state/{r2}.safetensors"))).expect("removed");
    }
}

#[test]
fn numbers_of_windows_go_on_behind_a_restart() {
    let folder = models();
    let at = folder.path();
    let ids = |running: Running, windows: u64| {
        let answers = running.end().answers;
        assert_eq!(answers.len() as u64, windows);
        answers.iter().map(|answer| answer["id"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    let kept = || fs::read_to_string(at.join("state/next-window")).expect("there");
    let mut running = at_once(at, &["--model", "live.safetensors"]);
    running.feed(&(rows(0) + &rows(10)));
    let first = ids(running, 1);
    assert_eq!((first, &*kept()), (vec![0], "1"));
    // A label of the run before finds none of this one's.
    let mut running = at_once(at, &[]);
    running.feed(&(rows(0) + &rows(10) + "{\"label\":\"slow\",\"id\":0}\n"));
    let ended = running.end();
    assert_eq!(ended.answers[0]["id"], 1);
    assert_eq!(ended.events("label-unmatched").len(), 1);
    // One that is killed keeps no number.
    let mut running = at_once(at, &[]);
    running.child.kill().expect("killed");
    running.child.wait().expect("it ended");
    let mut running = at_once(at, &[]);
    running.feed(&(rows(0) + &rows(10)));
    assert_eq!(ids(running, 1), [1_000_000]);
    // Without the folder they begin anew.
    let mut running = begun(at, &["--model", "live.safetensors", "--queue", "all"]);
    running.feed(&(rows(0) + &rows(10)));
    assert_eq!(ids(running, 1), [0]);
}

#[test]
fn a_run_follows_people_who_go_back() {
    let folder = models();
    let at = folder.path();
    let [r1, r2, r3] = [1, 2, 3].map(|round| hash(at, &format!("r{round}.safetensors")));
    let mut running = at_once(at, &["--model", "live.safetensors"]);
    running.feed(&(rows(0) + &rows(10)));
    fails(at, &["rollback", "state"], &["no model before"]);
    fails(at, &["promote", "state"], &["no candidate"]);
    put(at, "r2.safetensors");
    assert_eq!(result(&mut running).0, "checked");
    running.feed(&rows(20));
    assert_eq!(result(&mut running).0, "live");
    let said = json(at, &["rollback", "state"]);
    assert_eq!(
        (&said["live"]["hash"], &said["refused"][0]["hash"]),
        (&r1.clone().into(), &r2.clone().into())
    );
    let event = running.event("rollback");
    assert_eq!((&event["model"], &event["to"]), (&r2.clone().into(), &r1.clone().into()));
    assert_eq!(event["reason"], "rolled back by hand");
    running.feed(&rows(30));
    assert_eq!(result(&mut running).0, "live");
    // It is put there again, and after a restart.
    put(at, "r3.safetensors");
    assert_eq!(result(&mut running).0, "checked");
    put(at, "r2.safetensors");
    let refused = |(found, reason): (String, serde_json::Value)| {
        let reason = reason.as_str().unwrap_or_default().to_owned();
        assert!(
            found == "refused" && reason.contains("refused before: rolled back by hand"),
            "{reason}"
        );
    };
    let mut next = result(&mut running);
    if next.0 == "live" {
        next = result(&mut running);
    }
    refused(next);
    running.feed(&rows(40));
    let ended = running.end();
    let by: Vec<&str> = ended.answers.iter().filter_map(|a| a["model"].as_str()).collect();
    assert_eq!(by, [&r1, &r2, &r1, &r3]);
    assert_eq!(ended.summary()["rollbacks"], 1);
    let mut running = at_once(at, &["--model", "live.safetensors"]);
    refused(result(&mut running));
    assert!(running.end().ended_well());
    let text = ok(at, &["status", "state"]);
    for part in ["live ", "before ", "refused: ", "rolled back by hand", &r3] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A folder of state that has none live begins with no refused model either.
    let mut state = deployed(at);
    state.live = None;
    state.previous = None;
    let text = serde_json::to_string(&state).expect("JSON");
    fs::write(at.join("state/deploy.json"), text).expect("written");
    says(at, &["run", "--model", "r2.safetensors", "--state", "state"], "refused before");
}

/// A folder whose `--model` is as it was, while the live model was adjusted twice and once more since.
fn adjusted() -> tempfile::TempDir {
    let folder = models();
    let at = folder.path();
    assert!(at_once(at, &["--model", "live.safetensors"]).end().ended_well());
    assert_eq!(deployed(at).came, Some(hash(at, "r1.safetensors")));
    let mut state = Models::open(&at.join("state")).expect("there");
    for name in ["a", "b", "c"] {
        edit(at, "r1.safetensors", name, |meta| meta["provenance"]["node"] = name.into());
        let (hash, bytes) = (hash(at, name), bytes(at, name));
        if name == "c" {
            let candidate = Candidate { hash, round: 1, state: Step::Checked, tried: None };
            state.keep(&bytes, candidate).expect("kept");
        } else {
            state.install(&bytes, Deployed { hash, round: 1, accuracy: None }).expect("installed");
        }
    }
    folder
}

/// A run with a candidate, at which it has looked: then it has looked at the file of `--model`, too.
fn tries(at: &Path) -> Running {
    let candidate = deployed(at).candidate.expect("one").hash;
    let mut state = Models::open(&at.join("state")).expect("there");
    state.step(&candidate, Step::Checked).expect("noted");
    let mut running = on_trial(at);
    assert_eq!(running.event("reload")["model"], candidate.as_str());
    while deployed(at).candidate.is_none_or(|candidate| candidate.state == Step::Checked) {
        std::thread::yield_now();
    }
    running
}

#[test]
fn a_model_file_that_is_as_it_was_is_no_news_after_a_restart() {
    let folder = adjusted();
    let at = folder.path();
    let before = hashes(at);
    assert!(before.iter().all(Option::is_some));
    let ended = tries(at).end();
    assert!(ended.ended_well() && ended.events("reload").len() == 1, "{:?}", ended.events);
    assert_eq!(hashes(at), before);
    // Written again, with the same bytes.
    put(at, "r1.safetensors");
    let ended = tries(at).end();
    assert!(ended.ended_well() && ended.events("reload").len() == 1, "{:?}", ended.events);
    assert_eq!(hashes(at), before);
    // The model before, and that of before that is no news from then on.
    put(at, "a");
    let ended = tries(at).end();
    assert!(ended.ended_well() && ended.events("reload").len() == 1, "{:?}", ended.events);
    assert_eq!((hashes(at), deployed(at).came), (before, Some(hash(at, "a"))));
    // Another one is.
    put(at, "r2.safetensors");
    let running = tries(at);
    let r2 = hash(at, "r2.safetensors");
    assert!(running.end().ended_well());
    assert_eq!(hashes(at)[2], Some(r2.clone()));
    assert_eq!(deployed(at).came, Some(r2));
}

/// Runs the command, which must fail with this; a lock and an empty file of events may be new.
#[track_caller]
fn says(at: &Path, args: &[&str], part: &str) {
    let output = edgectl(at, args).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains(part), "{stderr}");
    assert!(output.stdout.is_empty());
}
