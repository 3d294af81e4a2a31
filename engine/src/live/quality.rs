//! What is wrong with the rows of a window, found before a model sees them.

use std::sync::Arc;

use crate::data::is_same_rate;

/// What is wrong with a window's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quality(u8);

/// Names of the flags, in the order of their bits.
const NAMES: [&str; 6] = ["missing", "stuck", "gap", "backwards", "rate", "range"];

impl Quality {
    /// Nothing is wrong.
    pub const GOOD: Self = Self(0);
    /// A value is missing.
    pub const MISSING: Self = Self(1);
    /// A channel has the same value in all rows.
    pub const STUCK: Self = Self(2);
    /// Time jumps ahead.
    pub const GAP: Self = Self(4);
    /// Time runs backwards.
    pub const BACKWARDS: Self = Self(8);
    /// Rows come more than a fifth too fast or too slowly.
    pub const RATE: Self = Self(16);

    /// A value is far outside of those that the model was calibrated on.
    pub const RANGE: Self = Self(32);

    /// This, and something else if that is so.
    #[must_use]
    pub fn with(self, other: Self, is_so: bool) -> Self {
        if is_so { Self(self.0 | other.0) } else { self }
    }

    /// The names of what is wrong.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, n)| n)
    }
}

/// Rows come more than this part too fast or too slowly.
const RATE_OFF: f64 = 0.2;

/// Steps of a series by which its usual step is known, where no rate is.
const FIRST_STEPS: usize = 9;

/// What is known of the last rows of one series.
#[derive(Debug)]
pub(super) struct Inspector {
    /// Rows of a window, as they come in.
    span: usize,
    /// Rows of each channel since its value last changed, at least 1.
    same: Vec<u64>,
    last: Vec<f64>,
    /// Rows since the last missing value, gap, step backwards and value out of range; the last row is 0.
    since: [u64; 4],
    /// The least and the largest value of each channel; none where they are not known.
    ranges: Arc<[(f64, f64)]>,
    /// The times of the last rows, a ring of `span` of them.
    times: Vec<f64>,
    n_rows: u64,
    /// The usual step of the times, once it is known.
    step: Option<f64>,
    first_steps: Vec<f64>,
    /// Steps of the usual length that are no gap.
    most_steps: f64,
}

/// Never.
const LONG_AGO: u64 = u64::MAX / 2;

/// How the time of a row follows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// As it should.
    Well,
    /// Behind a gap.
    Gap,
    /// It is earlier.
    Backwards,
}

impl Inspector {
    /// For windows of so many rows; a step of the times that is more than `most_steps` usual ones long is a gap.
    pub(super) fn new(channels: usize, span: usize, most_steps: f64) -> Self {
        Self {
            span: span.max(1),
            same: vec![0; channels],
            last: vec![f64::NAN; channels],
            since: [LONG_AGO; 4],
            ranges: [].into(),
            times: Vec::with_capacity(span.max(1)),
            n_rows: 0,
            step: None,
            first_steps: Vec::with_capacity(FIRST_STEPS),
            most_steps,
        }
    }

    /// Says what the usual step is; else it is learned.
    pub(super) fn know_step(&mut self, step: f64) {
        self.step = Some(step);
    }

    /// Says between which values each channel usually is.
    pub(super) fn know_ranges(&mut self, ranges: &Arc<[(f64, f64)]>) {
        self.ranges = Arc::clone(ranges);
    }

    /// How a time follows that of the row before.
    pub(super) fn follows(&self, time: f64) -> Follows {
        let Some(before) = self.last_time() else { return Follows::Well };
        let step = time - before;
        match self.step {
            _ if step < 0.0 => Follows::Backwards,
            Some(usual) if step > self.most_steps * usual => Follows::Gap,
            _ => Follows::Well,
        }
    }

    fn last_time(&self) -> Option<f64> {
        let at = self.n_rows.checked_sub(1)? as usize % self.span;
        self.times.get(at).copied().filter(|time| time.is_finite())
    }

    /// The time of the first row of a window that ends with the last row.
    pub(super) fn first_time(&self) -> Option<f64> {
        let at = if self.times.len() < self.span { 0 } else { self.n_rows as usize % self.span };
        self.times.get(at).copied().filter(|time| time.is_finite())
    }

    /// Takes a row.
    pub(super) fn row(&mut self, time: Option<f64>, values: &[f64], follows: Follows) {
        for since in &mut self.since {
            *since = since.saturating_add(1);
        }
        if let (Some(time), Some(before), Follows::Well) = (time, self.last_time(), follows) {
            self.learn(time - before);
        }
        match follows {
            Follows::Well => {}
            Follows::Gap => self.since[1] = 0,
            Follows::Backwards => self.since[2] = 0,
        }
        for ((same, last), &value) in self.same.iter_mut().zip(&mut self.last).zip(values) {
            if value.is_finite() {
                *same = if value.to_bits() == last.to_bits() { *same + 1 } else { 1 };
                *last = value;
            } else {
                self.since[0] = 0;
                *same = 0;
            }
        }
        let outside = |(&value, &(least, most)): (&f64, &(f64, f64))| value < least || value > most;
        if values.iter().zip(&*self.ranges).any(outside) {
            self.since[3] = 0;
        }
        let time = time.unwrap_or(f64::NAN);
        if self.times.len() < self.span {
            self.times.push(time);
        } else {
            self.times[self.n_rows as usize % self.span] = time;
        }
        self.n_rows += 1;
    }

