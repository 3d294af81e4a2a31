//! Rows at another rate, by a ratio of whole numbers.

use serde::{Deserialize, Serialize};

use crate::dispatch::vectorized;
use crate::error::check_option;
use crate::polyphase::{Place, Polyphase, rational};
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// Makes `up` rows of every `down` rows, or goes to `rate_hz`, by the polyphase filter of
/// `scipy.signal.resample_poly(x, up, down, padtype="edge")`: a sinc under a Kaiser window (`beta` 5) with
/// its edge at half the slower rate, 10 of whose rows count to each side.
///
/// - No phase is moved: a row stands for its own time. It comes out when the last row that counts for
///   it has come in, 10 rows of the slower rate later, so that this step runs on a stream.
/// - `ceil(n·up/down)` rows come out of `n`. Beyond both ends the series is taken to hold its first and last
///   value, so that its ends are not drawn to 0 as by scipy's default.
/// - A tone up to a quarter of the slower rate keeps its amplitude and phase to 2.5 in 1,000, one up to a
///   fortieth to 1 in 1,000: that is the ripple of the window.
/// - Rows are taken to be evenly spaced: put `grid` first where they are not. New rows lie at
///   `t0 + j·down/up` steps; the time of one between two rows is on the line between theirs.
/// - A value is missing where one of those that count for it is missing: put `impute` first.
/// - With `rate_hz` the rate that comes in must be known, and the ratio be one of whole numbers up to
///   1000.
///
/// ```
/// use preprocess::{Pipeline, Resample, Rows, Stage};
///
/// let rows = Rows::of_series(1, Some(44_100.0), (0..441).map(f64::from).collect());
/// let stage = Stage::unnamed(1).at(44_100.0);
/// let pipeline = Pipeline::fit(&[Resample::to(16_000.0).into()], &stage, vec![rows.clone()])?;
/// let out = pipeline.apply(rows.view())?;
/// assert_eq!((out.len(), pipeline.output().rate_hz), (160, Some(16_000.0)));
/// assert!((out.times()[80] - 0.005).abs() < 1e-12 && (out.values()[80] / 220.5 - 1.0).abs() < 1e-3);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resample {
    /// Rows that come out, from 1 to 1000, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<usize>,
    /// … for so many that go in, from 1 to 1000; 1 where only the other one is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<usize>,
    /// Instead of both, rows per second that come out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_hz: Option<f64>,
}

const NAME: &str = "resample";

/// Largest term of a ratio, which the filter's length grows with.
const MOST: usize = 1000;

impl Resample {
    /// By a ratio.
    pub fn by(up: usize, down: usize) -> Self {
        Self { up: Some(up), down: Some(down), rate_hz: None }
    }

    /// To a rate.
    pub fn to(rate_hz: f64) -> Self {
        Self { up: None, down: None, rate_hz: Some(rate_hz) }
    }

    fn ratio(self, input: &Stage) -> Result<(usize, usize), Error> {
        let check = |option, found: f64, is_good, expected: String| {
            check_option(NAME, option, found, is_good, expected)
        };
        let Some(rate_hz) = self.rate_hz else {
            let (up, down) = (self.up.unwrap_or(1), self.down.unwrap_or(1));
            for (option, term) in [("up", up), ("down", down)] {
                let is_good = (1..=MOST).contains(&term);
                check(option, term as f64, is_good, format!("a whole number from 1 to {MOST}"))?;
            }
            let is_given = self.up.or(self.down).is_some();
            check("the number of options", 0.0, is_given, "up and down, or rate_hz".to_owned())?;
            return Ok((up, down));
        };
        let is_alone = self.up.or(self.down).is_none();
        check("rate_hz", rate_hz, is_alone, "none beside up or down".to_owned())?;
        let is_good = rate_hz.is_finite() && rate_hz > 0.0;
        check("rate_hz", rate_hz, is_good, "a finite number of Hz above 0".to_owned())?;
        let from = input.rate_hz.ok_or(Error::NoRate { step: NAME, option: "rate_hz" })?;
        rational(rate_hz / from, MOST).ok_or_else(|| Error::Option {
            owner: NAME,
            option: "rate_hz",
            found: rate_hz,
            expected: format!(
                "{from} Hz, which come in, times up/down with whole numbers up to {MOST}; for other \
                 rates put grid first"
            ),
        })
    }
}

impl Plain for Resample {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let ratio = self.ratio(input)?;
        Ok(Stage { names: input.names.clone(), rate_hz: out_rate_hz(ratio, input) })
    }

    fn keeps_rows(&self) -> bool {
        false
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let ratio = self.ratio(input).expect("plan found the same");
        let filter = Polyphase::new(ratio.0, ratio.1);
        let most_before = filter.most_before();
        Box::new(Resampling {
            most_before,
            most_after: filter.most_after(),
            filter,
            held: Rows::new(input.channels()),
            came: 0,
            place: Place { base: most_before, phase: 0 },
            times: Vec::new(),
            step_s: input.rate_hz.map(|rate_hz| 1.0 / rate_hz),
            rate_hz: out_rate_hz(ratio, input),
        })
    }
}

