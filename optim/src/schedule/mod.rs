//! Learning-rate schedules: pure functions of the step number, and one that listens to a metric.

mod anneal;
mod curves;
#[cfg(feature = "serde")]
mod defaults;

use crate::checks::check_option;
use crate::{Error, PlateauConfig};
use curves::{after, cosine, cycle_progress};

pub use anneal::Anneal;

/// How the learning rate changes over a run: `lr(step) = base_lr · factor(step, total_steps)`.
///
/// Steps count optimizer steps from 0. Horizons are shares of the run's length, so that one
/// configuration serves nodes with little and much data. In configuration files a table tagged by
/// `name` in kebab-case; unknown keys are errors.
///
/// ```
/// use optim::Schedule;
///
/// let schedule = Schedule::Cosine { warmup: 0.1, min_ratio: 0.0 };
/// schedule.validate()?;
///
/// assert_eq!(schedule.factor(0, 1000), 0.01); // the first of 100 warm-up steps
/// assert_eq!(schedule.factor(100, 1000), 1.0);
/// assert!((schedule.factor(550, 1000) - 0.5).abs() < 1e-9);
/// assert_eq!(schedule.factor(1000, 1000), 0.0);
///
/// # #[cfg(feature = "serde")]
/// assert_eq!(serde_json::from_str::<Schedule>(r#"{ "name": "cosine", "warmup": 0.1 }"#)?, schedule);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Schedule {
    /// `1` throughout.
    #[default]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "defaults::no_options"))]
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
        #[cfg_attr(feature = "serde", serde(default))]
        warmup: f32,
        /// Where it ends, in 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
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
        #[cfg_attr(feature = "serde", serde(default = "defaults::tenth"))]
        gamma: f32,
    },
    /// `cycles` half cosines one after the other, each from 1 down to `min_ratio` and each
    /// `cycle_mult` times as long as the one before.
    ///
    /// It is `CosineAnnealingWarmRestarts(T_0=T, T_mult=cycle_mult, eta_min=min_ratio·base_lr)` with
    /// the `T` for which the cycles fill the run, after a warm-up of `W` steps. Loshchilov and
    /// Hutter, <https://arxiv.org/abs/1608.03983>.
    CosineRestarts {
        /// How many, 1 to 64.
        cycles: u32,
        /// How much longer each is than the one before, 1 to 64.
        #[cfg_attr(feature = "serde", serde(default = "defaults::once"))]
        cycle_mult: u32,
        /// Share of the run that warms up, in 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        warmup: f32,
        /// Where each cycle ends, in 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        min_ratio: f32,
    },
    /// `(1 − step/total)^power`, which is `PolynomialLR(total_iters=total, power)`, after a warm-up.
    ///
    /// With `power = 1` the rate falls linearly to 0.
    Polynomial {
        /// The exponent, above 0.
        #[cfg_attr(feature = "serde", serde(default = "defaults::one"))]
        power: f32,
        /// Share of the run that warms up, in 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        warmup: f32,
    },
    /// Rises from `1/div_factor` to 1 in the first part of the run, then falls to
    /// `1/(div_factor·final_div_factor)` at its last step, both along half a cosine.
    ///
    /// It is `OneCycleLR(max_lr=base_lr, total_steps=total, pct_start, div_factor,
    /// final_div_factor, cycle_momentum=False)`. Smith and Topin, <https://arxiv.org/abs/1708.07120>.
    OneCycle {
        /// Share of the run that rises, in 0 to 1.
        #[cfg_attr(feature = "serde", serde(default = "defaults::third"))]
        pct_start: f32,
        /// How many times smaller the first rate is, at least 1.
        #[cfg_attr(feature = "serde", serde(default = "defaults::div_factor"))]
        div_factor: f32,
        /// How many times smaller than the first rate the last is, at least 1.
        #[cfg_attr(feature = "serde", serde(default = "defaults::final_div_factor"))]
        final_div_factor: f32,
        /// The form of both parts.
        #[cfg_attr(feature = "serde", serde(default))]
        anneal: Anneal,
    },
    /// Multiplies by `factor` whenever a metric has not become better for `patience` epochs.
    ///
    /// It is `ReduceLROnPlateau(factor, patience, threshold, cooldown, min_lr=min_ratio·base_lr)`
    /// for a loss. [`factor`](Schedule::factor) is 1 throughout: what the metric does is not known
    /// beforehand, and [`Plateau`](crate::Plateau) keeps the account.
    ReduceOnPlateau(PlateauConfig),
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
        const DIVISOR: &str = "at least 1";
        const FEW: &str = "between 1 and 64";
        const FACTOR: &str = "above 0 and at most 1";
        let is_share = |v: f64| (0.0..=1.0).contains(&v);
        let is_factor = |v: f64| v > 0.0 && v <= 1.0;
        let is_few = |v: f64| (1.0..=64.0).contains(&v);
        match *self {
            Self::Constant => Ok(()),
            Self::LinearWarmup { warmup } => {
                check_option("linear-warmup", "warmup", warmup, is_share, SHARE)
            }
            Self::Cosine { warmup, min_ratio } => {
                check_option("cosine", "warmup", warmup, is_share, SHARE)?;
                check_option("cosine", "min_ratio", min_ratio, is_share, SHARE)
            }
            Self::CosineRestarts { cycles, cycle_mult, warmup, min_ratio } => {
                let owner = "cosine-restarts";
                check_option(owner, "cycles", cycles as f32, is_few, FEW)?;
                check_option(owner, "cycle_mult", cycle_mult as f32, is_few, FEW)?;
                check_option(owner, "warmup", warmup, is_share, SHARE)?;
                check_option(owner, "min_ratio", min_ratio, is_share, SHARE)
            }
            Self::Polynomial { power, warmup } => {
                check_option("polynomial", "power", power, |v| v > 0.0, "above 0")?;
                check_option("polynomial", "warmup", warmup, is_share, SHARE)
            }
            Self::OneCycle { pct_start, div_factor, final_div_factor, anneal: _ } => {
                let owner = "one-cycle";
                check_option(owner, "pct_start", pct_start, is_share, SHARE)?;
                check_option(owner, "div_factor", div_factor, |v| v >= 1.0, DIVISOR)?;
                check_option(owner, "final_div_factor", final_div_factor, |v| v >= 1.0, DIVISOR)
            }
            Self::ReduceOnPlateau(config) => config.validate(),
            Self::Step { every, gamma } => {
                check_option("step", "gamma", gamma, is_factor, FACTOR)?;
                check_option("step", "every", every as f32, |v| v >= 1.0, "at least 1")
            }
            Self::Exponential { final_ratio } => {
                check_option("exponential", "final_ratio", final_ratio, is_factor, FACTOR)
            }
        }
    }

    /// The options of [`ReduceOnPlateau`](Self::ReduceOnPlateau), if it is that.
    pub fn plateau(&self) -> Option<PlateauConfig> {
        match self {
            Self::ReduceOnPlateau(config) => Some(*config),
            _ => None,
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
            Self::Constant | Self::Step { .. } | Self::ReduceOnPlateau(_) => 1.0,
            Self::LinearWarmup { warmup } => after(warmup, step, total_steps, |_, _| 1.0),
            Self::Cosine { warmup, min_ratio } => {
                after(warmup, step, total_steps, |step, total| cosine(step / total, min_ratio))
            }
            Self::CosineRestarts { cycles, cycle_mult, warmup, min_ratio } => {
                after(warmup, step, total_steps, |step, total| {
                    cosine(cycle_progress(step, total, cycles, cycle_mult), min_ratio)
                })
            }
            Self::Polynomial { power, warmup } => {
                after(warmup, step, total_steps, |step, total| {
                    (1.0 - step / total).powf(power.into())
                })
            }
            Self::OneCycle { pct_start, div_factor, final_div_factor, anneal } => {
                let first = 1.0 / f64::from(div_factor);
                let last = first / f64::from(final_div_factor);
                let end = (total_steps - 1) as f64;
                // As `torch`, the top may lie before the first step: then the fall is under way.
                let top = f64::from(pct_start) * total_steps as f64 - 1.0;
                let step = (step as f64).min(end);
                if step <= top && top > 0.0 {
                    anneal.between(first, 1.0, step / top)
                } else if end > top {
                    anneal.between(1.0, last, (step - top) / (end - top))
                } else {
                    1.0
                }
            }
            Self::Exponential { final_ratio } => {
                f64::from(final_ratio).powf(step as f64 / total_steps as f64)
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

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
            Schedule::CosineRestarts { cycles: 0, cycle_mult: 1, warmup: 0.0, min_ratio: 0.0 },
            Schedule::CosineRestarts { cycles: 2, cycle_mult: 65, warmup: 0.0, min_ratio: 0.0 },
            Schedule::Polynomial { power: 0.0, warmup: 0.0 },
            Schedule::OneCycle {
                pct_start: 0.3,
                div_factor: 0.5,
                final_div_factor: 1.0,
                anneal: Anneal::Linear,
            },
            Schedule::ReduceOnPlateau(PlateauConfig { factor: 1.0, ..PlateauConfig::default() }),
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
    fn one_cycle_may_begin_with_its_fall() {
        // `OneCycleLR` of torch 2.15.
        let cycle = |pct_start| Schedule::OneCycle {
            pct_start,
            div_factor: 25.0,
            final_div_factor: 1e4,
            anneal: Anneal::Cosine,
        };
        for (pct_start, total, step, expected) in
            [(0.0, 10, 0, 0.976), (0.0, 10, 1, 0.905), (0.3, 3, 0, 0.994), (0.3, 2, 0, 0.812)]
        {
            let factor = cycle(pct_start).factor(step, total);
            assert!((factor - expected).abs() < 1e-3, "{pct_start} {total} {step}: {factor}");
        }
        assert_eq!(cycle(1.0).factor(0, 1), 1.0);
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
