//! Where the time of a merge goes.

use std::ops::AddAssign;
use std::time::Instant;

use serde::Serialize;

/// Seconds that a merge took for the parts of its pass over the values, of all threads together:
/// opening and checking the files, and what some rules look at before, come on top.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spent {
    /// Reading updates and base.
    pub read_s: f64,
    /// The rule itself.
    pub reduce_s: f64,
    /// Sums for the report: how far each update moved, and in which direction.
    pub report_s: f64,
    /// Server step, rounding and writing.
    pub write_s: f64,
    /// The content hash of the output.
    pub hash_s: f64,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.read_s += other.read_s;
        self.reduce_s += other.reduce_s;
        self.report_s += other.report_s;
        self.write_s += other.write_s;
        self.hash_s += other.hash_s;
    }
}

/// The seconds since an instant, which becomes now.
pub(crate) fn lap(since: &mut Instant) -> f64 {
    let now = Instant::now();
    let seconds = now.duration_since(*since).as_secs_f64();
    *since = now;
    seconds
}
