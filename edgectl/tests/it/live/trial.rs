//! Models in the shadow and on trial.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use edgectl::models::{Deployment, Models, Step};
use serde_json::{Value, json};

use super::Running;
use super::reload::{begun, hash, models_of, put, result, rows};
use crate::exclusions::edit;
use crate::support::{JOB, bytes, ok};

fn running(at: &Path, more: &[&str]) -> Running {
    let args =
        ["--model", "live.safetensors", "--state", "state", "--queue", "all", "--watch", "1ms"];
    begun(at, &[&args[..], more].concat())
}

fn deployed(at: &Path) -> Deployment {
    Models::open(&at.join("state")).expect("a folder of models").deployment().clone()
}

/// Models whose windows share no rows, as only such count.
fn models() -> tempfile::TempDir {
    models_of(&JOB.replace("stride = 10", "stride = 20"))
}

/// The rows of so many windows, from this one on.
fn windows(from: u32, n: u32) -> String {
    (2 * from..2 * (from + n)).map(|ten| rows(10 * ten)).collect()
}

/// A model that gives each of the two classes where another gives the other.
fn permuted(at: &Path, from: &str, to: &str) {
    edit(at, from, to, |meta| meta["provenance"]["round"] = 7.into());
    let mut file = bytes(at, to);
    let len = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + len]).expect("JSON");
    for name in ["head.weight", "head.bias"] {
        let range = &header[name]["data_offsets"];
        let [from, to] = [0, 1].map(|i| 8 + len + range[i].as_u64().expect("a number") as usize);
        let half = (to - from) / 2;
        file[from..to].rotate_left(half);
    }
    fs::write(at.join(to), file).expect("written");
}

#[test]
fn a_good_model_is_in_the_shadow_then_the_canary_then_live() {
    let folder = models();
    let at = folder.path();
    let [r1, r3] = ["r1.safetensors", "r3.safetensors"].map(|file| hash(at, file));
    let mut running = running(at, &["--shadow", "20"]);
    running.feed(&windows(0, 5));
    put(at, "r3.safetensors");
    assert_eq!(result(&mut running).0, "checked");
    // Those that come before it is in its place do not count.
    running.feed(&windows(5, 25));
    let event = running.event("promote");
    assert_eq!((&event["model"], &event["by"]), (&r3.clone().into(), &"shadow".into()));
    assert_eq!((&event["windows"], &event["agreement"]), (&20.into(), &1.0.into()));
    let now = deployed(at);
    assert!(now.canary && now.live.is_some_and(|live| live.hash == r3));
    assert!(ok(at, &["status", "state"]).contains("live (canary)"));
    running.feed(&windows(30, 1));
    assert_eq!(result(&mut running).0, "canary");
    running.feed(&windows(31, 25));
    assert_eq!(result(&mut running).0, "live");
    running.feed(&windows(56, 2));
    let ended = running.end();
    assert_eq!(ended.counts(), [("ok".to_owned(), 58)].into());
    let of: Vec<_> =
        ended.answers.iter().map(|a| (a["model"].as_str(), a["state"].as_str())).collect();
    // Twenty of those from the sixth on are compared, and twenty more behind the swap.
    assert!(of[..25].iter().all(|of| *of == (Some(&r1), Some("live"))), "{of:?}");
    assert!(of[31..45].iter().all(|of| *of == (Some(&r3), Some("canary"))), "{of:?}");
    assert!(of[56..].iter().all(|of| *of == (Some(&r3), Some("live"))), "{of:?}");
    let Deployment { live, previous, candidate, canary, .. } = deployed(at);
    assert_eq!((live.map(|m| m.hash), previous.map(|m| m.hash)), (Some(r3), Some(r1)));
    assert!(candidate.is_none() && !canary);
}

