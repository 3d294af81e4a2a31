//! Rows from several sources at once, from folders and cameras, and series of which nothing comes any more.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{answered, rows, start, with_model};
use crate::support::{JOB, edgectl, fails, ok};

const ALL: [&str; 4] = ["--model", "m.safetensors", "--queue", "all"];

/// Waits until something is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn answers_of(answers: &[Value], series: &str) -> Vec<Value> {
    let of = answers.iter().filter(|answer| answer["series"] == series);
    of.map(|answer| serde_json::json!([answer["answer"], answer["p"], answer["t"]])).collect()
}

#[test]
fn files_in_a_folder_are_read_once_beside_stdin() {
    let folder = with_model(JOB);
    let at = folder.path();
    let text = rows(at, "data/node_1.csv");
    let expected = answered(at, &ALL, &text).answers;
    fs::create_dir(at.join("in")).expect("a folder");
    for (name, text) in [("b.csv", &*text), ("bad.csv", "no,table\n1,2\n"), ("c.csv.part", &text)] {
        fs::write(at.join("in").join(name), text).expect("written");
    }
    let mut running = start(at, &[&ALL[..], &["--folder", "in", "--stdin"]].concat());
    until("it is read", || {
        at.join("in/done/b.csv").exists() && at.join("in/failed/bad.csv").exists()
    });
    assert!(at.join("in/c.csv.part").exists(), "it is still being written");
    fs::rename(at.join("in/c.csv.part"), at.join("in/c.csv")).expect("renamed");
    until("it is read", || at.join("in/done/c.csv").exists());
    running.feed(&text);
    let ended = running.end();
    assert!(ended.status.success());
    assert_eq!(ended.answers.len(), 3 * expected.len());
    let first = ended.answers.iter().find(|answer| answer["series"] != "0").map(|a| &a["series"]);
    assert!(first.is_some(), "series of two sources that are called the same are told apart");
    // What stdin said, which began last, is called after it.
    let of_stdin = answers_of(&ended.answers, "stdin:0");
    assert_eq!(of_stdin, answers_of(&expected, "0"));
    let failed: Vec<_> =
        ended.events("file").into_iter().filter(|event| event["result"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0]["reason"].as_str().expect("text").contains("no column"), "{failed:?}");
    fails(at, &["run", "--model", "m.safetensors", "--folder", "none"], &["none: it is no folder"]);
}

#[test]
fn a_series_of_which_nothing_comes_has_one_answer_that_says_so() {
    let folder = with_model(JOB);
    let live =
        ["--model", "m.safetensors", "--priority", "normal", "--deadline", "1h", "--silence", "2"];
    let mut running = start(folder.path(), &live);
    for pause in [900, 900, 0] {
        let row = |t| format!("{{\"t\":{t},\"x\":0.{t},\"y\":1}}\n");
        running.feed(&(0..25).map(row).collect::<String>());
        thread::sleep(Duration::from_millis(pause));
    }
    let ended = running.end();
    let counts = ended.counts();
    assert_eq!(counts["no-signal"], 2, "{counts:?}");
    let silent = ended.answers.iter().find(|answer| answer["status"] == "no-signal").expect("one");
    assert_eq!(silent["t"], 24);
    assert!(silent["answer"].is_null() && silent["age_us"].as_u64() > Some(500_000), "{silent}");
}

/// A folder with a model of small videos; nothing where there is no ffmpeg.
fn with_videos() -> Option<tempfile::TempDir> {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        eprintln_skipped("there is no ffmpeg");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for class in ["a", "b"] {
        fs::create_dir_all(at.join("data").join(class)).expect("a folder");
        for i in 0..2 {
            let source = format!(
                "testsrc=size=64x48:rate=10:duration=4,hue=h={}",
                if class == "a" { 10 * i } else { 180 + 10 * i }
            );
            let made = Command::new("ffmpeg")
                .args(["-v", "error", "-f", "lavfi", "-i", &source, "-c:v", "ffv1"])
                .arg(at.join(format!("data/{class}/{i}.mkv")))
                .status();
            assert!(made.expect("it runs").success());
        }
    }
    let labels = "file,label\n0.mkv,a\n1.mkv,b\n";
    fs::write(at.join("labels.csv"), labels).expect("written");
    Some(folder)
}

