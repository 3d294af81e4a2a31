//! All series that run, whichever source their rows come from.

use std::collections::HashMap;
use std::sync::Arc;

use super::quality::Follows;
use super::track::{Cut, Plan, Track};
use crate::data::StreamRow;

/// Most series at a time; one more ends the one that was silent longest.
const MOST: usize = 1024;

/// The series that run.
#[derive(Debug)]
pub struct Tracks {
    plan: Plan,
    places: HashMap<Vec<u8>, usize>,
    running: Vec<Running>,
    /// Rows that came.
    n_rows: u64,
    /// Series that began, by which each has a number of its own.
    begun: usize,
}

/// A series, and when it was last heard of.
#[derive(Debug)]
struct Running {
    /// Which series it is of all that began: a place is used again, and a window of the one before may still wait.
    number: usize,
    source: Arc<str>,
    key: Vec<u8>,
    track: Track,
    last_row: u64,
}

/// A row, with what tells its series from all others.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    /// Where it comes from.
    pub(super) source: &'a Arc<str>,
    /// What tells series apart, the source with it.
    pub(super) key: &'a [u8],
    /// What people call the series.
    pub(super) name: &'a str,
    /// The row.
    pub(super) row: &'a StreamRow,
}

/// Takes windows that are due: the series' number, its name, the window.
pub(super) type Takes<'a> = dyn FnMut(usize, &Arc<str>, Cut<'_>) + 'a;

impl Tracks {
    /// None yet.
    pub fn new(plan: Plan) -> Self {
        let (places, running) = (HashMap::new(), Vec::new());
        Self { plan, places, running, n_rows: 0, begun: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Adds a row to its series; windows that are due by it are handed on. Gives how its time follows, and what the
    /// series is called.
    ///
    /// # Errors
    /// If the row cannot be taken.
    pub(super) fn push(
        &mut self,
        placed: &Placed<'_>,
        due: &mut Takes<'_>,
    ) -> Result<(Follows, Arc<str>), String> {
        let at = match self.places.get(placed.key) {
            Some(&at) => at,
            None => self.begin(placed, due),
        };
        self.n_rows += 1;
        let running = &mut self.running[at];
        running.last_row = self.n_rows;
        let number = running.number;
        let follows =
            running.track.push(placed.row, &mut |series, cut| due(number, series, cut))?;
        Ok((follows, Arc::clone(running.track.name())))
    }

    /// Begins a series; gives its place.
    fn begin(&mut self, placed: &Placed<'_>, due: &mut Takes<'_>) -> usize {
        let Placed { source, key, name, .. } = placed;
        // Two sources may call their series the same.
        let is_taken =
            |running: &Running| running.source != **source && **running.track.name() == **name;
        let track = if self.running.iter().any(is_taken) {
            let sign = if name.is_empty() { "" } else { ":" };
            Track::new(&self.plan, &format!("{source}{sign}{name}"))
        } else {
            Track::new(&self.plan, name)
        };
        let (source, key) = (Arc::clone(source), key.to_vec());
        self.places.insert(key.clone(), self.running.len());
        let mut running = Running { number: self.begun, source, key, track, last_row: 0 };
        self.begun += 1;
        if self.running.len() < MOST {
            self.running.push(running);
            return self.running.len() - 1;
        }
        let silent = self.running.iter().enumerate().min_by_key(|(_, r)| r.last_row);
        let at = silent.map_or(0, |(at, _)| at);
        self.places.insert(running.key.clone(), at);
        std::mem::swap(&mut self.running[at], &mut running);
        self.places.remove(&running.key);
        running.end(due);
        at
    }

    /// All series of a source end: windows that steps held back are due.
    pub(super) fn end(&mut self, source: &str, due: &mut Takes<'_>) {
        self.running.iter_mut().filter(|r| *r.source == *source).for_each(|r| r.end(due));
    }
}

impl Running {
    fn end(&mut self, due: &mut Takes<'_>) {
        let number = self.number;
        self.track.end(&mut |series, cut| due(number, series, cut));
    }
}
