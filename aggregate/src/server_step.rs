//! How the center moves, given what the updates were reduced to.

use std::str::FromStr;

use optim::{AdagradConfig, AdamConfig, LionConfig, OptimizerConfig, SgdConfig, YogiConfig};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::spelling::{no_options, parse_options};

/// What becomes of the base model `x` once the reducer has made one model of the updates.
///
/// With `Δ = reduced − x`:
///
/// | step | new model |
/// |---|---|
/// | `Replace` | `x + Δ` |
/// | `Sgd` | `v ← momentum·v − Δ`, then `x − lr·v`, with Nesterov `x − lr·(momentum·v − Δ)` |
/// | `Adagrad` | `v ← v + Δ²`, then `x + lr·Δ/(√v + tau)` |
/// | `Adam` | `m ← beta1·m + (1 − beta1)Δ`, `v ← beta2·v + (1 − beta2)Δ²`, then `x + lr·m/(√v + tau)` |
/// | `Yogi` | the same with `v ← v − (1 − beta2)·Δ²·sign(v − Δ²)` |
/// | `AdamW` | `x·(1 − lr·weight_decay)`, then Adam with bias correction |
/// | `Lion` | `x·(1 − lr·weight_decay) + lr·sign(beta1·m + (1 − beta1)Δ)`, `m ← beta2·m + (1 − beta2)Δ` |
/// | `Dyn` | `h ← h − alpha·(n/population)·Δ`, then `x + Δ − h/alpha`, of `n` updates |
///
/// The mean with `Replace` is `FedAvg`, with `Sgd` it is `FedAvgM` (Hsu et al.,
/// <https://arxiv.org/abs/1909.06335>), with `Adagrad`, `Adam` and `Yogi` it is `FedAdagrad`, `FedAdam`
/// and `FedYogi` (Reddi et al., <https://arxiv.org/abs/2003.00295>), without bias correction as in the
/// paper; the mean of equal weights with `Dyn` is `FedDyn` (Acar et al.,
/// <https://arxiv.org/abs/2111.04263>). Integers and booleans are always replaced.
///
/// In a configuration file it is a table with the step's `name` and its options; as text it is the
/// name, or name and options: `adam:lr=0.03`.
///
/// ```
/// use aggregate::ServerStep;
///
/// let step: ServerStep = serde_json::from_str(r#"{ "name": "sgd", "momentum": 0.9 }"#)?;
/// assert_eq!(step, ServerStep::Sgd { lr: 1.0, momentum: 0.9, nesterov: false });
/// assert_eq!("sgd:momentum=0.9".parse::<ServerStep>()?, step);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ServerStep {
    /// The reduced model is the new model.
    #[default]
    #[serde(deserialize_with = "no_options")]
    Replace,
    /// A step of gradient descent from the base, with `−Δ` as the gradient.
    ///
    /// `lr = 1` without momentum is `Replace`, bit for bit. The step is taken in f32: an f64
    /// tensor keeps its digits, and its movement is as precise as an f32.
    Sgd {
        /// Learning rate, above 0; 1 if left out.
        #[serde(default = "one")]
        lr: f32,
        /// Share of the last movement that is kept, at least 0 and below 1; 0 if left out.
        #[serde(default)]
        momentum: f32,
        /// Whether to look ahead; needs momentum.
        #[serde(default)]
        nesterov: bool,
    },
    /// Adagrad; 0.1 and 1e-3 if left out.
    Adagrad {
        /// Learning rate, above 0.
        #[serde(default = "adagrad_lr")]
        lr: f32,
        /// Added to the root, at least 0: how small a change still counts in full.
        #[serde(default = "default_tau")]
        tau: f32,
    },
    /// Adam; 0.03, 0.9, 0.99, 1e-3 and no bias correction if left out.
    Adam {
        /// Learning rate, above 0.
        #[serde(default = "adam_lr")]
        lr: f32,
        /// Decay of the mean of changes, at least 0 and below 1.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// Decay of the mean of their squares, at least 0 and below 1.
        #[serde(default = "default_beta2")]
        beta2: f64,
        /// Added to the root, at least 0.
        #[serde(default = "default_tau")]
        tau: f32,
        /// Whether the means are divided by `1 − beta^t`; the first step then has length `lr`.
        #[serde(default)]
        bias_correction: bool,
    },
    /// Yogi; 0.03, 0.9, 0.99 and 1e-3 if left out.
    Yogi {
        /// Learning rate, above 0.
        #[serde(default = "adam_lr")]
        lr: f32,
        /// Decay of the mean of changes, at least 0 and below 1.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// Decay of the mean of their squares, at least 0 and below 1.
        #[serde(default = "default_beta2")]
        beta2: f64,
        /// Added to the root, at least 0.
        #[serde(default = "default_tau")]
        tau: f32,
    },
    /// `AdamW`; 0.03, 0.9, 0.99, 1e-3 and a decay of 0.01 if left out.
    #[serde(rename = "adamw")]
    AdamW {
        /// Learning rate, above 0.
        #[serde(default = "adam_lr")]
        lr: f32,
        /// Decay of the mean of changes, at least 0 and below 1.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// Decay of the mean of their squares, at least 0 and below 1.
        #[serde(default = "default_beta2")]
        beta2: f64,
        /// Added to the root, at least 0.
        #[serde(default = "default_tau")]
        tau: f32,
        /// Share of each weight that is taken off per step and unit of `lr`, at least 0.
        #[serde(default = "adamw_decay")]
        weight_decay: f32,
    },
    /// Lion; 0.001, 0.9, 0.99 and no decay if left out.
    Lion {
        /// Learning rate, above 0: how far every weight moves.
        #[serde(default = "lion_lr")]
        lr: f32,
        /// Share of the momentum in the direction, at least 0 and below 1.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// Decay of the momentum, at least 0 and below 1.
        #[serde(default = "default_beta2")]
        beta2: f64,
        /// Share of each weight that is taken off per step and unit of `lr`, at least 0.
        #[serde(default)]
        weight_decay: f32,
    },
    /// `FedDyn`'s center; its nodes train with the same `alpha`.
    Dyn {
        /// Strength of the regularizer, above 0.
        alpha: f32,
        /// Nodes there are in all, of which the updates come from some.
        population: u32,
    },
}

