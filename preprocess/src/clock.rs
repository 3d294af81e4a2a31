//! Times on a uniform grid, for all that counts in them.

use crate::Error;
use crate::error::check_option;

/// Rows that a series may always grow by, and for each row that comes in: a time stamp that is wrong by
/// years must not fill the memory.
const FREE_ROWS: u64 = 1_000_000;
const ROWS_FOR_EACH: u64 = 1_000;

/// The times `origin + n/rate_hz`, one after the other, without drift.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    rate_hz: f64,
    origin: f64,
    /// Number of the next time since the origin.
    next: u64,
    /// Times that have passed since the start of the series, and rows that came in.
    made: u64,
    came: u64,
}

impl Clock {
    pub(crate) fn new(rate_hz: f64) -> Self {
        Self { rate_hz, origin: 0.0, next: 0, made: 0, came: 0 }
    }

    /// Begins at this time, which is the next.
    pub(crate) fn start(&mut self, origin: f64) {
        (self.origin, self.next) = (origin, 0);
    }

    /// Another series begins.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.rate_hz);
    }

    /// The next time.
    pub(crate) fn time(&self) -> f64 {
        self.origin + self.next as f64 / self.rate_hz
    }

    /// Goes on to the time after.
    pub(crate) fn advance(&mut self) {
        self.next += 1;
        self.made += 1;
    }

    /// Goes on to the first time that is later than `time`.
    pub(crate) fn pass(&mut self, time: f64) {
        let passed = ((time - self.origin) * self.rate_hz).floor();
        self.next = self.next.max(passed as u64);
        // Rounding may have taken one off; a loop would not end where a step is less than a digit.
        for _ in 0..2 {
            self.next = self.next.saturating_add(u64::from(self.has_come(time)));
        }
    }

    /// Whether the next time is not after `time`, but for what rounding may have put between them.
    pub(crate) fn has_come(&self, time: f64) -> bool {
        self.time() <= time + self.slack(time)
    }

    /// Whether the digits of the next time tell it from the one after.
    pub(crate) fn is_fine(&self) -> bool {
        let time = self.time();
        time.is_finite() && time + 0.25 / self.rate_hz > time
    }

    /// Whether the next time is before `time`, by more than rounding may have put between them.
    pub(crate) fn is_before(&self, time: f64) -> bool {
        self.time() < time - self.slack(time)
    }

    /// How far apart two times may lie that are meant to be the same: a millionth of a step, and where
    /// the digits of a time end before that, four units of the last one.
    pub(crate) fn slack(&self, time: f64) -> f64 {
        let digits = 4.0 * f64::EPSILON * time.abs();
        (1e-6 / self.rate_hz).max(digits).min(0.25 / self.rate_hz)
    }

    /// A row has come in.
    pub(crate) fn count_row(&mut self) {
        self.came += 1;
    }

    /// Whether more times lie before `time` than a jump may make.
    pub(crate) fn is_too_far(&self, time: f64) -> bool {
        let most = FREE_ROWS.saturating_add(ROWS_FOR_EACH.saturating_mul(self.came));
        let most = most.saturating_sub(self.made);
        let steps = (time - self.time()) * self.rate_hz;
        steps.is_nan() || steps > most as f64
    }
}

/// Passes if a rate can be counted with.
pub(crate) fn check_rate(owner: &'static str, rate_hz: f64) -> Result<(), Error> {
    let is_good = (1e-9..=1e9).contains(&rate_hz);
    check_option(owner, "rate_hz", rate_hz, is_good, "a number of Hz from 1e-9 to 1e9")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_do_not_drift_and_rounding_counts_for_nothing() {
        let mut clock = Clock::new(10.0);
        clock.start(0.1);
        let mut time = 0.1;
        for n in 0..10_000 {
            assert!(clock.has_come(time), "step {n}");
            clock.advance();
            assert!(!clock.has_come(time), "step {n}");
            time += 0.1;
        }
        testkit::assert_close("time", &[clock.time()], &[1000.1], 1e-15, 0.0);
        let mut clock = Clock::new(1e6);
        clock.start(1.7e9);
        clock.pass(1.7e9 + 0.5);
        testkit::assert_close("passed", &[clock.time() - 1.7e9], &[0.500_001], 1e-5, 0.0);
    }

    #[test]
    fn jumps_are_bounded() {
        let mut clock = Clock::new(1000.0);
        clock.start(0.0);
        assert!(!clock.is_too_far(999.0));
        assert!(clock.is_too_far(1001.0));
        clock.count_row();
        assert!(!clock.is_too_far(1001.0));
        assert!(clock.is_too_far(f64::NAN) && clock.is_too_far(f64::INFINITY));
        clock.pass(1e300);
        assert!(clock.time().is_finite());
        clock.start(1e300);
        clock.pass(1e300);
    }
}
