//! Rows of irregular times are put onto a uniform grid.

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, check_rate};
use crate::error::check_option;
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// What a value between two rows is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Between {
    /// On the line between the rows before and after, in time, as `numpy.interp`.
    #[default]
    Linear,
    /// The value of the row before: no later row counts.
    Hold,
}

/// Puts rows of irregular times, in seconds, onto the uniform times `t0 + n/rate_hz` from the first row's
/// to the last one's.
///
/// - Where two rows lie further apart than `max_gap_s`, what is between them is missing; `impute` after
///   this step may fill it. A row that lies on the grid is kept.
/// - Of rows with one time the last one counts from that time on; the line to it goes to the first, as
///   it does not wait for another. A row that goes back in time counts as one of the time before.
/// - A missing value makes those next to it in time missing too, of its channel; put `impute` first
///   where that is too much.
/// - A row comes out when a row after its time has come in, which is one row later where rows come at
///   the grid's times.
/// - Two times count as one if they differ by less than a millionth of a step or four units of the last
///   digit.
/// - There is no filter: use `resample` or `decimate` after a grid at the data's own rate where the rate is
///   to fall.
/// - A jump in time that would make more than 1,000,000 rows, and 1,000 more for each row so far, makes
///   none: the grid begins anew at the row behind it.
///
/// Where rows have no clock, a second is a row.
///
/// ```
/// use preprocess::{Between, Grid, Pipeline, Rows, Stage};
///
/// let rows = Rows::from_parts(1, vec![10.0, 10.4, 11.2], vec![0.0, 4.0, 12.0]);
/// let configs = [Grid { rate_hz: 2.0, max_gap_s: None, method: Between::Linear }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1), vec![rows.clone()])?;
/// let out = pipeline.apply(rows.view())?;
/// assert_eq!(out.times(), [10.0, 10.5, 11.0]);
/// assert!((out.values()[1] - 5.0).abs() < 1e-9);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Rows per second that come out.
    pub rate_hz: f64,
    /// The longest time between two rows that is filled, in seconds; any where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_gap_s: Option<f64>,
    /// What a value between two rows is.
    #[serde(default)]
    pub method: Between,
}

const NAME: &str = "grid";

impl Plain for Grid {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        check_rate(NAME, self.rate_hz)?;
        if let Some(gap) = self.max_gap_s {
            let is_good = gap.is_finite() && gap > 0.0;
            check_option(NAME, "max_gap_s", gap, is_good, "a number of seconds above 0")?;
        }
        Ok(Stage { names: input.names.clone(), rate_hz: Some(self.rate_hz) })
    }

    fn keeps_rows(&self) -> bool {
        false
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        Box::new(Gridding {
            spec: *self,
            clock: Clock::new(self.rate_hz),
            last: None,
            before: vec![0.0; input.channels()],
            row: vec![0.0; input.channels()],
        })
    }
}

/// A grid at work.
struct Gridding {
    spec: Grid,
    clock: Clock,
    /// Time of the last row, whose values `before` has.
    last: Option<f64>,
    before: Vec<f64>,
    row: Vec<f64>,
}

impl Gridding {
    /// Adds the row of the grid that lies on the last row, if one does; there are no two, as a time may
    /// be off by no more than a quarter of a step.
    fn emit_last(&mut self, time: f64, out: &mut Rows) {
        if self.clock.has_come(time) {
            out.push(self.clock.time(), &self.before);
            self.clock.advance();
        }
    }

    /// Adds the rows of the grid before the next row, which comes later than the last.
    fn emit_between(&mut self, last: f64, time: f64, next: &[f64], out: &mut Rows) {
        self.emit_last(last, out);
        if self.clock.is_too_far(time) {
            return self.clock.start(time);
        }
        let slack = self.clock.slack(time);
        let is_gap = self.spec.max_gap_s.is_some_and(|most| time - last > most + slack);
        while self.clock.is_before(time) {
            let at = self.clock.time();
            match self.spec.method {
                _ if is_gap => self.row.fill(f64::NAN),
                Between::Hold => self.row.copy_from_slice(&self.before),
                Between::Linear => {
                    let share = (at - last) / (time - last);
                    let pairs = self.before.iter().zip(next);
                    for (to, (a, b)) in self.row.iter_mut().zip(pairs) {
                        *to = a + (b - a) * share;
                    }
                }
            }
            out.push(at, &self.row);
            self.clock.advance();
        }
    }
}

