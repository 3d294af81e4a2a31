//! Learning-rate schedules as pure functions of the step number.

use std::f64::consts::PI;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;
use crate::error::check_option;

/// How the learning rate changes over a run: `lr(step) = base_lr · factor(step, total_steps)`.
///
/// Steps count optimizer steps from 0. Horizons are shares of the run's length, so that one
/// configuration serves nodes with little and much data. In configuration files a table tagged by
/// `name` in kebab-case; unknown keys are errors.
///
/// ```
/// use optim::Schedule;
///
/// let schedule: Schedule = serde_json::from_str(r#"{ "name": "cosine", "warmup": 0.1 }"#)?;
/// assert_eq!(schedule, Schedule::Cosine { warmup: 0.1, min_ratio: 0.0 });
/// schedule.validate()?;
///
/// assert_eq!(schedule.factor(0, 1000), 0.01); // the first of 100 warm-up steps
/// assert_eq!(schedule.factor(100, 1000), 1.0);
/// assert!((schedule.factor(550, 1000) - 0.5).abs() < 1e-9);
/// assert_eq!(schedule.factor(1000, 1000), 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// `1` throughout.
    #[default]
    #[serde(deserialize_with = "no_options")]
    Constant,
    /// Rises linearly over the first `W = round(warmup·total)` steps, then stays at 1.
    ///
    /// `min(1, (step + 1)/W)`, which is `LinearLR(start_factor=1/W, total_iters=W−1)`: the first
    /// step already moves, and step `W − 1` has the full rate.
    LinearWarmup {
        /// Share of the run that warms up, in 0 to 1.
        warmup: f32,
    },
    /// Half a cosine from 1 down to `min_ratio`, after an optional linear warm-up of `W` steps.
    ///
    /// `min_ratio + (1 − min_ratio)·(1 + cos(π·(step − W)/(total − W)))/2`, which is
    /// `CosineAnnealingLR(T_max=total−W, eta_min=min_ratio·base_lr)`, put behind the warm-up by
    /// `SequentialLR(milestones=[W])`. Loshchilov and Hutter, <https://arxiv.org/abs/1608.03983>.
    Cosine {
        /// Share of the run that warms up, in 0 to 1.
        #[serde(default)]
        warmup: f32,
        /// Where it ends, in 0 to 1.
        #[serde(default)]
        min_ratio: f32,
    },
    /// Multiplies by `gamma` every so many steps: `gamma^⌊step/every⌋`, which is
    /// `StepLR(step_size=every, gamma)`, and with `every = 1` `ExponentialLR(gamma)`.
    ///
    /// It is the one decay that does not depend on the length of the run.
    Step {
        /// Steps between two cuts, at least 1.
        every: u64,
        /// Factor of each cut, above 0 and at most 1.
        #[serde(default = "tenth")]
        gamma: f32,
    },
    /// Falls by the same factor at every step and ends at `final_ratio`.
    ///
    /// `final_ratio^(step/total)`, which is `ExponentialLR(gamma=final_ratio^(1/total))`.
    Exponential {
        /// Where it ends, above 0 and at most 1.
        final_ratio: f32,
    },
}

impl Schedule {
    /// Checks the options.
    ///
    /// # Errors
    /// If a share is not in 0 to 1, a factor not above 0 and at most 1, or `every` is 0.
    pub fn validate(&self) -> Result<(), Error> {
        const SHARE: &str = "between 0 and 1";
        const FACTOR: &str = "above 0 and at most 1";
        let is_share = |v: f32| (0.0..=1.0).contains(&v);
        let is_factor = |v: f32| v > 0.0 && v <= 1.0;
        match *self {
            Self::Constant => Ok(()),
            Self::LinearWarmup { warmup } => {
                check_option("linear-warmup", "warmup", warmup, is_share, SHARE)
            }
            Self::Cosine { warmup, min_ratio } => {
                check_option("cosine", "warmup", warmup, is_share, SHARE)?;
                check_option("cosine", "min_ratio", min_ratio, is_share, SHARE)
            }
            Self::Step { every, gamma } => {
                check_option("step", "gamma", gamma, is_factor, FACTOR)?;
                check_option("step", "every", every as f32, |v| v >= 1.0, "at least 1")
            }
            Self::Exponential { final_ratio } => {
                check_option("exponential", "final_ratio", final_ratio, is_factor, FACTOR)
            }
        }
    }