fn out_rate_hz((up, down): (usize, usize), input: &Stage) -> Option<f64> {
    input.rate_hz.map(|rate_hz| rate_hz * up as f64 / down as f64)
}

/// Resampling at work.
struct Resampling {
    filter: Polyphase,
    most_before: usize,
    most_after: usize,
    /// Rows that count for what has not come out yet; the first row stands there as often as the filter
    /// reaches back.
    held: Rows,
    /// Rows that came, up to 2.
    came: usize,
    /// Of the next row, among those held.
    place: Place,
    times: Vec<f64>,
    step_s: Option<f64>,
    rate_hz: Option<f64>,
}

impl Resampling {
    /// Adds the rows whose places are before row `end` of those held and that need no later ones.
    fn emit(&mut self, end: usize, out: &mut Rows) {
        let Self { filter, held, place, times, .. } = self;
        let start = *place;
        let old = held.times();
        times.clear();
        while place.base < end && filter.needs(*place) <= held.len() {
            let at = old[place.base];
            let share = filter.share(*place);
            // The row behind is held, as the filter reaches further where a place is between two.
            let behind = if place.phase == 0 { at } else { old[place.base + 1] };
            times.push(at + (behind - at) * share);
            *place = filter.next(*place);
        }
        let made = out.extend_zeroed(times);
        vectorized(
            #[inline(always)]
            || {
                let mut place = start;
                for row in made.chunks_exact_mut(held.channels()) {
                    filter.row(place, held.values(), row);
                    place = filter.next(place);
                }
            },
        );
    }

    /// Lets go of rows that count no more, where they are the larger part.
    fn forget(&mut self) {
        let done = (self.place.base - self.most_before).min(self.held.len());
        if done >= self.held.len() / 2 {
            self.held.remove_first(done);
            self.place.base -= done;
        }
    }
}

impl Step for Resampling {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        if self.came == 0 && !rows.is_empty() {
            for _ in 0..self.most_before {
                self.held.extend(rows.slice(0..1));
            }
        }
        self.came = rows.len().saturating_add(self.came).min(2);
        self.held.extend(rows);
        self.emit(usize::MAX, out);
        self.forget();
    }

    fn finish(&mut self, out: &mut Rows) {
        let end = self.held.len();
        if let [.., last] = *self.held.times() {
            let before = if self.came < 2 { last - 1.0 } else { self.held.times()[end - 2] };
            let step_s = self.step_s.unwrap_or(last - before);
            let row = self.held.view().row(end - 1).to_vec();
            for n in 1..=self.most_after + 1 {
                self.held.push(last + n as f64 * step_s, &row);
            }
            self.emit(end, out);
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.held.clear();
        self.came = 0;
        self.place = Place { base: self.most_before, phase: 0 };
    }

    fn latency(&self) -> Latency {
        Latency::Rows(self.most_after)
    }

    fn out_channels(&self) -> usize {
        self.held.channels()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let plan = |spec: Resample, rate: Option<f64>| {
            let mut stage = Stage::unnamed(1);
            stage.rate_hz = rate;
            Plain::plan(&spec, &stage).map(|stage| stage.rate_hz)
        };
        assert_eq!(plan(Resample::by(3, 2), None), Ok(None));
        assert_eq!(plan(Resample::by(1000, 1), Some(1.0)), Ok(Some(1000.0)));
        assert_eq!(plan(Resample::to(75.0), Some(50.0)), Ok(Some(75.0)));
        assert_eq!(plan(Resample { up: Some(2), down: None, rate_hz: None }, None), Ok(None));
        let unknown = Err(Error::NoRate { step: NAME, option: "rate_hz" });
        assert_eq!(plan(Resample::to(75.0), None), unknown);
        for spec in [
            Resample::by(0, 2),
            Resample::by(2, 1001),
            Resample::to(0.0),
            Resample::to(f64::NAN),
            Resample::to(50.0 * std::f64::consts::PI),
            Resample { up: Some(2), down: None, rate_hz: Some(100.0) },
            Resample { up: None, down: None, rate_hz: None },
        ] {
            assert!(plan(spec, Some(50.0)).is_err(), "{spec:?}");
        }
    }

    #[test]
    fn lengths_and_times_are_those_of_the_ratio() {
        for (up, down) in [(1, 1), (2, 1), (1, 2), (3, 2), (2, 3), (4, 6), (7, 5), (1, 30)] {
            for n_rows in [0, 1, 2, 5, 40, 301] {
                let rows = Rows::of_series(1, Some(4.0), vec![1.0; n_rows]);
                let mut out = Rows::new(1);
                let mut step = Plain::start(&Resample::by(up, down), &Stage::unnamed(1).at(4.0));
                step.push(rows.view(), &mut out);
                step.finish(&mut out);
                let name = format!("{up}/{down} of {n_rows}");
                assert_eq!(out.len(), (n_rows * up).div_ceil(down), "{name}");
                let time = |j: usize| (j * down) as f64 / (up as f64 * 4.0);
                let expected: Vec<f64> = (0..out.len()).map(time).collect();
                testkit::assert_close(&name, out.times(), &expected, 1e-12, 0.0);
                testkit::assert_close(&name, out.values(), &vec![1.0; out.len()], 3e-3, 0.0);
            }
        }
    }
}
