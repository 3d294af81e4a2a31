//! What changed since the row before.

use serde::{Deserialize, Serialize};

use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// `x[t] − x[t−1]` of each channel, or its absolute value: motion in pictures of a camera that stands
/// still. The first row of a series becomes 0; where either value is missing, so is the difference.
///
/// ```
/// use preprocess::{FrameDifference, Pipeline, Rows, Stage};
///
/// let configs = [FrameDifference { absolute: true }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1), vec![])?;
/// let rows = Rows::of_series(1, None, vec![5.0, 7.0, 4.0]);
/// assert_eq!(pipeline.apply(rows.view())?.values(), [0.0, 2.0, 3.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameDifference {
    /// Whether the sign is dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absolute: bool,
}

impl Plain for FrameDifference {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        Box::new(Difference {
            absolute: self.absolute,
            before: Vec::with_capacity(input.channels()),
            channels: input.channels(),
            rate_hz: input.rate_hz,
        })
    }
}

struct Difference {
    absolute: bool,
    /// The row before; empty at the start of a series.
    before: Vec<f64>,
    channels: usize,
    rate_hz: Option<f64>,
}

impl Step for Difference {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        if rows.is_empty() {
            return;
        }
        if self.before.is_empty() {
            self.before.extend_from_slice(rows.row(0));
        }
        let made = out.extend_zeroed(rows.times());
        let values = rows.values();
        let (first, rest) = made.split_at_mut(self.channels);
        let pairs = first.iter_mut().zip(&self.before).chain(rest.iter_mut().zip(values));
        for ((to, before), v) in pairs.zip(values) {
            let difference = v - before;
            *to = if self.absolute { difference.abs() } else { difference };
        }
        self.before.copy_from_slice(rows.row(rows.len() - 1));
    }

    fn finish(&mut self, _out: &mut Rows) {
        self.reset();
    }

    fn reset(&mut self) {
        self.before.clear();
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
    fn a_gap_takes_two_differences() {
        let values = [1.0, 5.0, f64::NAN, 4.0, 3.0, 3.5];
        let rows = Rows::of_series(2, None, values.to_vec());
        let mut out = Rows::new(2);
        FrameDifference { absolute: false }.start(&Stage::unnamed(2)).push(rows.view(), &mut out);
        let out = out.values();
        testkit::assert_same_bits("first", &out[..2], &[0.0, 0.0]);
        testkit::assert_same_bits("present", &[out[3], out[5]], &[-1.0, -0.5]);
        assert!(out[2].is_nan() && out[4].is_nan());
    }
}
