//! Differences from row to row.

use serde::{Deserialize, Serialize};

use crate::dispatch::vectorized;
use crate::error::check_option;
use crate::scale::Undo;
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// `x[t] − x[t−1]`, taken `order` times, as `numpy.diff(x, n=order, axis=0)`: takes away a slow drift, or
/// the total of a counter.
///
/// One row comes out for each, with its time: the first `order` rows, for which numpy has none, are 0. A
/// value is missing where one of those it is made of is missing. What was taken away is gone:
/// [`Pipeline::invert`](crate::Pipeline::invert) refuses.
///
/// ```
/// use preprocess::{Difference, Pipeline, Rows, Stage};
///
/// let meter = Rows::of_series(1, None, vec![7.0, 8.0, 11.0, 11.0]);
/// let configs = [Difference { order: 1 }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1), vec![meter.clone()])?;
/// assert_eq!(pipeline.apply(meter.view())?.values(), [0.0, 1.0, 3.0, 0.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// How often, from 1 to 8.
    #[serde(default = "one")]
    pub order: usize,
}

impl Default for Difference {
    fn default() -> Self {
        Self { order: 1 }
    }
}

fn one() -> usize {
    1
}

impl Plain for Difference {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let is_good = (1..=8).contains(&self.order);
        let found = self.order as f64;
        check_option("difference", "order", found, is_good, "a whole number from 1 to 8")?;
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let before = vec![0.0; self.order * input.channels()];
        Box::new(Differences {
            channels: input.channels(),
            order: self.order,
            before,
            came: 0,
            rate_hz: input.rate_hz,
        })
    }

    fn undo(&self, _input: &Stage) -> Undo {
        Undo::Impossible
    }
}

/// Differences at work.
struct Differences {
    channels: usize,
    order: usize,
    /// The row before, its difference, the difference of that: `[order, channels]`.
    before: Vec<f64>,
    /// Rows that came, up to `order`.
    came: usize,
    rate_hz: Option<f64>,
}

impl Step for Differences {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        let made = out.extend_zeroed(rows.times());
        made.copy_from_slice(rows.values());
        let Self { channels, order, ref mut before, ref mut came, .. } = *self;
        vectorized(
            #[inline(always)]
            || {
                for row in made.chunks_exact_mut(channels) {
                    for before in before.chunks_exact_mut(channels) {
                        for (value, before) in row.iter_mut().zip(before) {
                            let now = *value;
                            *value = now - *before;
                            *before = now;
                        }
                    }
                    if *came < order {
                        *came += 1;
                        // A missing value stays so.
                        row.iter_mut().filter(|value| !value.is_nan()).for_each(|v| *v = 0.0);
                    }
                }
            },
        );
    }

    fn finish(&mut self, _out: &mut Rows) {
        self.reset();
    }

    fn reset(&mut self) {
        self.before.fill(0.0);
        self.came = 0;
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

    #[test]
    fn each_order_is_the_difference_of_the_one_below() {
        let mut out = Rows::new(1);
        let series = Rows::of_series(1, None, vec![1.0, 4.0, 9.0, f64::NAN, 25.0, 36.0, 49.0]);
        Plain::start(&Difference { order: 2 }, &Stage::unnamed(1)).push(series.view(), &mut out);
        let gap = f64::NAN;
        testkit::assert_same_bits("second", &out.values()[..3], &[0.0, 0.0, 2.0]);
        testkit::assert_same_bits("second", &out.values()[3..], &[gap, gap, gap, 2.0]);
        let plan = |order| Plain::plan(&Difference { order }, &Stage::unnamed(1));
        assert!(plan(0).is_err() && plan(9).is_err() && plan(8).is_ok());
    }

    #[test]
    fn the_first_rows_keep_their_gaps() {
        let mut out = Rows::new(1);
        let series = Rows::of_series(1, None, vec![f64::NAN, 4.0, 9.0]);
        Plain::start(&Difference { order: 1 }, &Stage::unnamed(1)).push(series.view(), &mut out);
        assert!(out.values()[0].is_nan() && out.values()[1].is_nan());
        testkit::assert_same_bits("after", &out.values()[2..], &[5.0]);
    }
}
