//! The steps as a user writes them, before they are fitted.

use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;

/// How missing values are filled, per channel.
///
/// `mean`, `median` and `zero` put one number everywhere. `linear` and `previous` look at the
/// neighbours within one series, and fall back to the training mean where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImputeMethod {
    /// The mean of the training rows.
    Mean,
    /// The median of the training rows.
    Median,
    /// Zero.
    Zero,
    /// On the line between the present values before and after. A gap at either end of the series
    /// holds the nearest present value; a channel missing throughout takes the training mean. It
    /// needs later rows, so that it cannot run on a stream.
    Linear,
    /// The last present value. A gap at the start of the series takes the training mean, as a
    /// stream could not know better.
    Previous,
}

/// How [`StepConfig::WindowNormalize`] treats each channel of one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowMethod {
    /// `(x − mean)/std` of the window, the standard deviation over `n`.
    #[default]
    ZScore,
    /// `x − mean` of the window.
    Center,
    /// `(x − min)/(max − min)` of the window, so 0 to 1.
    MinMax,
}

/// One step of a pipeline, before it is fitted: the form for configuration files.
///
/// Tagged by `step` in kebab-case; unknown keys are errors. All but the last kind work on rows, with
/// parameters fitted on the training rows; a window step has no parameters, and comes after them.
///
/// ```
/// use preprocess::{ImputeMethod, StepConfig};
///
/// let steps: Vec<StepConfig> = serde_json::from_str(
///     r#"[
///         { "step": "impute", "method": "previous" },
///         { "step": "min-max", "low": -1 },
///         { "step": "window-normalize", "method": "center" }
///     ]"#,
/// )?;
/// assert_eq!(steps[0], StepConfig::Impute { method: ImputeMethod::Previous });
/// assert_eq!(steps[1], StepConfig::MinMax { low: -1.0, high: 1.0 });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StepConfig {
    /// Fills missing values.
    Impute {
        /// With what.
        method: ImputeMethod,
    },
    /// `(x − mean)/std` of the training rows, the standard deviation over `n`.
    #[serde(deserialize_with = "no_options")]
    ZScore,
    /// `low + (high − low)·(x − min)/(max − min)` of the training rows; later values may leave the
    /// range.
    MinMax {
        /// Where the smallest training value goes.
        #[serde(default)]
        low: f32,
        /// Where the largest training value goes, above `low`.
        #[serde(default = "one")]
        high: f32,
    },
    /// `(x − median)/(q75 − q25)` of the training rows: like a z-score, and blind to outliers.
    #[serde(deserialize_with = "no_options")]
    RobustScale,
    /// Normalizes each channel of each window by the window's own values; a constant channel
    /// becomes 0.
    WindowNormalize {
        /// How.
        #[serde(default)]
        method: WindowMethod,
    },
}

impl StepConfig {
    /// The tag, as in a configuration file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Impute { .. } => "impute",
            Self::ZScore => "z-score",
            Self::MinMax { .. } => "min-max",
            Self::RobustScale => "robust-scale",
            Self::WindowNormalize { .. } => "window-normalize",
        }
    }

    /// Whether the step works on windows, not on rows.
    pub fn is_per_window(&self) -> bool {
        matches!(self, Self::WindowNormalize { .. })
    }

    /// Checks the options.
    ///
    /// # Errors
    /// If a bound of `min-max` is not finite, or `high` is not above `low`.
    pub fn validate(&self) -> Result<(), Error> {
        match *self {
            Self::MinMax { low, high } => check_bounds(low, high),
            _ => Ok(()),
        }
    }
}

/// Passes if both bounds are finite and `high` is above `low`.
pub(crate) fn check_bounds(low: f32, high: f32) -> Result<(), Error> {
    let (option, found, expected) = if !low.is_finite() {
        ("low", low, "a finite number")
    } else if !(high.is_finite() && high > low) {
        ("high", high, "a finite number above low")
    } else {
        return Ok(());
    };
    Err(Error::Option { owner: "min-max", option, found: found.into(), expected })
}

fn one() -> f32 {
    1.0
}

/// A variant without options: serde alone would let any key pass here.
fn no_options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoOptions {}
    NoOptions::deserialize(deserializer).map(|NoOptions {}| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<StepConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_tag_parses_and_round_trips() {
        for (json, expected) in [
            (r#"{"step":"z-score"}"#, StepConfig::ZScore),
            (r#"{"step":"robust-scale"}"#, StepConfig::RobustScale),
            (r#"{"step":"min-max"}"#, StepConfig::MinMax { low: 0.0, high: 1.0 }),
            (
                r#"{"step":"impute","method":"median"}"#,
                StepConfig::Impute { method: ImputeMethod::Median },
            ),
            (
                r#"{"step":"window-normalize"}"#,
                StepConfig::WindowNormalize { method: WindowMethod::ZScore },
            ),
        ] {
            assert_eq!(parse(json).unwrap(), expected);
            assert!(json.contains(expected.name()));
            let again = serde_json::to_string(&expected).unwrap();
            assert_eq!(parse(&again).unwrap(), expected);
        }
    }

    #[test]
    fn unknown_keys_are_refused_even_without_options() {
        for json in [
            r#"{"step":"z-score","method":"mean"}"#,
            r#"{"step":"impute","methode":"mean"}"#,
            r#"{"step":"impute"}"#,
            r#"{"step":"min-max","lo":0}"#,
            r#"{"step":"zscore"}"#,
        ] {
            assert!(parse(json).is_err(), "{json}");
        }
    }

    #[test]
    fn bounds_are_checked() {
        assert!(StepConfig::MinMax { low: -1.0, high: 1.0 }.validate().is_ok());
        for (low, high) in [(0.0, 0.0), (1.0, 0.0), (f32::NAN, 1.0), (0.0, f32::INFINITY)] {
            assert!(StepConfig::MinMax { low, high }.validate().is_err(), "{low} {high}");
        }
    }
}
