//! What stands out from a slowly changing background.

use serde::{Deserialize, Serialize};

use crate::dispatch::vectorized;
use crate::error::check_option;
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// `x[t] − b[t−1]` of each channel with the running background `b[t] = b[t−1] + rate·(x[t] − b[t−1])`,
/// which begins with the first present value: the exponential average of `cv2.accumulateWeighted`. A
/// missing value stays missing and leaves the background as it was.
///
/// A value counts for half of what it did after `ln 2/rate` rows: 13.5 for the default.
///
/// ```
/// use preprocess::{Background, Pipeline, Rows, Stage};
///
/// let configs = [Background { rate: 0.5, absolute: false }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1), vec![])?;
/// let rows = Rows::of_series(1, None, vec![5.0, 5.0, 7.0, 7.0]);
/// assert_eq!(pipeline.apply(rows.view())?.values(), [0.0, 0.0, 2.0, 1.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// How much of each row goes into the background: above 0, at most 1. With 1 the background is the
    /// last present value.
    #[serde(default = "rate")]
    pub rate: f64,
    /// Whether the sign is dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absolute: bool,
}

impl Default for Background {
    fn default() -> Self {
        Self { rate: rate(), absolute: false }
    }
}

fn rate() -> f64 {
    0.05
}

impl Plain for Background {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let good = self.rate > 0.0 && self.rate <= 1.0;
        check_option("background", "rate", self.rate, good, "above 0, at most 1")?;
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        Box::new(Subtracting {
            rate: self.rate,
            absolute: self.absolute,
            background: vec![f64::NAN; input.channels()],
            rate_hz: input.rate_hz,
        })
    }
}

struct Subtracting {
    rate: f64,
    absolute: bool,
    /// NaN before the first present value.
    background: Vec<f64>,
    rate_hz: Option<f64>,
}

impl Step for Subtracting {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        let made = out.extend_zeroed(rows.times());
        let Self { rate, absolute, background, .. } = self;
        vectorized(
            #[inline(always)]
            || {
                let channels = background.len();
                for (to, (_, row)) in made.chunks_exact_mut(channels).zip(rows.iter()) {
                    for ((to, &v), background) in to.iter_mut().zip(row).zip(&mut *background) {
                        let before = if background.is_nan() { v } else { *background };
                        let above = v - before;
                        *to = if *absolute { above.abs() } else { above };
                        let next = before + *rate * above;
                        *background = if v.is_nan() { *background } else { next };
                    }
                }
            },
        );
    }

    fn finish(&mut self, _out: &mut Rows) {
        self.reset();
    }

    fn reset(&mut self) {
        self.background.fill(f64::NAN);
    }

    fn latency(&self) -> Latency {
        Latency::Rows(0)
    }

    fn out_channels(&self) -> usize {
        self.background.len()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_leave_the_background_as_it_was() {
        let values = [f64::NAN, 4.0, f64::NAN, 6.0, 6.0];
        let rows = Rows::of_series(1, None, values.to_vec());
        let mut out = Rows::new(1);
        let spec = Background { rate: 0.25, absolute: false };
        spec.start(&Stage::unnamed(1)).push(rows.view(), &mut out);
        let out = out.values();
        assert!(out[0].is_nan() && out[2].is_nan());
        testkit::assert_same_bits("present", &[out[1], out[3], out[4]], &[0.0, 2.0, 1.5]);
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for rate in [0.0, -0.1, 1.1, f64::NAN] {
            assert!(
                Background { rate, absolute: true }.plan(&Stage::unnamed(1)).is_err(),
                "{rate}"
            );
        }
    }
}
