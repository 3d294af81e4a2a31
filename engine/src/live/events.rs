//! What happens beside answers, as JSON lines: to stderr, or to a file that is rotated.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use anyhow::Context;
use serde_json::{Value, json};

use super::counters::{add, get};

/// Events that wait to be written; more are counted.
const MOST_WAITING: usize = 1024;

/// Bytes of a file of events, after which a new one begins; one older is kept.
const LONGEST_FILE: u64 = 8 << 20;

/// Tells events; never waits.
#[derive(Debug)]
pub struct Events {
    sender: SyncSender<Value>,
    /// Events that were lost, as too many waited.
    lost: AtomicU64,
    /// Events of drift that are no mere notice.
    alarms: AtomicU64,
}

impl Events {
    /// Tells events, and where they come out.
    pub fn new() -> (Self, Receiver<Value>) {
        let (sender, receiver) = sync_channel(MOST_WAITING);
        (Self { sender, lost: AtomicU64::new(0), alarms: AtomicU64::new(0) }, receiver)
    }

    /// Tells an event: an object with a key `event`.
    pub fn tell(&self, event: Value) {
        if event["event"] == "drift" && event["level"] != "notice" {
            add(&self.alarms, 1);
        }
        if let Err(TrySendError::Full(_)) = self.sender.try_send(event) {
            add(&self.lost, 1);
        }
    }

    /// Tells the n-th event of a kind that may come with every row: the first ten, then each time that their number
    /// has doubled. Says whether it did.
    pub fn tell_some(&self, n: u64, event: impl FnOnce() -> Value) -> bool {
        let tells = n <= 10 || n.is_power_of_two();
        if tells {
            self.tell(event());
        }
        tells
    }

    /// Counts an alarm that is not told: it is one all the same for who acts on them.
    pub fn count_alarm(&self) {
        add(&self.alarms, 1);
    }

    /// Tells of a line that is no row.
    pub fn bad_line(&self, line: u64, n: u64, reason: &str) {
        let event = || json!({ "event": "bad-line", "line": line, "reason": reason, "count": n });
        self.tell_some(n, event);
    }

    /// No more events come: who writes them ends.
    pub fn end(&self) {
        // If too many wait, they are not being written.
        let _ = self.sender.try_send(Value::Null);
    }

    /// Events of drift that are no mere notice: something is to be done.
    pub fn alarms(&self) -> u64 {
        get(&self.alarms)
    }

    /// Events that were lost.
    pub fn lost(&self) -> u64 {
        get(&self.lost)
    }
}

/// Writes events until nobody tells any; what cannot be written is passed over.
pub(super) fn write_all(events: &Receiver<Value>, mut to: impl FnMut(&str)) {
    for event in events.iter().take_while(|event| !event.is_null()) {
        to(&event.to_string());
    }
}

/// A file of events, for its owner alone; when it is long, it becomes `FILE.1` and a new one begins.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
    len: u64,
    /// Whether the last line was cut: a disk that was full, or a run that was killed.
    is_cut: bool,
}

impl EventFile {
    /// Opens `events.jsonl` in a folder, at its end.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("events.jsonl");
        let file = append(&path).with_context(|| format!("{}", path.display()))?;
        let len = file.metadata().map_or(0, |meta| meta.len());
        Ok(Self { is_cut: ends_within_line(&path), path, file, len })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        if self.len > LONGEST_FILE {
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            std::fs::rename(&self.path, older)?;
            (self.file, self.len, self.is_cut) = (append(&self.path)?, 0, false);
        }
        let line = format!("{}{line}\n", if self.is_cut { "\n" } else { "" });
        self.len += line.len() as u64;
        let written = self.file.write_all(line.as_bytes());
        self.is_cut = written.is_err();
        written
    }
}

/// Whether the last byte of a file ends no line.
fn ends_within_line(path: &Path) -> bool {
    let mut last = [b'\n'];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)
    });
    read.is_ok() && last != [b'\n']
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bad_lines_is_told_in_few_events() {
        let (events, receiver) = Events::new();
        (1..=1_000_000).for_each(|n| events.bad_line(n, n, "no row"));
        drop(events);
        let mut lines = Vec::new();
        write_all(&receiver, |line| lines.push(line.to_owned()));
        assert_eq!(lines.len(), 10 + 16);
        assert!(lines[25].contains("\"count\":524288"), "{}", lines[25]);
    }

    #[test]
    fn telling_never_waits() {
        let (events, receiver) = Events::new();
        for _ in 0..MOST_WAITING + 7 {
            events.tell(json!({ "event": "x" }));
        }
        assert_eq!(events.lost(), 7);
        drop(receiver);
        events.tell(json!({ "event": "x" }));
    }

    #[test]
    fn a_long_file_is_rotated() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = EventFile::open(folder.path()).expect("opened");
        file.line("first").expect("written");
        file.len = LONGEST_FILE + 1;
        file.line("second").expect("written");
        let read = |name| std::fs::read_to_string(folder.path().join(name)).expect("there");
        assert_eq!((&*read("events.jsonl.1"), &*read("events.jsonl")), ("first\n", "second\n"));
        drop(file);
        EventFile::open(folder.path()).expect("opened").line("third").expect("written");
        assert_eq!(read("events.jsonl"), "second\nthird\n");
        // One that was killed within a line.
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, "{\"event\":").expect("written");
        EventFile::open(folder.path()).expect("opened").line("{}").expect("written");
        assert_eq!(read("events.jsonl"), "{\"event\":\n{}\n");
    }
}
