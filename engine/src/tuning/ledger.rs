//! What was measured, a line each, in a file that an interrupted search goes on from.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::typed::from_json;

/// How good a candidate was on one part of the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Share of right answers.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// The same with the temperature that makes it least: what it is apart from how sure answers are.
    pub least_loss: f64,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    edgectl_tune: u32,
    /// Hash of the job and the training rows.
    of: String,
}

/// Any other line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// What was measured.
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scores: Option<Scores>,
    /// Why there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    /// Microseconds, of a latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    us: Option<f64>,
}

/// The version of these lines.
const VERSION: u32 = 1;

/// All that was measured.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    scores: HashMap<String, Result<Scores, String>>,
    latencies: HashMap<String, f64>,
}

impl Ledger {
    /// A new file, which replaces an old one, or with `resume` an old one to go on from.
    ///
    /// # Errors
    /// If it cannot be written, or is of another job, other data or another program.
    pub fn open(path: &Path, of: &str, resume: bool) -> anyhow::Result<Self> {
        let place = || path.display().to_string();
        if !resume {
            check_is_ours(path).with_context(place)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(!resume);
        let mut file = options.open(path).with_context(|| {
            let hint = if resume { "; without --resume it is begun" } else { "" };
            format!("{}: cannot open what was measured{hint}", place())
        })?;
        file.try_lock()
            .with_context(|| format!("{}: another run of edgectl tune writes to it", place()))?;
        let mut ledger = Self {
            path: path.to_owned(),
            file: file.try_clone().with_context(place)?,
            scores: HashMap::new(),
            latencies: HashMap::new(),
        };
        if !resume {
            file.set_len(0).with_context(place)?;
            let head = Head { edgectl_tune: VERSION, of: of.to_owned() };
            ledger.append(&serde_json::to_string(&head)?)?;
            return Ok(ledger);
        }
        let whole = ledger.read(&file, of).with_context(place)?;
        // A line that was cut off is written anew.
        file.set_len(whole).with_context(place)?;
        file.seek(SeekFrom::End(0)).with_context(place)?;
        Ok(ledger)
    }

    /// Reads the lines; the length of those that are whole.
    fn read(&mut self, file: &File, of: &str) -> anyhow::Result<u64> {
        let mut reader = BufReader::new(file);
        let (mut whole, mut line, mut number) = (0, Vec::new(), 0);
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)? as u64;
            if line.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            let text = String::from_utf8_lossy(&line);
            if number == 1 {
                let head: Option<Head> = from_json(&text).ok();
                let head = head.context("not a record of edgectl tune; leave out --resume")?;
                ensure!(
                    head.edgectl_tune == VERSION && head.of == of,
                    "of another job, other data or another version; leave out --resume to begin anew"
                );
            } else {
                let entry = from_json(&text).with_context(|| format!("line {number}"))?;
                self.take(entry);
            }
            whole += length;
        }
        ensure!(number > 0, "empty: not a record of edgectl tune; leave out --resume");
        Ok(whole)
    }

    fn take(&mut self, entry: Entry) {
        let Entry { key, scores, failed, us } = entry;
        if let Some(us) = us {
            self.latencies.insert(key, us);
        } else if let Some(scores) = scores {
            self.scores.insert(key, Ok(scores));
        } else {
            self.scores.insert(key, Err(failed.unwrap_or_default()));
        }
    }

    fn append(&mut self, line: &str) -> anyhow::Result<()> {
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        written.with_context(|| format!("{}: cannot write", self.path.display()))
    }

    /// What was measured under a key.
    pub fn scores(&self, key: &str) -> Option<&Result<Scores, String>> {
        self.scores.get(key)
    }

    /// Keeps a measurement.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self, key: String, found: Result<Scores, String>) -> anyhow::Result<()> {
        let (scores, failed) = match &found {
            Ok(scores) => (Some(*scores), None),
            Err(why) => (None, Some(why.clone())),
        };
        let entry = Entry { key, scores, failed, us: None };
        self.append(&serde_json::to_string(&entry)?)?;
        self.scores.insert(entry.key, found);
        Ok(())
    }

    /// The latency of a model, in microseconds; measured unless it is known.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn latency(&mut self, key: String, measure: impl FnOnce() -> f64) -> anyhow::Result<f64> {
        if let Some(us) = self.latencies.get(&key) {
            return Ok(*us);
        }
        let us = measure();
        let entry = Entry { key, scores: None, failed: None, us: Some(us) };
        self.append(&serde_json::to_string(&entry)?)?;
        self.latencies.insert(entry.key, us);
        Ok(us)
    }
}

/// Fails if there is a file that would be lost: its name was not given by the user.
fn check_is_ours(path: &Path) -> anyhow::Result<()> {
    let Ok(file) = File::open(path) else { return Ok(()) };
    let mut line = String::new();
    // More than a head is, of what may be one line without an end.
    let read = BufReader::new(file.take(4096)).read_line(&mut line);
    let ours = line.is_empty() || from_json::<Head>(&line).is_ok();
    ensure!(
        read.is_ok() && ours,
        "what is there is no record of edgectl tune and would be lost; move it away, or name another output"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_again_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("best.toml.tune");
        let scores = Scores { accuracy: 0.1 + 0.2, loss: 1.0 / 3.0, least_loss: 1e-300 };
        let mut ledger = Ledger::open(&path, "a", false).expect("new");
        ledger.keep("one".to_owned(), Ok(scores)).expect("kept");
        ledger.keep("two".to_owned(), Err("too\nlong".to_owned())).expect("kept");
        assert_eq!(
            ledger.latency("shape".to_owned(), || 2.5).expect("kept").to_bits(),
            2.5_f64.to_bits()
        );
        drop(ledger);
        let whole = std::fs::read(&path).expect("there");
        std::fs::write(&path, [&whole[..], b"{\"key\":\"thr"].concat()).expect("written");
        let mut ledger = Ledger::open(&path, "a", true).expect("read");
        assert_eq!(ledger.scores("one"), Some(&Ok(scores)));
        assert_eq!(ledger.scores("two"), Some(&Err("too\nlong".to_owned())));
        assert_eq!(ledger.scores("thr"), None);
        let known = ledger.latency("shape".to_owned(), || 9.0).expect("known");
        assert_eq!(known.to_bits(), 2.5_f64.to_bits());
        ledger.keep("three".to_owned(), Ok(scores)).expect("kept");
        drop(ledger);
        let ledger = Ledger::open(&path, "a", true).expect("read");
        assert_eq!(ledger.scores("three"), Some(&Ok(scores)));
    }

    #[test]
    fn what_is_of_something_else_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("best.toml.tune");
        let refused = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&path, text).expect("written");
            }
            format!("{:#}", Ledger::open(&path, "a", true).expect_err("refused"))
        };
        std::fs::write(&path, "series,t\n1,2\n").expect("written");
        let foreign = Ledger::open(&path, "a", false).expect_err("refused");
        assert!(format!("{foreign:#}").contains("would be lost"));
        std::fs::remove_file(&path).expect("removed");
        assert!(refused(None).contains("cannot open"));
        assert!(refused(Some("")).contains("empty"));
        assert!(refused(Some("hello\n")).contains("not a record"));
        assert!(refused(Some("{\"edgectl_tune\":1,\"of\":\"b\"}\n")).contains("another job"));
        assert!(refused(Some("{\"edgectl_tune\":1,\"of\":\"a\"}\n{\"x\":1}\n")).contains("line 2"));
    }
}
