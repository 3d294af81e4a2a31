//! Answers while rows come: `edgectl run` through stdin and stdout.

/// A threshold of answers that follows labels.
mod abstain;
/// Every due window has exactly one line, whatever reader, model and input do.
mod accounting;
/// A model that is adjusted to what comes back with labels.
mod adapt;
/// Runs that are killed.
mod crash;
/// All of it in a short time, as it is shown to people.
mod demo;
/// Lines, values and times that are not as they should be.
mod faults;
/// A run that is seen and fed over HTTP.
mod http;
/// Windows that come faster than they are answered.
mod load;
/// Rows and answers over a broker.
#[cfg(feature = "mqtt")]
mod mqtt;
/// Inputs of which nothing of use comes.
mod nothing;
/// Models that are put in the place of the one that answers.
mod reload;
/// The same windows and digits as `predict`.
mod same;
/// Several sources, folders, cameras, and recordings that are played.
mod sources;
/// The folder of state: what a run begins with, and what people do with it.
mod state;
/// Models in the shadow and on trial.
mod trial;
/// Models that are calibrated, and what is found when what comes in changes.
mod watched;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::support::{bytes, ok};

/// A run that has ended.
struct Ended {
    status: ExitStatus,
    /// The lines on stdout.
    answers: Vec<Value>,
    /// The lines on stderr, of which the last is the summary.
    events: Vec<Value>,
    /// What it says of its failure.
    error: Option<String>,
}

impl Ended {
    fn summary(&self) -> &Value {
        let summary = self.events.last().expect("a summary");
        assert_eq!(summary["event"], "summary", "{summary}");
        summary
    }

    /// Whether it ended by itself as it should: with 0, or with 1 and a reason where no window was answered.
    fn ended_well(&self) -> bool {
        let answers = &self.summary()["answers"];
        let is_nothing = ["ok", "late", "abstain"]
            .iter()
            .all(|status| answers[status].as_u64().is_none_or(|n| n == 0));
        self.status.code() == Some(i32::from(is_nothing)) && self.error.is_some() == is_nothing
    }

    /// The events of a kind.
    fn events(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["event"] == kind).collect()
    }

    /// How many answers have each status, after a check that there is one for every window that was due.
    #[track_caller]
    fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        // With a folder of state numbers go on behind a restart.
        let first = self.answers.first().map_or(0, |answer| answer["id"].as_u64().expect("one"));
        for (id, answer) in (first..).zip(&self.answers) {
            assert_eq!(answer["id"], id, "one line for each, in order");
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
    /// Where events are with `--state`.
    log: Option<BufReader<File>>,
    events: Vec<Value>,
    /// Who reads the answers while it goes on, if anybody does.
    reader: Option<JoinHandle<Vec<Value>>>,
}

fn start(folder: &Path, args: &[&str]) -> Running {
    let state = args.iter().position(|arg| *arg == "--state");
    let log = state.map(|at| {
        fs::create_dir_all(folder.join(args[at + 1])).expect("a folder");
        let path = folder.join(args[at + 1]).join("events.jsonl");
        let mut log =
            File::options().create(true).append(true).read(true).open(path).expect("a file");
        log.seek(SeekFrom::End(0)).expect("the end");
        BufReader::new(log)
    });
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
    Running { input: child.stdin.take(), child, stderr, log, events: Vec::new(), reader: None }
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
            let line = self.event_line().unwrap_or_else(|| panic!("no event {kind}"));
            let event: Value = serde_json::from_str(&line).expect("JSON");
            self.events.push(event.clone());
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// The next event; nothing if there is none, at the end or within long.
    fn event_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let Some(log) = &mut self.log else {
            return (self.stderr.read_line(&mut line).expect("text") > 0).then_some(line);
        };
        for _ in 0..100_000 {
            log.read_line(&mut line).expect("text");
            if line.ends_with('\n') {
                return Some(line);
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// Feeds rows, ever more of them, until there is an event of a kind; only with `--state`.
    #[track_caller]
    fn feed_until(&mut self, kind: &str, mut rows: impl FnMut(u32) -> String) {
        for i in 0..1000 {
            self.feed(&rows(i));
            thread::sleep(Duration::from_millis(5));
            let mut line = String::new();
            let log = self.log.as_mut().expect("a folder of state");
            while log.read_line(&mut line).expect("text") > 0 {
                let event: Value = serde_json::from_str(&line).expect("JSON");
                self.events.push(event.clone());
                if event["event"] == kind {
                    return;
                }
                line.clear();
            }
        }
        panic!("no event {kind}");
    }

    /// Reads answers from now on, so that none waits.
    fn read_on(&mut self) {
        self.reader = Some(reader(self.child.stdout.take().expect("piped")));
    }

    /// Closes the input, and reads all that comes.
    fn end(mut self) -> Ended {
        drop(self.input.take());
        self.read()
    }

    /// Reads all that comes.
    fn read(mut self) -> Ended {
        if self.reader.is_none() {
            self.read_on();
        }
        let reader = self.reader.take().expect("it reads");
        let mut lines: Vec<String> =
            self.stderr.by_ref().lines().map(|line| line.expect("text")).collect();
        let answers = reader.join().expect("read");
        let status = self.child.wait().expect("it ends");
        if let Some(log) = &mut self.log {
            let logged = log.lines().map(|line| line.expect("text"));
            lines.splice(..0, logged);
        }
        let is_error = |line: &String| line.starts_with("error: ");
        let error = lines.iter().position(is_error).map(|at| lines.remove(at));
        for line in lines {
            self.events.push(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")));
        }
        Ended { status, answers, events: std::mem::take(&mut self.events), error }
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
    assert!(ended.ended_well(), "{:?} {:?}", ended.error, ended.events);
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
