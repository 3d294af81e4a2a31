//! Values beyond quantiles of the training rows are clipped.

use serde::{Deserialize, Serialize};

use crate::each_value::EachValue;
use crate::error::{check_finite, check_option};
use crate::spec::{Fitted, Spec};
use crate::stats::{Needs, Stats};
use crate::{Error, Stage, Step};

/// Values below the `low` quantile of the channel's training rows become that quantile, and those above
/// `high` that one, as `numpy.clip(x, *numpy.quantile(train, [low, high]))`: a few wild values do not
/// decide what a scaling after it makes of all others.
///
/// Quantiles are linear between neighbours, over the present values. Missing values stay missing.
///
/// ```
/// use preprocess::{ClipQuantile, Pipeline, Rows, Stage};
///
/// let training = Rows::of_series(1, None, (0..=100).map(f64::from).collect());
/// let configs = [ClipQuantile { low: 0.05, high: 0.95 }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1), vec![training])?;
/// let fresh = Rows::of_series(1, None, vec![-1e6, 50.0, 97.0]);
/// assert_eq!(pipeline.apply(fresh.view())?.values(), [5.0, 50.0, 95.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipQuantile {
    /// The share of training values that may be below, from 0.
    #[serde(default = "lowest")]
    pub low: f64,
    /// The share of training values that may not be above, up to 1.
    #[serde(default = "highest")]
    pub high: f64,
}

impl Default for ClipQuantile {
    fn default() -> Self {
        Self { low: lowest(), high: highest() }
    }
}

fn lowest() -> f64 {
    0.01
}

fn highest() -> f64 {
    0.99
}

/// A fitted [`ClipQuantile`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedClipQuantile {
    /// The quantile that `min` is.
    pub low: f64,
    /// The quantile that `max` is.
    pub high: f64,
    /// The smallest value that passes, for each channel.
    pub min: Vec<f64>,
    /// The largest value that passes, for each channel.
    pub max: Vec<f64>,
}

const NAME: &str = "clip-quantile";

impl Spec for ClipQuantile {
    type Fitted = FittedClipQuantile;

    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let Self { low, high } = *self;
        check_option(NAME, "low", low, (0.0..1.0).contains(&low), "a share from 0 to below 1")?;
        let is_above = high > low && high <= 1.0;
        check_option(NAME, "high", high, is_above, "a share above low, up to 1")?;
        Ok(input.clone())
    }

    fn needs(&self) -> Needs {
        Needs::Quantiles
    }

    fn fit(&self, input: &Stage, stats: &Stats) -> Result<FittedClipQuantile, Error> {
        let Self { low, high } = *self;
        let pairs = stats.per_channel(input, NAME, |s| (s.quantile(low), s.quantile(high)))?;
        let (min, max) = pairs.into_iter().unzip();
        Ok(FittedClipQuantile { low, high, min, max })
    }
}

impl Fitted for FittedClipQuantile {
    type Spec = ClipQuantile;

    fn spec(&self) -> ClipQuantile {
        ClipQuantile { low: self.low, high: self.high }
    }

    fn check(&self, input: &Stage) -> Result<(), Error> {
        check_finite(NAME, "min", &self.min, input)?;
        check_finite(NAME, "max", &self.max, input)?;
        match self.min.iter().zip(&self.max).position(|(min, max)| max < min) {
            None => Ok(()),
            Some(place) => Err(Error::ParameterValue {
                step: NAME,
                parameter: "max",
                channel: input.names[place].clone(),
                found: self.max[place],
                expected: "at least min",
            }),
        }
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let pairs: Vec<_> = self.min.iter().copied().zip(self.max.iter().copied()).collect();
        let clip = move |channel: usize, x: f64| {
            let (min, max) = pairs[channel];
            // Both are false for a missing value.
            if x < min {
                min
            } else if x > max {
                max
            } else {
                x
            }
        };
        EachValue::boxed(clip, input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_parameters_are_checked() {
        let plan = |low, high| Spec::plan(&ClipQuantile { low, high }, &Stage::unnamed(1));
        assert!(plan(0.0, 1.0).is_ok() && plan(0.5, 0.6).is_ok());
        for (low, high) in [(-0.1, 0.9), (0.5, 0.5), (0.1, 1.1), (f64::NAN, 0.9), (0.1, f64::NAN)] {
            assert!(plan(low, high).is_err(), "{low}, {high}");
        }
        let fitted = |min: f64, max: f64| {
            FittedClipQuantile { low: 0.1, high: 0.9, min: vec![min], max: vec![max] }
                .check(&Stage::unnamed(1))
        };
        assert!(fitted(1.0, 1.0).is_ok());
        assert!(fitted(1.0, 0.0).is_err() && fitted(f64::NAN, 1.0).is_err());
    }
}
