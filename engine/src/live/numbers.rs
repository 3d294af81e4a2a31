//! Numbers of windows that go on behind a restart: a label by number that comes late is then for no other window.

use std::fs;
use std::path::PathBuf;

use aggregate::atomic_write;
use anyhow::Context;

use super::outbox::Outbox;

/// What is kept is ahead by at least half as much, and by one and a half at most: a run that is killed keeps nothing.
const ROOM: u64 = 1_000_000;

/// Numbers are smaller, so that every reader of JSON has them exactly.
const MOST: u64 = 1 << 53;

/// Keeps a number that no window has had.
#[derive(Debug)]
pub(super) struct Numbers {
    /// The number of the first window.
    pub(super) first: u64,
    path: Option<PathBuf>,
    kept: u64,
}

impl Numbers {
    /// Where those of the run before ended, or with room between if it was killed; at 0 without a run before, or a path.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub(super) fn begin(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let text = path.as_ref().and_then(|path| fs::read_to_string(path).ok());
        let first = text.and_then(|text| text.trim().parse().ok());
        let first = first.filter(|first| *first < MOST).unwrap_or(0);
        let mut numbers = Self { first, path, kept: first };
        numbers.ahead(first)?;
        Ok(numbers)
    }

    /// Keeps one that is ahead of the next, if the one that is kept is not by enough.
    ///
    /// # Errors
    /// If it cannot be kept; it is not tried again before there are many more.
    pub(super) fn ahead(&mut self, next: u64) -> anyhow::Result<()> {
        let ahead = (next + ROOM / 2) / ROOM * ROOM + ROOM;
        if ahead > self.kept { self.keep(ahead) } else { Ok(()) }
    }

    /// No more windows get a number: the next run begins with the one behind the last.
    ///
    /// # Errors
    /// As [`ahead`](Self::ahead).
    pub(super) fn end(&mut self, outbox: &Outbox) -> anyhow::Result<()> {
        outbox.close();
        self.keep(outbox.next())
    }

    fn keep(&mut self, next: u64) -> anyhow::Result<()> {
        self.kept = next;
        let Some(path) = &self.path else { return Ok(()) };
        let said = || "numbers of windows cannot be kept";
        atomic_write(path, next.to_string().as_bytes()).with_context(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_used_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let begin = || Numbers::begin(Some(folder.path().join("next-window"))).expect("kept");
        let mut numbers = begin();
        assert_eq!(numbers.first, 0);
        let outbox = Outbox::new(0, false, 17);
        numbers.end(&outbox).expect("kept");
        assert_eq!(begin().first, 17);
        // That one was killed.
        let mut numbers = begin();
        assert_eq!(numbers.first, ROOM);
        // So may this one be, behind any window.
        for next in (numbers.first..3 * ROOM).step_by(1000) {
            numbers.ahead(next).expect("kept");
            let kept = fs::read_to_string(folder.path().join("next-window")).expect("there");
            let kept: u64 = kept.parse().expect("a number");
            assert!((next + ROOM / 2..=next + 2 * ROOM).contains(&kept), "{next} {kept}");
        }
        // What is no number is as nothing.
        for text in ["", "x", "-1", "18446744073709551615"] {
            fs::write(folder.path().join("next-window"), text).expect("written");
            assert_eq!(begin().first, 0, "{text}");
        }
    }
}