    /// What to multiply the base learning rate by at `step` (from 0) of a run of `total_steps`.
    ///
    /// In 0 to 1 and never NaN if [`validate`](Self::validate) passes. From `total_steps` on it
    /// keeps the value of its end. With `total_steps` 0 the length is taken as unknown: nothing
    /// warms up and nothing decays but [`Step`](Self::Step), which does not ask for the length.
    pub fn factor(&self, step: u64, total_steps: u64) -> f64 {
        if let Self::Step { every, gamma } = *self {
            return f64::from(gamma).powf((step / every.max(1)) as f64);
        }
        if total_steps == 0 {
            return 1.0;
        }
        let step = step.min(total_steps);
        match *self {
            Self::Constant | Self::Step { .. } => 1.0,
            Self::LinearWarmup { warmup } => {
                rise(step, warmup_steps(warmup, total_steps)).unwrap_or(1.0)
            }
            Self::Cosine { warmup, min_ratio } => {
                let warmup_steps = warmup_steps(warmup, total_steps);
                rise(step, warmup_steps).unwrap_or_else(|| {
                    let floor = f64::from(min_ratio);
                    // With a warm-up as long as the run only its end is left, and 0/0 is avoided.
                    let progress = if step == total_steps {
                        1.0
                    } else {
                        (step - warmup_steps) as f64 / (total_steps - warmup_steps) as f64
                    };
                    floor + (1.0 - floor) * 0.5 * (1.0 + (PI * progress).cos())
                })
            }
            Self::Exponential { final_ratio } => {
                f64::from(final_ratio).powf(step as f64 / total_steps as f64)
            }
        }
    }
}

/// `round(share·total)`, at most `total`.
fn warmup_steps(share: f32, total_steps: u64) -> u64 {
    ((f64::from(share) * total_steps as f64).round() as u64).min(total_steps)
}

/// `(step + 1)/warmup_steps` while warming up.
fn rise(step: u64, warmup_steps: u64) -> Option<f64> {
    (step < warmup_steps).then(|| (step + 1) as f64 / warmup_steps as f64)
}

/// The default `gamma` of `StepLR`.
fn tenth() -> f32 {
    0.1
}

/// A variant without options: serde alone would let any key pass here.
fn no_options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoOptions {}
    NoOptions::deserialize(deserializer).map(|NoOptions {}| ())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Schedule, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn names_are_kebab_case_and_defaults_apply() {
        assert_eq!(parse(r#"{"name":"constant"}"#).unwrap(), Schedule::Constant);
        assert_eq!(
            parse(r#"{"name":"linear-warmup","warmup":0.05}"#).unwrap(),
            Schedule::LinearWarmup { warmup: 0.05 }
        );
        assert_eq!(
            parse(r#"{"name":"cosine"}"#).unwrap(),
            Schedule::Cosine { warmup: 0.0, min_ratio: 0.0 }
        );
        assert_eq!(
            parse(r#"{"name":"step","every":30}"#).unwrap(),
            Schedule::Step { every: 30, gamma: 0.1 }
        );
    }

    #[test]
    fn unknown_keys_are_refused_even_without_options() {
        for json in [
            r#"{"name":"constant","warmup":0.1}"#,
            r#"{"name":"cosine","warm_up":0.1}"#,
            r#"{"name":"exponential","final_ratio":0.1,"gamma":0.9}"#,
            r#"{"name":"cosinus"}"#,
        ] {
            assert!(parse(json).is_err(), "{json}");
        }
    }

    #[test]
    fn options_are_checked() {
        for bad in [
            Schedule::LinearWarmup { warmup: 1.1 },
            Schedule::LinearWarmup { warmup: f32::NAN },
            Schedule::Cosine { warmup: -0.1, min_ratio: 0.0 },
            Schedule::Cosine { warmup: 0.0, min_ratio: f32::INFINITY },
            Schedule::Step { every: 0, gamma: 0.1 },
            Schedule::Step { every: 1, gamma: 0.0 },
            Schedule::Exponential { final_ratio: 0.0 },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_length_neither_warms_up_nor_decays() {
        for schedule in [
            Schedule::Constant,
            Schedule::LinearWarmup { warmup: 0.5 },
            Schedule::Cosine { warmup: 0.5, min_ratio: 0.0 },
            Schedule::Exponential { final_ratio: 0.1 },
        ] {
            assert_eq!(schedule.factor(7, 0), 1.0, "{schedule:?}");
        }
        assert_eq!(Schedule::Step { every: 2, gamma: 0.5 }.factor(7, 0), 0.125);
    }

    #[test]
    fn the_end_value_is_kept() {
        let cosine = Schedule::Cosine { warmup: 0.1, min_ratio: 0.25 };
        let exponential = Schedule::Exponential { final_ratio: 0.25 };
        for step in [10, 11, u64::MAX] {
            assert_eq!(cosine.factor(step, 10), 0.25);
            assert_eq!(exponential.factor(step, 10), 0.25);
            assert_eq!(Schedule::LinearWarmup { warmup: 1.0 }.factor(step, 10), 1.0);
        }
    }

    #[test]
    fn a_warm_up_as_long_as_the_run_ends_where_the_cosine_does() {
        let schedule = Schedule::Cosine { warmup: 1.0, min_ratio: 0.5 };
        assert_eq!(schedule.factor(9, 10), 1.0);
        assert_eq!(schedule.factor(10, 10), 0.5);
    }
}
