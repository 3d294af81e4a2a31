//! Answers while rows come: `edgectl run` through stdin and stdout.

/// Every due window has exactly one line, whatever reader, model and input do.
mod accounting;
/// Lines, values and times that are not as they should be.
mod faults;
/// Models that are put in the place of the one that answers.
mod reload;
/// The same windows and digits as `predict`.
mod same;
/// Models that are calibrated, and what is found when what comes in changes.
mod watched;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::Value;

use crate::support::{bytes, ok};

/// A run that has ended.
struct Ended {
    status: ExitStatus,
    /// The lines on stdout.
    answers: Vec<Value>,
    /// The lines on stderr, of which the last is the summary.
    events: Vec<Value>,
}

impl Ended {
    fn summary(&self) -> &Value {
        let summary = self.events.last().expect("a summary");
        assert_eq!(summary["event"], "summary", "{summary}");
        summary
    }

    /// The events of a kind.
    fn events(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["event"] == kind).collect()
    }

    /// How many answers have each status, after a check that there is one for every window that was due.
    #[track_caller]
    fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (id, answer) in self.answers.iter().enumerate() {
            assert_eq!(answer["id"], id as u64, "one line for each, in order");
            let status = answer["status"].as_str().expect("a status").to_owned();
            *counts.entry(status).or_insert(0) += 1;
        }
        let summary = self.summary();
        assert_eq!(summary["due"], self.answers.len() as u64, "{summary}");
        assert_eq!(summary["answers"], serde_json::json!(counts), "{summary}");
        assert_eq!(summary["unwritten"], 0);
        counts
    }
}

/// A run that goes on.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    stderr: BufReader<std::process::ChildStderr>,
    events: Vec<Value>,
}

fn start(folder: &Path, args: &[&str]) -> Running {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("edgectl"))
        .current_dir(folder)
        .args(["run", "--json"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    Running { input: child.stdin.take(), child, stderr, events: Vec::new() }
}

impl Running {
    fn feed(&mut self, text: &str) {
        let input = self.input.as_mut().expect("open");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("it reads");
    }

    /// The next event of a kind.
    #[track_caller]
    fn event(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.stderr.read_line(&mut line).expect("text") > 0, "no event {kind}");
            let event: Value = serde_json::from_str(&line).expect("JSON");
            self.events.push(event.clone());
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// Closes the input, and reads all that comes.
    fn end(mut self) -> Ended {
        drop(self.input.take());
        self.read()
    }

    /// Reads all that comes.
    fn read(mut self) -> Ended {
        let stdout = self.child.stdout.take().expect("piped");
        let reader = reader(stdout);
        for line in self.stderr.by_ref().lines() {
            let line = line.expect("text");
            self.events.push(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")));
        }
        let answers = reader.join().expect("read");
        let status = self.child.wait().expect("it ends");
        Ended { status, answers, events: std::mem::take(&mut self.events) }
    }
}

/// A test that fails leaves none behind.
impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, where all is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reader(stdout: impl Read + Send + 'static) -> JoinHandle<Vec<Value>> {
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines();
        lines.map(|line| serde_json::from_str(&line.expect("text")).expect("JSON")).collect()
    })
}

/// A run over some rows, which must end well.
#[track_caller]
fn answered(folder: &Path, args: &[&str], rows: &str) -> Ended {
    let mut running = start(folder, args);
    let (mut input, rows) = (running.input.take().expect("open"), rows.to_owned());
    // A reader and a writer at once, as the pipes hold little.
    let writer = thread::spawn(move || input.write_all(rows.as_bytes()));
    let ended = running.read();
    writer.join().expect("it runs").expect("it reads");
    assert!(ended.status.success(), "{:?}", ended.events);
    ended
}

/// The rows of a file.
fn rows(folder: &Path, file: &str) -> String {
    String::from_utf8(bytes(folder, file)).expect("text")
}

/// A folder with a model `m.safetensors` by a job, on the data of three nodes.
fn with_model(job: &str) -> tempfile::TempDir {
    let folder = crate::support::federation();
    fs::write(folder.path().join("job.toml"), job).expect("written");
    ok(folder.path(), &["train", "--config", "job.toml", "--out", "m.safetensors", "--node", "n"]);
    folder
}