    /// Learns the usual step: the middle one of the first.
    fn learn(&mut self, step: f64) {
        if self.step.is_some() || step <= 0.0 {
            return;
        }
        self.first_steps.push(step);
        if self.first_steps.len() == FIRST_STEPS {
            self.first_steps.sort_unstable_by(f64::total_cmp);
            self.step = Some(self.first_steps[FIRST_STEPS / 2]);
        }
    }

    /// What is wrong with the rows of a window that ends with the last row.
    pub(super) fn quality(&self) -> Quality {
        let span = self.span as u64;
        let [missing, gap, backwards, range] = self.since.map(|since| since < span);
        let stuck = span > 1 && self.same.iter().any(|&same| same >= span);
        let rate = !gap && !backwards && self.rate_is_off();
        Quality::GOOD
            .with(Quality::MISSING, missing)
            .with(Quality::STUCK, stuck)
            .with(Quality::GAP, gap)
            .with(Quality::BACKWARDS, backwards)
            .with(Quality::RATE, rate)
            .with(Quality::RANGE, range)
    }

    fn rate_is_off(&self) -> bool {
        let (Some(usual), Some(last)) = (self.step, self.last_time()) else { return false };
        if self.span < 2 || self.times.len() < self.span {
            return false;
        }
        let first = self.times[self.n_rows as usize % self.span];
        let step = (last - first) / (self.span - 1) as f64;
        // A step of nothing is a clock that stands still.
        step.is_finite() && !is_same_rate(step, usual) && (step / usual - 1.0).abs() > RATE_OFF
    }

    /// Begins another series, or this one again; the usual step is still known.
    pub(super) fn reset(&mut self) {
        self.same.fill(0);
        self.last.fill(f64::NAN);
        self.since = [LONG_AGO; 4];
        self.times.clear();
        self.n_rows = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of what is wrong after rows of a time and two values.
    fn names(inspector: &mut Inspector, rows: &[(f64, f64, f64)]) -> Vec<&'static str> {
        for &(time, x, y) in rows {
            let follows = inspector.follows(time);
            inspector.row(Some(time), &[x, y], follows);
        }
        inspector.quality().names().collect()
    }

    fn good(first: usize, n: usize) -> Vec<(f64, f64, f64)> {
        (first..first + n).map(|i| (i as f64, i as f64, -(i as f64))).collect()
    }

    #[test]
    fn each_fault_is_named_as_long_as_it_is_in_the_window() {
        let none: [&str; 0] = [];
        let mut inspector = Inspector::new(2, 4, 5.0);
        assert_eq!(names(&mut inspector, &good(0, 20)), none);
        assert_eq!(names(&mut inspector, &[(20.0, f64::NAN, 1.0)]), ["missing"]);
        assert_eq!(names(&mut inspector, &good(21, 3)), ["missing"]);
        assert_eq!(names(&mut inspector, &good(24, 1)), none);
        let stuck: Vec<_> = (25..29).map(|i| (f64::from(i), 7.0, f64::from(i))).collect();
        assert_eq!(names(&mut inspector, &stuck[..3]), none);
        assert_eq!(names(&mut inspector, &stuck[3..]), ["stuck"]);
        assert_eq!(names(&mut inspector, &good(40, 1)), ["gap"]);
        assert_eq!(names(&mut inspector, &good(41, 3)), ["gap"]);
        assert_eq!(names(&mut inspector, &good(44, 1)), none);
        assert_eq!(names(&mut inspector, &good(2, 1)), ["backwards"]);
        let slow: Vec<_> = (1..9).map(|i| (2.0 + 1.3 * f64::from(i), f64::from(i), 0.5)).collect();
        assert!(names(&mut inspector, &slow).contains(&"rate"));
    }

    #[test]
    fn a_known_step_is_not_learned() {
        let mut inspector = Inspector::new(1, 3, 5.0);
        inspector.know_step(0.5);
        for i in 0..10 {
            inspector.row(Some(f64::from(i)), &[f64::from(i)], Follows::Well);
        }
        assert_eq!(inspector.quality(), Quality::RATE);
        inspector.reset();
        assert_eq!((inspector.quality(), inspector.follows(-9.0)), (Quality::GOOD, Follows::Well));
    }

    #[test]
    fn without_times_only_values_are_looked_at() {
        let mut inspector = Inspector::new(1, 2, 5.0);
        for _ in 0..5 {
            inspector.row(None, &[1.0], Follows::Well);
        }
        assert_eq!(inspector.quality(), Quality::STUCK);
    }
}