impl Step for Gridding {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        for (time, row) in rows.iter() {
            self.clock.count_row();
            match self.last {
                None => {
                    self.clock.start(time);
                    self.last = Some(time);
                }
                Some(last) if time > last => {
                    self.emit_between(last, time, row, out);
                    self.last = Some(time);
                }
                Some(_) => {}
            }
            self.before.copy_from_slice(row);
        }
    }

    fn finish(&mut self, out: &mut Rows) {
        if let Some(last) = self.last {
            self.emit_last(last, out);
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.last = None;
        self.clock.reset();
    }

    fn latency(&self) -> Latency {
        Latency::Rows(1)
    }

    fn out_channels(&self) -> usize {
        self.before.len()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        Some(self.spec.rate_hz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: f64 = f64::NAN;

    fn run(spec: Grid, times: &[f64], values: &[f64]) -> Rows {
        let mut step = Plain::start(&spec, &Stage::unnamed(1));
        let mut out = Rows::new(1);
        step.push(RowsRef::new(1, times, values), &mut out);
        step.finish(&mut out);
        out
    }

    fn grid(rate_hz: f64, max_gap_s: Option<f64>, method: Between) -> Grid {
        Grid { rate_hz, max_gap_s, method }
    }

    #[test]
    fn holding_takes_no_later_row() {
        let spec = grid(1.0, None, Between::Hold);
        let out = run(spec, &[0.0, 0.9, 1.1, 3.0], &[1.0, 2.0, 3.0, 4.0]);
        testkit::assert_same_bits("held", out.values(), &[1.0, 2.0, 3.0, 4.0]);
        testkit::assert_same_bits("times", out.times(), &[0.0, 1.0, 2.0, 3.0]);
        // A tenth that is not one: 0.1 + 0.2 > 0.3.
        let out = run(grid(10.0, None, Between::Hold), &[0.0, 0.1 + 0.2], &[1.0, 2.0]);
        testkit::assert_same_bits("rounding", out.values(), &[1.0, 1.0, 1.0, 2.0]);
    }

    #[test]
    fn long_gaps_are_missing_and_rows_on_the_grid_stay() {
        for method in [Between::Linear, Between::Hold] {
            let out = run(grid(1.0, Some(1.5), method), &[0.0, 1.0, 4.0, 5.0], &[1.0; 4]);
            testkit::assert_same_bits("gap", out.values(), &[1.0, 1.0, GAP, GAP, 1.0, 1.0]);
        }
        let out = run(grid(2.0, None, Between::Linear), &[0.0, 1.0, 2.0], &[1.0, GAP, 3.0]);
        testkit::assert_same_bits("missing", out.values(), &[1.0, GAP, GAP, GAP, 3.0]);
    }

    #[test]
    fn the_last_row_of_a_time_counts() {
        let times = [0.0, 0.0, 1.0, 1.0, 0.5, 2.0];
        let out = run(grid(2.0, None, Between::Linear), &times, &[9.0, 0.0, 1.0, 9.0, 2.0, 4.0]);
        testkit::assert_same_bits("last", out.values(), &[0.0, 0.5, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn a_wrong_time_makes_no_endless_rows() {
        for wrong in [1e12, 1e300, f64::INFINITY, f64::NAN, -1e12] {
            for method in [Between::Linear, Between::Hold] {
                let spec = grid(1000.0, None, method);
                let out = run(spec, &[0.0, 0.001, wrong, wrong + 0.001], &[1.0; 4]);
                assert!((2..=4).contains(&out.len()), "{wrong}: {} rows", out.len());
                assert!(run(spec, &[wrong; 2], &[1.0; 2]).len() <= 1);
            }
        }
        let out = run(grid(1.0, None, Between::Hold), &[0.0, 999_999.0], &[1.0; 2]);
        assert_eq!(out.len(), 1_000_000);
    }

    #[test]
    fn a_row_comes_out_when_one_after_it_is_known() {
        let mut step = Plain::start(&grid(1.0, None, Between::Linear), &Stage::unnamed(1));
        let mut out = Rows::new(1);
        let mut after = |time: f64| {
            step.push(RowsRef::new(1, &[time], &[time]), &mut out);
            out.len()
        };
        let n_out = [0.0, 0.5, 1.0, 1.5, 3.5].map(&mut after);
        assert_eq!(n_out, [0, 1, 1, 2, 4]);
    }
}
