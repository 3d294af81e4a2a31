//! Rows above a rate are dropped.

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, check_rate};
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// Lets at most `rate_hz` rows of a second pass, and drops the others: for frames of a camera that are
/// worth no filter. Use `decimate` for signals, as what is dropped here may return as a false tone.
///
/// Rows are due at `t0 + n/rate_hz`, from the first row's time on; a row passes if its time has reached
/// the next due time, and the one after it is due at the first such time later than the row. So times that
/// jitter add up to no drift, and after a gap nothing is made up for. Rows pass with their own times and
/// at once. The rate that comes out is the smaller one of `rate_hz` and what comes in. Where rows have no
/// clock, a second is a row.
///
/// ```
/// use preprocess::{FrameRate, Pipeline, Rows, Stage};
///
/// let frames = Rows::of_series(1, Some(30.0), (0..30).map(f64::from).collect());
/// let configs = [FrameRate { rate_hz: 10.0 }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1).at(30.0), vec![frames.clone()])?;
/// assert_eq!(pipeline.apply(frames.view())?.values()[..4], [0.0, 3.0, 6.0, 9.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameRate {
    /// Most rows that pass, per second.
    pub rate_hz: f64,
}

impl Plain for FrameRate {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        check_rate("frame-rate", self.rate_hz)?;
        Ok(Stage { names: input.names.clone(), rate_hz: self.out_rate_hz(input) })
    }

    fn keeps_rows(&self) -> bool {
        false
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        Box::new(Dropping {
            clock: Clock::new(self.rate_hz),
            has_begun: false,
            channels: input.channels(),
            rate_hz: self.out_rate_hz(input),
        })
    }
}

impl FrameRate {
    fn out_rate_hz(self, input: &Stage) -> Option<f64> {
        input.rate_hz.map(|rate_hz| rate_hz.min(self.rate_hz))
    }
}

/// Dropping at work.
struct Dropping {
    clock: Clock,
    has_begun: bool,
    channels: usize,
    rate_hz: Option<f64>,
}

impl Step for Dropping {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        for (time, row) in rows.iter() {
            if !self.has_begun {
                self.has_begun = true;
                self.clock.start(time);
            }
            if self.clock.has_come(time) {
                out.push(time, row);
                self.clock.pass(time);
            }
        }
    }

    fn finish(&mut self, _out: &mut Rows) {
        self.reset();
    }

    fn reset(&mut self) {
        self.has_begun = false;
        self.clock.reset();
    }

    fn latency(&self) -> Latency {
        Latency::Rows(0)
    }

    fn out_channels(&self) -> usize {
        self.channels
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(rate_hz: f64, times: &[f64]) -> Vec<f64> {
        let mut out = Rows::new(1);
        let mut step = Plain::start(&FrameRate { rate_hz }, &Stage::unnamed(1));
        step.push(RowsRef::new(1, times, &vec![0.0; times.len()]), &mut out);
        out.times().to_vec()
    }

    #[test]
    fn due_times_do_not_drift_with_jitter() {
        let noise = testkit::sequence(1, 3000);
        let jitter = |(n, noise): (usize, &f32)| n as f64 / 30.0 + 0.01 * f64::from(*noise);
        let times: Vec<f64> = noise.iter().enumerate().map(jitter).collect();
        let out = passed(10.0, &times);
        assert!(out.len().abs_diff(1000) <= 1, "{}", out.len());
        for (n, time) in out.iter().enumerate() {
            let late = time - times[0] - n as f64 / 10.0;
            assert!((-1e-6..1.0 / 30.0 + 0.02).contains(&late), "row {n} is late by {late}");
        }
    }

    #[test]
    fn nothing_is_made_up_for_after_a_gap() {
        let out = passed(1.0, &[0.0, 0.5, 1.0, 7.3, 7.6, 8.0, 8.5]);
        testkit::assert_same_bits("passed", &out, &[0.0, 1.0, 7.3, 8.0]);
        testkit::assert_same_bits("slower", &passed(2.0, &[0.0, 1.0, 3.0]), &[0.0, 1.0, 3.0]);
        let plan = |rate_hz| Plain::plan(&FrameRate { rate_hz }, &Stage::unnamed(1).at(30.0));
        assert_eq!(plan(50.0).map(|stage| stage.rate_hz), Ok(Some(30.0)));
        assert!(plan(0.0).is_err() && plan(f64::NAN).is_err() && plan(f64::INFINITY).is_err());
    }
}