/// Says on the tests' output that one was left out.
fn eprintln_skipped(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

const VIDEOS: &str = "\
[data]
path = \"data/a\"
labels = { path = \"labels.csv\" }
frames = { size = [4, 3] }
[window]
len = 10
stride = 5
[model]
d_model = 8
n_heads = 2
n_layers = 1
[train]
epochs = 1
[[preprocess]]
step = \"z-score\"
";

#[test]
fn a_video_is_answered_as_predict_answers_its_file() {
    let Some(folder) = with_videos() else { return };
    let at = folder.path();
    fs::write(at.join("job.toml"), VIDEOS).expect("written");
    ok(at, &["train", "--config", "job.toml", "--out", "m.safetensors", "--node", "n"]);
    let file = "data/a/0.mkv";
    ok(at, &["predict", "--model", "m.safetensors", "--data", file, "--out", "p.csv"]);
    let expected: Vec<String> = rows(at, "p.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').skip(7).take(2).collect::<Vec<_>>().join(","))
        .collect();
    assert!(expected.len() > 5);
    let ended = answered(at, &[&ALL[..], &["--camera", file]].concat(), "");
    let found: Vec<String> = ended
        .answers
        .iter()
        .map(|a| {
            format!(
                "{},{:.6}",
                a["answer"].as_str().expect("a class"),
                a["p"].as_f64().expect("a number")
            )
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(ended.answers[0]["series"], "camera");
    fails(at, &["run", "--model", "m.safetensors", "--camera", "file:///x"], &["file://"]);
    fails(
        at,
        &["run", "--model", "m.safetensors", "--camera", "none.mkv"],
        &["camera", "none.mkv"],
    );
}

#[test]
fn what_is_replayed_is_answered_as_predict_answers_it() {
    let folder = with_model(JOB);
    let at = folder.path();
    let text = rows(at, "data/node_1.csv");
    let expected = answered(at, &ALL, &text).answers;
    let replay = ["replay", "--data", "data/node_1.csv", "--speed", "max"];
    let output = edgectl(at, &replay).output().expect("it runs");
    assert!(output.status.success());
    let played = String::from_utf8(output.stdout).expect("text");
    let ended = answered(at, &ALL, &played);
    for series in ["0", "1"] {
        assert_eq!(answers_of(&ended.answers, series), answers_of(&expected, series));
    }
    assert_eq!(ended.answers.len(), expected.len());
    fails(at, &["replay", "--data", "data/node_1.csv"], &["--hz"]);
    fails(at, &["replay", "--data", "data/node_1.csv", "--to", "ftp://x"], &["--to", "mqtt://"]);
    fails(at, &["replay", "--data", "data/node_1.csv", "--shift", "twist"], &["--shift", "mirror"]);
}

#[test]
fn rows_are_due_at_their_times() {
    let folder = with_model(JOB);
    let began = Instant::now();
    let replay = [
        "replay",
        "--data",
        "data/node_1.csv",
        "--hz",
        "100",
        "--speed",
        "2",
        "--series",
        "0",
        "--json",
    ];
    let output = edgectl(folder.path(), &replay).output().expect("it runs");
    let n = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(n > 20, "{n}");
    // Not before they are due; how much later depends on the machine.
    assert!(began.elapsed() >= Duration::from_secs_f64((n - 1) as f64 / 200.0));
    let summary: Value = serde_json::from_slice(&output.stderr).expect("a summary");
    assert_eq!(summary["rows"], n as u64);
}

#[test]
fn an_ffmpeg_that_is_killed_is_started_again() {
    let Some(folder) = with_videos() else { return };
    let at = folder.path();
    fs::write(at.join("job.toml"), VIDEOS).expect("written");
    ok(at, &["train", "--config", "job.toml", "--out", "m.safetensors", "--node", "n"]);
    // A source that goes on, which a file would not.
    let graph = format!(
        "lavfi:testsrc=size=64x48:rate=10:duration=60,metadata=add:key=k:value={}",
        at.file_name().and_then(|name| name.to_str()).expect("text").trim_start_matches('.')
    );
    let model = ["--model", "m.safetensors", "--priority", "normal", "--silence", "off"];
    let mut running = start(at, &[&model[..], &["--camera", &graph]].concat());
    let mark = graph.clone();
    let child = || child_of(running.child.id(), &mark);
    until("it runs", || child().is_some());
    let _ = running.event("source");
    thread::sleep(Duration::from_millis(1500));
    let first = child_of(running.child.id(), &mark).expect("it runs");
    kill("-9", first);
    let lost = running.event("source");
    assert_eq!(lost["result"], "lost");
    let back = running.event("source");
    assert_eq!(back["result"], "connected");
    thread::sleep(Duration::from_millis(1500));
    kill("-TERM", running.child.id());
    let ended = running.read();
    let counts = ended.counts();
    assert_eq!(counts["no-signal"], 1, "{counts:?}");
    assert!(ended.status.success());
}

fn kill(signal: &str, id: u32) {
    let killed = Command::new("kill").args([signal, &id.to_string()]).status();
    assert!(killed.expect("it runs").success());
}

/// The process that another one started with a text in its arguments.
fn child_of(parent: u32, text: &str) -> Option<u32> {
    let text = text.strip_prefix("lavfi:")?;
    let is_it = |path: &Path| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let of: u32 = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        let arguments = String::from_utf8_lossy(&fs::read(path.join("cmdline")).ok()?).into_owned();
        (of == parent && arguments.contains(text)).then_some(())
    };
    let entries = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut found = entries.filter(|entry| is_it(&entry.path()).is_some());
    found.next()?.file_name().to_str()?.parse().ok()
}
