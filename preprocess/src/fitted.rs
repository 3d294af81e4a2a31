//! Steps with their parameters: fitting one, and checking one that came from a file.

use serde::{Deserialize, Serialize};

use crate::config::check_bounds;
use crate::stats::{extent, mean_and_std, median_and_iqr, per_channel, scale_or_one};
use crate::{Error, ImputeMethod, StepConfig, WindowMethod};

/// One fitted step: a [`StepConfig`] with one parameter per channel, as plain data.
///
/// A channel that did not vary in training has no scale of its own: `std` and `iqr` are then 1, and
/// `max` equals `min`, so that its values are moved but not stretched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FittedStep {
    /// See [`StepConfig::Impute`].
    Impute {
        /// How gaps are filled.
        method: ImputeMethod,
        /// The number per channel, or the fallback where neighbours decide.
        fill: Vec<f32>,
    },
    /// See [`StepConfig::ZScore`].
    ZScore {
        /// Mean per channel.
        mean: Vec<f32>,
        /// Standard deviation per channel, above 0.
        std: Vec<f32>,
    },
    /// See [`StepConfig::MinMax`].
    MinMax {
        /// Where `min` goes.
        low: f32,
        /// Where `max` goes.
        high: f32,
        /// Smallest value per channel.
        min: Vec<f32>,
        /// Largest value per channel.
        max: Vec<f32>,
    },
    /// See [`StepConfig::RobustScale`].
    RobustScale {
        /// Median per channel.
        median: Vec<f32>,
        /// Interquartile range per channel, above 0.
        iqr: Vec<f32>,
    },
    /// See [`StepConfig::WindowNormalize`].
    WindowNormalize {
        /// How each window is treated.
        method: WindowMethod,
    },
}

impl FittedStep {
    /// Fits a step on the training rows as the steps before it leave them.
    pub(crate) fn fit(
        config: &StepConfig,
        channels: usize,
        series: &[Vec<f32>],
    ) -> Result<Self, Error> {
        let pairs = |f: &dyn Fn(&mut [f32]) -> (f32, f32)| {
            Ok(per_channel(series, channels, config.name(), f)?.into_iter().unzip())
        };
        let moments = |column: &[f32]| mean_and_std(column.iter().copied());
        Ok(match *config {
            StepConfig::Impute { method: method @ ImputeMethod::Zero } => {
                Self::Impute { method, fill: vec![0.0; channels] }
            }
            StepConfig::Impute { method } => {
                let fill = |column: &mut [f32]| match method {
                    ImputeMethod::Median => median_and_iqr(column).0 as f32,
                    _ => moments(column).0 as f32,
                };
                Self::Impute { method, fill: per_channel(series, channels, config.name(), fill)? }
            }
            StepConfig::ZScore => {
                let (mean, std) = pairs(&|column| {
                    let (mean, std) = moments(column);
                    (mean as f32, scale_or_one(std))
                })?;
                Self::ZScore { mean, std }
            }
            StepConfig::MinMax { low, high } => {
                let (min, max) = pairs(&|column| extent(column.iter().copied()))?;
                Self::MinMax { low, high, min, max }
            }
            StepConfig::RobustScale => {
                let (median, iqr) = pairs(&|column| {
                    let (median, iqr) = median_and_iqr(column);
                    (median as f32, scale_or_one(iqr))
                })?;
                Self::RobustScale { median, iqr }
            }
            StepConfig::WindowNormalize { method } => Self::WindowNormalize { method },
        })
    }

    /// The step without its parameters.
    pub fn config(&self) -> StepConfig {
        match *self {
            Self::Impute { method, .. } => StepConfig::Impute { method },
            Self::ZScore { .. } => StepConfig::ZScore,
            Self::MinMax { low, high, .. } => StepConfig::MinMax { low, high },
            Self::RobustScale { .. } => StepConfig::RobustScale,
            Self::WindowNormalize { method } => StepConfig::WindowNormalize { method },
        }
    }