impl ServerStep {
    /// The names of all steps.
    pub const NAMES: [&'static str; 8] =
        ["replace", "sgd", "adagrad", "adam", "yogi", "adamw", "lion", "dyn"];

    /// The name as spelled in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Sgd { .. } => "sgd",
            Self::Adagrad { .. } => "adagrad",
            Self::Adam { .. } => "adam",
            Self::Yogi { .. } => "yogi",
            Self::AdamW { .. } => "adamw",
            Self::Lion { .. } => "lion",
            Self::Dyn { .. } => "dyn",
        }
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::LearningRate`] or [`Error::Optimizer`] if one is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.movement().map(|_| ())
    }

    /// Whether something must be remembered from one round to the next.
    pub fn has_state(&self) -> bool {
        !matches!(self, Self::Replace | Self::Sgd { momentum: 0.0, .. })
    }

    /// What the step does, if it is more than replacing.
    pub(crate) fn movement(&self) -> Result<Option<Movement>, Error> {
        let (lr, rule, weight_decay) = match *self {
            Self::Replace => return Ok(None),
            Self::Sgd { lr, momentum, nesterov } => {
                let config = SgdConfig { momentum, nesterov, ..SgdConfig::default() };
                (lr, OptimizerConfig::Sgd(config), 0.0)
            }
            Self::Adagrad { lr, tau } => {
                let config = AdagradConfig { eps: tau, ..AdagradConfig::default() };
                (lr, OptimizerConfig::Adagrad(config), 0.0)
            }
            Self::Adam { lr, beta1, beta2, tau, bias_correction } => {
                let weight_decay = 0.0;
                let config = AdamConfig { beta1, beta2, eps: tau, weight_decay, bias_correction };
                (lr, OptimizerConfig::Adam(config), 0.0)
            }
            Self::Yogi { lr, beta1, beta2, tau } => {
                let config = YogiConfig { beta1, beta2, eps: tau, ..YogiConfig::default() };
                (lr, OptimizerConfig::Yogi(config), 0.0)
            }
            Self::AdamW { lr, beta1, beta2, tau, weight_decay } => {
                let config = AdamConfig { beta1, beta2, eps: tau, ..AdamConfig::default() };
                (lr, OptimizerConfig::Adam(config), weight_decay)
            }
            Self::Lion { lr, beta1, beta2, weight_decay } => {
                let config = LionConfig { beta1, beta2, weight_decay: 0.0 };
                (lr, OptimizerConfig::Lion(config), weight_decay)
            }
            Self::Dyn { alpha, population } => {
                if !(alpha.is_finite() && alpha > 0.0) {
                    return Err(Error::ServerOption { option: "alpha", value: alpha });
                }
                if population == 0 {
                    return Err(Error::ServerOption { option: "population", value: 0.0 });
                }
                return Ok(Some(Movement {
                    rule: MovementRule::Dyn { alpha: alpha.into(), population },
                    slots: vec![DYN_SLOT.to_owned()],
                }));
            }
        };
        if !(lr.is_finite() && lr > 0.0) {
            return Err(Error::LearningRate { lr });
        }
        if !(weight_decay.is_finite() && weight_decay >= 0.0 && lr * weight_decay < 1.0) {
            return Err(Error::ServerOption { option: "weight_decay", value: weight_decay });
        }
        let slots = rule.build(0)?.state().tensors.into_keys().collect();
        let replaces = matches!(self, Self::Sgd { lr: 1.0, momentum: 0.0, .. });
        let decay = f64::from(lr) * f64::from(weight_decay);
        let rule = MovementRule::Optimizer { lr, config: rule, decay };
        Ok((!replaces).then_some(Movement { rule, slots }))
    }
}

impl FromStr for ServerStep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_options(text)
    }
}

/// The tensor that `FedDyn`'s center remembers.
pub(crate) const DYN_SLOT: &str = "h";

/// A step that moves a base, and the names of what it remembers of every value.
#[derive(Debug)]
pub(crate) struct Movement {
    pub(crate) rule: MovementRule,
    pub(crate) slots: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum MovementRule {
    /// A step of an optimizer along `Δ`, after a share `decay` of the base is taken off.
    Optimizer {
        lr: f32,
        config: OptimizerConfig,
        decay: f64,
    },
    Dyn {
        alpha: f64,
        population: u32,
    },
}

fn one() -> f32 {
    1.0
}

fn adagrad_lr() -> f32 {
    0.1
}

fn adam_lr() -> f32 {
    0.03
}

fn lion_lr() -> f32 {
    0.001
}

fn default_beta1() -> f64 {
    0.9
}

fn default_beta2() -> f64 {
    0.99
}

fn default_tau() -> f32 {
    1e-3
}

fn adamw_decay() -> f32 {
    0.01
}