#[test]
fn a_permuted_head_gives_no_answer_and_stays_away() {
    let folder = models();
    let at = folder.path();
    permuted(at, "r1.safetensors", "bad");
    let bad = hash(at, "bad");
    let mut first = running(at, &["--shadow", "20"]);
    put(at, "bad");
    assert_eq!(result(&mut first).0, "checked");
    first.feed(&windows(0, 30));
    let (found, reason) = result(&mut first);
    let reason = reason.as_str().unwrap_or_default();
    assert!(found == "refused" && reason.contains("for 0 windows of 20"), "{reason}");
    let refused = &deployed(at).refused[0];
    assert_eq!((&refused.hash, refused.round), (&bad, 7));
    first.feed(&windows(30, 30));
    let ended = first.end();
    assert!(ended.answers.iter().all(|answer| answer["model"] != bad));
    assert!(!at.join(format!("state/{bad}.safetensors")).exists());
    // After a restart, too.
    let mut second = running(at, &["--shadow", "0"]);
    let (found, reason) = result(&mut second);
    assert!(
        found == "refused" && reason.as_str().is_some_and(|why| why.contains("refused before"))
    );
    second.feed(&windows(0, 5));
    assert!(second.end().answers.iter().all(|answer| answer["model"] != bad));
}

/// Forces a model with a permuted head live, and feeds it; gives its answers, and the reason why it went.
#[track_caller]
fn forced(more: &[&str], labels: bool) -> (usize, String) {
    let folder = models();
    let at = folder.path();
    permuted(at, "r1.safetensors", "bad");
    let [bad, r1] = ["bad", "r1.safetensors"].map(|file| hash(at, file));
    // What the live model says is right.
    let right = said(at, &windows(0, 60));
    let args = [&["--shadow", "100"], more].concat();
    let mut running = running(at, &args);
    put(at, "bad");
    assert_eq!(result(&mut running).0, "checked");
    running.feed(&windows(0, 10));
    while deployed(at).candidate.is_none_or(|candidate| candidate.state == Step::Checked) {
        std::thread::yield_now();
    }
    assert!(ok(at, &["status", "state"]).contains("candidate (shadow)"));
    assert!(ok(at, &["promote", "state"]).contains(&bad));
    assert_eq!(running.event("promote")["by"], "hand");
    running.feed(&windows(10, 1));
    assert_eq!(result(&mut running).0, "canary");
    let n = if labels { 29 } else { 99 };
    for i in 0..n {
        running.feed(&windows(11 + i, 1));
        if labels {
            let id = 11 + i as usize;
            running.feed(&format!("{{\"label\":\"{}\",\"id\":{id}}}\n", right[id]));
        }
    }
    let event = running.event("rollback");
    assert_eq!((&event["model"], &event["to"]), (&bad.clone().into(), &r1.clone().into()));
    running.feed(&windows(11 + n, 20));
    assert_eq!(result(&mut running).0, "live");
    let ended = running.end();
    let by_bad = ended.answers.iter().filter(|answer| answer["model"] == bad).count();
    assert!(by_bad <= n as usize + 1, "{by_bad}");
    assert_eq!(ended.answers.last().expect("some")["model"], r1);
    let Deployment { live, canary, refused, .. } = deployed(at);
    assert!(live.is_some_and(|live| live.hash == r1) && !canary);
    assert_eq!(refused[0].hash, bad);
    // The file is still where it was, and it stays away.
    let again = self::running(at, &["--shadow", "0"]).end();
    let refused = again.events("reload");
    assert!(refused[0]["reason"].as_str().is_some_and(|why| why.contains("refused before")));
    (by_bad, event["reason"].as_str().expect("text").to_owned())
}

/// The classes that the first model gives.
fn said(at: &Path, rows: &str) -> Vec<String> {
    let args = ["--model", "r1.safetensors", "--queue", "all"];
    let answers = super::answered(at, &args, rows).answers.into_iter();
    answers.map(|answer| answer["answer"].as_str().expect("a class").to_owned()).collect()
}

#[test]
fn a_permuted_head_that_is_forced_live_is_gone_soon() {
    let (_, reason) = forced(&[], false);
    assert!(reason.contains("the same class as the model before for 0 windows"), "{reason}");
}

#[test]
fn labels_take_it_back_within_thirty_windows() {
    // Agreement tells nothing here.
    let (_, reason) = forced(&["--agreement", "0"], true);
    assert!(reason.contains("right for 0.0 % of"), "{reason}");
}