    /// Fails unless every parameter has one usable value per channel.
    pub(crate) fn validate(&self, position: usize, channels: usize) -> Result<(), Error> {
        let step = self.config().name();
        let check = |parameter, values: &[f32], is_good: fn(f32) -> bool, expected| {
            if values.len() != channels {
                let found = values.len();
                let expected = channels;
                return Err(Error::ParameterLength { position, step, parameter, expected, found });
            }
            match values.iter().position(|&v| !is_good(v)) {
                Some(channel) => {
                    let found = values[channel];
                    let error = Error::ParameterValue {
                        position,
                        step,
                        parameter,
                        channel,
                        found,
                        expected,
                    };
                    Err(error)
                }
                None => Ok(()),
            }
        };
        let finite =
            |parameter, values| check(parameter, values, f32::is_finite, "a finite number");
        let positive = |parameter, values| {
            let is_good = |v: f32| v.is_finite() && v > 0.0;
            check(parameter, values, is_good, "a finite number above 0")
        };
        match self {
            Self::Impute { fill, .. } => finite("fill", fill),
            Self::ZScore { mean, std } => finite("mean", mean).and_then(|()| positive("std", std)),
            Self::RobustScale { median, iqr } => {
                finite("median", median).and_then(|()| positive("iqr", iqr))
            }
            Self::MinMax { low, high, min, max } => {
                check_bounds(*low, *high)?;
                finite("min", min)?;
                finite("max", max)?;
                match min.iter().zip(max).position(|(min, max)| min > max) {
                    Some(channel) => Err(Error::ParameterValue {
                        position,
                        step,
                        parameter: "max",
                        channel,
                        found: max[channel],
                        expected: "at least min",
                    }),
                    None => Ok(()),
                }
            }
            Self::WindowNormalize { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(config: StepConfig, column: &[f32]) -> FittedStep {
        FittedStep::fit(&config, 1, &[column.to_vec()]).unwrap()
    }

    #[test]
    fn every_kind_is_fitted_on_present_values() {
        let column = [1.0, f32::NAN, 2.0, 3.0, 10.0];
        let impute = |method| fit(StepConfig::Impute { method }, &column);
        for (method, value) in [
            (ImputeMethod::Mean, 4.0),
            (ImputeMethod::Median, 2.5),
            (ImputeMethod::Zero, 0.0),
            (ImputeMethod::Linear, 4.0),
            (ImputeMethod::Previous, 4.0),
        ] {
            assert_eq!(impute(method), FittedStep::Impute { method, fill: vec![value] });
        }
        assert_eq!(
            fit(StepConfig::ZScore, &column),
            FittedStep::ZScore { mean: vec![4.0], std: vec![12.5_f32.sqrt()] }
        );
        assert_eq!(
            fit(StepConfig::RobustScale, &column),
            FittedStep::RobustScale { median: vec![2.5], iqr: vec![3.0] }
        );
        assert_eq!(
            fit(StepConfig::MinMax { low: 0.0, high: 1.0 }, &column),
            FittedStep::MinMax { low: 0.0, high: 1.0, min: vec![1.0], max: vec![10.0] }
        );
    }

    #[test]
    fn a_constant_channel_has_scale_one() {
        let column = [0.1; 1000];
        assert_eq!(
            fit(StepConfig::ZScore, &column),
            FittedStep::ZScore { mean: vec![0.1], std: vec![1.0] }
        );
        assert_eq!(
            fit(StepConfig::RobustScale, &column),
            FittedStep::RobustScale { median: vec![0.1], iqr: vec![1.0] }
        );
    }

    #[test]
    fn bad_parameters_are_named() {
        let message = |step: FittedStep| step.validate(3, 2).unwrap_err().to_string();
        assert_eq!(
            message(FittedStep::ZScore { mean: vec![0.0; 2], std: vec![1.0] }),
            "step 3 (z-score): std has 1 values, expected 2"
        );
        assert_eq!(
            message(FittedStep::ZScore { mean: vec![0.0; 2], std: vec![1.0, 0.0] }),
            "step 3 (z-score): std is 0 at channel 1, expected a finite number above 0"
        );
        assert_eq!(
            message(FittedStep::Impute { method: ImputeMethod::Mean, fill: vec![f32::NAN, 0.0] }),
            "step 3 (impute): fill is NaN at channel 0, expected a finite number"
        );
        assert_eq!(
            message(FittedStep::MinMax {
                low: 0.0,
                high: 1.0,
                min: vec![0.0, 2.0],
                max: vec![0.0, 1.0]
            }),
            "step 3 (min-max): max is 1 at channel 1, expected at least min"
        );
    }
}
