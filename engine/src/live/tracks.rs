//! All series that run, whichever source their rows come from.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::quality::Follows;
use super::thin::Thin;
use super::track::{Cut, Plan, Track};
use crate::data::StreamRow;

/// Most series at a time; one more ends the one that was silent longest.
pub(super) const MOST: usize = 1024;

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
    /// Series that ended to make room for others.
    ended: u64,
    /// Rows whose time is more seconds ago are old.
    most_age_s: Option<f64>,
    /// Which windows are due.
    thin: Arc<Thin>,
}

/// Rows of a series by which its usual step is known.
const FIRST_ROWS: u32 = 10;

/// No series is silent sooner.
const SOONEST: Duration = Duration::from_millis(500);

/// A series, and when it was last heard of.
#[derive(Debug)]
struct Running {
    /// Which series it is of all that began: a place is used again, and a window of the one before may still wait.
    number: usize,
    source: Arc<str>,
    key: Vec<u8>,
    track: Track,
    last_row: u64,
    heard: Heard,
}

/// When rows of a series came.
#[derive(Debug, Clone, Copy)]
struct Heard {
    first: Instant,
    last: Instant,
    n: u32,
    /// The time of the last one.
    t: Option<f64>,
    /// Whether more are expected: none has ended it, and its silence was not told.
    goes_on: bool,
}

/// A series of which nothing comes any more.
#[derive(Debug)]
pub(super) struct Silent<'a> {
    /// Its name.
    pub(super) series: &'a Arc<str>,
    /// The time of its last row.
    pub(super) t: Option<f64>,
    /// Since when nothing came.
    pub(super) since: Instant,
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
    /// When it came.
    pub(super) arrived: Instant,
}

/// Takes windows that are due: the series' number, its name, the window.
pub(super) type Takes<'a> = dyn FnMut(usize, &Arc<str>, Cut<'_>) + 'a;

impl Tracks {
    /// None yet.
    pub fn new(plan: Plan) -> Self {
        let (places, running) = (HashMap::new(), Vec::new());
        let thin = Arc::new(Thin::default());
        Self { plan, places, running, n_rows: 0, begun: 0, ended: 0, most_age_s: None, thin }
    }

    /// Rows whose time, in seconds since 1970, is longer ago are old.
    #[must_use]
    pub fn with_most_age(self, most: Option<Duration>) -> Self {
        Self { most_age_s: most.map(|most| most.as_secs_f64()), ..self }
    }

    /// Which windows are due: all, until somebody thins them.
    pub fn thin(&self) -> &Arc<Thin> {
        &self.thin
    }

    /// Whether a row of this time is old. Times before 2001 count from somewhere else, and tell nothing.
    pub(super) fn is_old(&self, t: Option<f64>) -> bool {
        let (Some(most), Some(t)) = (self.most_age_s, t) else { return false };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        t > 1e9 && now.is_ok_and(|now| now.as_secs_f64() - t > most)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// How many ended to make room for others.
    pub fn ended(&self) -> u64 {
        self.ended
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
        running.heard.hear(placed.arrived, placed.row.time);
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
        let track = track.thinned(&self.thin, self.begun as u64);
        let (source, key) = (Arc::clone(source), key.to_vec());
        self.places.insert(key.clone(), self.running.len());
        let heard = Heard::none(placed.arrived);
        let mut running = Running { number: self.begun, source, key, track, last_row: 0, heard };
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
        self.ended += 1;
        running.end(due);
        at
    }

    /// All series of a source end: windows that steps held back are due.
    pub(super) fn end(&mut self, source: &str, due: &mut Takes<'_>) {
        self.running.iter_mut().filter(|r| *r.source == *source).for_each(|r| r.end(due));
    }

    /// Tells of every series of which nothing came for `steps` of its usual ones; of each once, until it is heard of
    /// again.
    pub(super) fn silent(&mut self, now: Instant, steps: f64, tell: &mut dyn FnMut(Silent<'_>)) {
        for running in &mut self.running {
            if running.heard.is_silent(now, steps) {
                running.tell(tell);
            }
        }
    }

    /// Tells of every series of a source that was lost, as if nothing had come for long.
    pub(super) fn lost(&mut self, source: &str, tell: &mut dyn FnMut(Silent<'_>)) {
        for running in &mut self.running {
            if *running.source == *source && running.heard.goes_on {
                running.tell(tell);
            }
        }
    }
}

impl Heard {
    fn none(now: Instant) -> Self {
        Self { first: now, last: now, n: 0, t: None, goes_on: false }
    }

    fn hear(&mut self, arrived: Instant, t: Option<f64>) {
        if !self.goes_on {
            *self = Self { goes_on: true, ..Self::none(arrived) };
        }
        (self.last, self.t) = (arrived, t);
        self.n = self.n.saturating_add(1);
    }

    fn is_silent(&self, now: Instant, steps: f64) -> bool {
        if !self.goes_on || self.n < FIRST_ROWS {
            return false;
        }
        let usual =
            self.last.saturating_duration_since(self.first).as_secs_f64() / f64::from(self.n - 1);
        let silent = now.saturating_duration_since(self.last);
        silent > SOONEST && silent.as_secs_f64() > steps * usual
    }
}

impl Running {
    fn tell(&mut self, tell: &mut dyn FnMut(Silent<'_>)) {
        self.heard.goes_on = false;
        tell(Silent { series: self.track.name(), t: self.heard.t, since: self.heard.last });
    }

    fn end(&mut self, due: &mut Takes<'_>) {
        self.heard.goes_on = false;
        let number = self.number;
        self.track.end(&mut |series, cut| due(number, series, cut));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_silent_once_until_it_is_heard_of_again() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut heard = Heard::none(start);
        assert!(!heard.is_silent(at(1_000_000), 10.0), "nothing was ever heard");
        for i in 0..9 {
            heard.hear(at(100 * i), None);
        }
        assert!(!heard.is_silent(at(60_000), 10.0), "its step is not known");
        heard.hear(at(900), Some(9.0));
        // Ten steps of 100 ms behind the last row.
        assert!(!heard.is_silent(at(1900), 10.0) && heard.is_silent(at(1901), 10.0));
        // However fast rows come, not before half a second.
        assert!(!heard.is_silent(at(1400), 2.0) && heard.is_silent(at(1401), 2.0));
        heard.goes_on = false;
        assert!(!heard.is_silent(at(60_000), 10.0), "it was told");
        heard.hear(at(70_000), Some(10.0));
        assert_eq!((heard.n, heard.first), (1, at(70_000)));
    }
}