#[test]
fn a_trial_goes_on_after_a_restart() {
    let folder = models();
    let at = folder.path();
    permuted(at, "r1.safetensors", "bad");
    let [bad, r1] = ["bad", "r1.safetensors"].map(|file| hash(at, file));
    let mut first = running(at, &["--shadow", "100"]);
    put(at, "bad");
    assert_eq!(result(&mut first).0, "checked");
    assert!(first.end().ended_well());
    // The candidate is still one.
    assert!(ok(at, &["promote", "state"]).contains(&bad));
    let mut second = running(at, &["--shadow", "100"]);
    let event = second.events[0].clone();
    assert_eq!((&event["model"], &event["state"]), (&bad.clone().into(), &"canary".into()));
    assert_eq!(result(&mut second).0, "canary");
    second.feed(&windows(0, 90));
    assert_eq!(second.event("rollback")["to"], r1);
    second.feed(&windows(90, 1));
    let ended = second.end();
    assert_eq!(ended.answers.last().expect("some")["model"], r1);
}

#[test]
fn a_candidate_of_somebody_else_counts_with_what_it_has_shown() {
    let folder = models();
    let at = folder.path();
    permuted(at, "r1.safetensors", "other");
    let other = hash(at, "other");
    let mut running = running(at, &["--shadow", "20"]);
    // It never agrees; where it was made, it alone was right.
    let tried = json!({ "both": 0, "only_new": 40, "only_old": 0, "neither": 0 });
    let candidate = json!({ "hash": other, "round": 7, "state": "checked", "tried": tried });
    let candidate = serde_json::from_value(candidate).expect("a candidate");
    let mut models = Models::open(&at.join("state")).expect("there");
    models.keep(&bytes(at, "other"), candidate).expect("kept");
    assert_eq!(result(&mut running).0, "checked");
    running.feed(&windows(0, 25));
    let event = running.event("promote");
    assert_eq!(event["model"], other.as_str());
    assert_eq!((&event["labelled"], &event["gate_labelled"]), (&0.into(), &40.into()));
    assert!(event["accuracy"].is_null(), "of the trial no class was told: {event}");
    running.feed(&windows(25, 1));
    assert_eq!(result(&mut running).0, "canary");
    running.feed(&windows(26, 25));
    assert_eq!(result(&mut running).0, "live");
    assert!(running.end().ended_well());
    assert!(deployed(at).live.is_some_and(|live| live.hash == other));
}

/// So many windows of series as they were trained on, or, with `strange`, of none of both speeds; of a series each.
fn sensed(from: u32, n: u32, strange: bool) -> String {
    let mut text = String::new();
    for window in from..from + n {
        let speed = match (strange, window % 2) {
            (true, _) => 0.5 + 0.05 * f64::from(window % 3),
            (false, 0) => 0.2,
            (false, _) => 0.9,
        };
        for row in 0..20 {
            let t = 20 * window + row;
            let phase = speed * f64::from(t) + f64::from(window % 4);
            let noise = f64::from((t * 7919 + 31) % 23) / 60.0;
            let (x, y) = (phase.sin() + noise, 2.0 * phase.cos() - noise);
            writeln!(text, "{{\"t\":{t},\"x\":{x},\"y\":{y}}}").expect("a string");
        }
    }
    text
}

/// What comes in is strange to two good models: they disagree, and that is neither's fault.
#[test]
fn a_world_that_changes_while_a_good_model_is_on_trial_takes_none_back() {
    // Trained so long that they agree on all that they know.
    let job = JOB.replace("stride = 10", "stride = 20").replace("epochs = 2", "epochs = 60");
    let folder = models_of(&job);
    let at = folder.path();
    let r2 = hash(at, "r2.safetensors");
    let mut running = running(at, &["--shadow", "60"]);
    running.feed(&sensed(0, 30, false));
    put(at, "r2.safetensors");
    assert_eq!(result(&mut running).0, "checked");
    running.feed(&sensed(30, 70, false));
    let event = running.event("promote");
    assert_eq!(event["model"], r2);
    running.feed(&sensed(100, 1, false));
    assert_eq!(result(&mut running).0, "canary");
    running.feed(&sensed(101, 20, false));
    running.feed(&sensed(121, 60, true));
    let event = running.event("drift");
    assert_eq!((&event["signal"], &event["level"]), (&"both-models".into(), &"alarm".into()));
    assert_eq!(result(&mut running).0, "live");
    let ended = running.end();
    assert!(ended.events("rollback").is_empty() && ended.ended_well());
    assert_eq!(ended.answers.last().expect("some")["model"], r2);
}
