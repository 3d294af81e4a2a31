//! What `edgectl demo` shows has really happened, and it ends well or says why not.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use edgectl::models::Models;
use serde_json::Value;

use crate::support::{fails, json};

/// A model that is trained in a second, for windows of two seconds.
const JOB: &str = r#"
[window]
len = 50
stride = 25
[[preprocess]]
step = "z-score"
[model]
patch_len = 5
d_model = 16
n_heads = 2
n_layers = 1
d_ff = 32
[train]
batch = 32
lr = 3e-3
label_smoothing = 0.1
"#;

/// A folder with that job, and the first rows of eight people.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::write(at.join("job.toml"), JOB).expect("written");
    fs::create_dir(at.join("people")).expect("a folder");
    for person in 1..=8 {
        let name = format!("subject_{person:02}.csv");
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/watch").join(&name);
        let all = fs::read_to_string(all).expect("text");
        let (mut n_rows, mut text) = (BTreeMap::<String, u32>::new(), String::new());
        for line in all.lines() {
            let series = line.split(',').next().expect("a cell").to_owned();
            let n = n_rows.entry(series).or_default();
            *n += 1;
            if *n <= 500 {
                text = text + line + "\n";
            }
        }
        fs::write(at.join("people").join(&name), text).expect("written");
    }
    folder
}

const SHORT: [&str; 8] =
    ["demo", "--data", "people", "--config", "job.toml", "--no-open", "--person", "subject_01.csv"];

#[test]
fn all_is_seen_and_has_happened() {
    let folder = folder();
    let at = folder.path();
    let more = ["--speed", "8", "--seconds", "600", "--out", "kept"];
    let report = json(at, &[&SHORT[..], &more].concat());
    assert_eq!(report["missing"], serde_json::json!([]), "{report}");
    assert_eq!(report["due"], report["answered"], "{report}");
    let share = |part: &str| {
        let of = |key: &str| report[part][key].as_f64().expect("a number");
        assert!(of("of") >= 20.0, "{part}: {report}");
        of("right") / of("of")
    };
    assert!(share("adapted") > share("changed") && share("as_before") > 0.5, "{report}");

    let state = at.join("kept/state");
    let text = fs::read_to_string(state.join("events.jsonl")).expect("events");
    let events: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let place = |is_it: &dyn Fn(&Value) -> bool, what: &str| {
        events.iter().position(is_it).unwrap_or_else(|| panic!("no {what}: {text}"))
    };
    let signal = &report["drift"]["signal"];
    let drift = place(&|e| e["event"] == "drift" && e["signal"] == *signal, "drift");
    let live = place(&|e| e["event"] == "reload" && e["result"] == "live", "other live model");
    let adapted = &events[live]["model"];
    let made = place(&|e| e["event"] == "adapted" && e["model"] == *adapted, "adapted model");
    let promoted = place(&|e| e["event"] == "promote" && e["model"] == *adapted, "promotion");
    assert!(drift < made && made < promoted && promoted < live, "{text}");
    let bad = &report["refused"]["model"];
    let refused = place(&|e| e["result"] == "refused" && e["model"] == *bad, "refused model");
    assert!(refused > live && events[refused]["reason"] == report["refused"]["reason"], "{text}");

    let models = Models::open(&state).expect("a folder of models");
    let now = models.deployment();
    // It, or one that was adapted after it.
    let live = now.live.as_ref().expect("a live model").hash.as_str();
    place(&|e| e["event"] == "adapted" && e["model"] == live, "adapted model that is live");
    assert!(now.refused.iter().any(|denied| bad == denied.hash.as_str()));
    assert_ne!(bad, adapted);
}

#[test]
fn what_is_missing_is_named_before_anything_is_done() {
    let folder = folder();
    let at = folder.path();
    fails(at, &["demo"], &["data/watch", "--data DIR", "--config JOB.toml", "--person FILE"]);
    fails(at, &["demo", "--data", "people"], &["examples/watch.toml", "--config JOB.toml"]);
    let with = |more: &[&'static str]| [&SHORT[..], more].concat();
    let nobody = [&SHORT[..7], &["nobody.csv"]].concat();
    fails(at, &nobody, &["nobody.csv", "subject_01.csv", "subject_05.csv"]);
    fails(at, &with(&["--out", "people"]), &["people", "new or empty"]);
    fails(at, &with(&["--speed", "0"]), &["--speed 0"]);
    fails(at, &with(&["--hz", "nan"]), &["--hz"]);
    fs::write(at.join("job.toml"), JOB.replace("len = 50\nstride = 25\n", "")).expect("written");
    fails(at, &SHORT, &["[window]", "len"]);
}

#[test]
fn what_was_not_seen_in_time_is_no_success() {
    let folder = folder();
    let more = ["--seconds", "4", "--speed", "0.5", "--epochs", "1", "--out", "kept"];
    let output = crate::support::edgectl(folder.path(), &[&SHORT[..], &more].concat())
        .output()
        .expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("error: not seen within 4 s: ") && stderr.contains("refused"),
        "{stderr}"
    );
}

/// A signal at a line that has this in it ends all, and leaves nothing; gives what was said.
#[track_caller]
fn signalled(at: &str, signal: &str, code: i32) -> String {
    let folder = folder();
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("edgectl"))
        .current_dir(folder.path())
        .args(SHORT)
        .env("TMPDIR", &temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = String::new();
    while !said.contains(at) {
        said = said + "\n" + &lines.next().expect("it goes on").expect("text");
    }
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
    lines.for_each(|line| said = said.clone() + "\n" + &line.expect("text"));
    assert_eq!(child.wait().expect("it ends").code(), Some(code), "{said}");
    assert_eq!(fs::read_dir(&temporary).expect("readable").count(), 0, "{said}");
    said
}

#[test]
fn a_signal_ends_it_with_all_that_it_has_begun() {
    let said = signalled("page: http://", "-INT", 130);
    let page = said.split("page: http://").nth(1).and_then(|rest| rest.split('/').next());
    let page = page.expect("an address");
    assert!(TcpStream::connect(page).is_err(), "somebody still listens at {page}");
    assert!(!said.contains("error"), "{said}");
    signalled("training", "-TERM", 143);
}
