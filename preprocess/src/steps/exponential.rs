//! Exponential smoothing.

use serde::{Deserialize, Serialize};

use crate::dispatch::vectorized;
use crate::error::check_option;
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// Exponential smoothing: `y[t] = y[t−1] + alpha·(x[t] − y[t−1])` from `y[0] = x[0]`, as
/// `pandas.Series.ewm(alpha=alpha, adjust=False, ignore_na=True).mean()`.
///
/// Give one of the two options. A missing value stays missing and is passed over.
///
/// ```
/// use preprocess::{Exponential, Pipeline, Rows, Stage};
///
/// let smooth = Exponential::by_alpha(0.5);
/// let pipeline = Pipeline::fit(&[smooth.into()], &Stage::unnamed(1), vec![])?;
/// let series = Rows::of_series(1, None, vec![4.0, 8.0, 0.0]);
/// assert_eq!(pipeline.apply(series.view())?.values(), [4.0, 6.0, 3.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// The weight of the new value: above 0, at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Seconds after which a step has come through but for `1/e`: `alpha = 1 − exp(−1/(rate·seconds))`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_constant_s: Option<f64>,
}

const NAME: &str = "exponential";

impl Exponential {
    /// With this weight of the new value.
    pub fn by_alpha(alpha: f64) -> Self {
        Self { alpha: Some(alpha), time_constant_s: None }
    }

    /// With this many seconds for a step to come through but for `1/e`.
    pub fn by_time_constant(seconds: f64) -> Self {
        Self { alpha: None, time_constant_s: Some(seconds) }
    }

    fn weight(&self, input: &Stage) -> Result<f64, Error> {
        match (self.alpha, self.time_constant_s) {
            (Some(alpha), None) => {
                let is_good = alpha > 0.0 && alpha <= 1.0;
                check_option(NAME, "alpha", alpha, is_good, "more than 0 and at most 1")?;
                Ok(alpha)
            }
            (None, Some(seconds)) => {
                let is_good = seconds.is_finite() && seconds > 0.0;
                let option = "time_constant_s";
                check_option(NAME, option, seconds, is_good, "a finite number of seconds above 0")?;
                let rate_hz = input.rate_hz.ok_or(Error::NoRate { step: NAME, option })?;
                let alpha = -(-1.0 / (rate_hz * seconds)).exp_m1();
                let accepted = "a number of seconds that makes a weight above 0";
                check_option(NAME, option, seconds, alpha > 0.0, accepted)?;
                Ok(alpha)
            }
            (alpha, _) => {
                let given = if alpha.is_some() { 2.0 } else { 0.0 };
                let accepted = "one of alpha and time_constant_s";
                Err(check_option(NAME, "the number of options", given, false, accepted)
                    .expect_err("it is not good"))
            }
        }
    }
}

impl Plain for Exponential {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        self.weight(input)?;
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let alpha = self.weight(input).expect("plan has checked the options");
        let level = vec![f64::NAN; input.channels()];
        Box::new(Smoothing { alpha, level, rate_hz: input.rate_hz })
    }
}

struct Smoothing {
    alpha: f64,
    /// The last `y` of each channel, NaN before there is one.
    level: Vec<f64>,
    rate_hz: Option<f64>,
}

impl Step for Smoothing {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        let (alpha, level) = (self.alpha, &mut self.level[..]);
        let channels = level.len();
        let to = out.extend_zeroed(rows.times());
        vectorized(
            #[inline(always)]
            || {
                let rows = to.chunks_exact_mut(channels).zip(rows.values().chunks_exact(channels));
                for (to, row) in rows {
                    for ((to, &x), level) in to.iter_mut().zip(row).zip(&mut *level) {
                        let next = *level + alpha * (x - *level);
                        let next = if level.is_nan() { x } else { next };
                        *to = next;
                        *level = if x.is_nan() { *level } else { next };
                    }
                }
            },
        );
    }

    fn finish(&mut self, _out: &mut Rows) {
        self.reset();
    }

    fn reset(&mut self) {
        self.level.fill(f64::NAN);
    }

    fn latency(&self) -> Latency {
        Latency::Rows(0)
    }

    fn out_channels(&self) -> usize {
        self.level.len()
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
        let stage = Stage::unnamed(1).at(50.0);
        for (alpha, time_constant_s) in [
            (None, None),
            (Some(0.5), Some(1.0)),
            (Some(0.0), None),
            (Some(1.1), None),
            (Some(f64::NAN), None),
            (None, Some(0.0)),
            (None, Some(f64::INFINITY)),
        ] {
            let found = Exponential { alpha, time_constant_s }.weight(&stage);
            assert!(matches!(found, Err(Error::Option { .. })), "{found:?}");
        }
        let by_time = Exponential::by_time_constant(0.1);
        assert!(matches!(by_time.weight(&Stage::unnamed(1)), Err(Error::NoRate { .. })));
        let alpha = by_time.weight(&stage).unwrap();
        assert!((alpha - (1.0 - (-0.2_f64).exp())).abs() < 1e-15);
    }
}
