//! The trait every optimizer implements, and the choice of one by name.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fused::Rule;
use crate::{
    AdagradConfig, AdamConfig, AdamWConfig, AmsGradConfig, Error, LambConfig, LionConfig,
    NAdamConfig, ParamGroups, RAdamConfig, RmsPropConfig, ScheduleFreeAdamWConfig, SgdConfig,
    State, YogiConfig,
};

/// Moves parameters along their gradients, one step at a time.
///
/// An optimizer is built for a fixed number of parameters, laid out as one flat slice. It keeps
/// what it must remember (its [`State`]) and is told the learning rate at every step, so that a
/// [`Schedule`](crate::Schedule) stays a pure function beside it.
///
/// To write one of your own: keep options and state in a struct, take one pass over the zipped
/// slices in `step`, name the state's tensors, and compare ten consecutive steps with a reference.
///
/// ```
/// use optim::{Optimizer, SgdConfig};
///
/// let mut sgd: Box<dyn Optimizer> = Box::new(SgdConfig::default().build(2)?);
/// let mut params = [1.0, 2.0];
/// sgd.step(&mut params, &[10.0, -10.0], 0.1);
/// assert_eq!(params, [0.0, 3.0]);
/// # Ok::<(), optim::Error>(())
/// ```
pub trait Optimizer: Send {
    /// Updates `params` in place from `grads`, the gradient of the loss at `params`, with learning
    /// rate `lr`.
    ///
    /// Nothing is checked for finiteness: a NaN in a gradient reaches the state, and in most optimizers
    /// the parameter;
    /// [`Guard`](crate::Guard) leaves such steps out. From some 30,000 parameters on the step runs on
    /// the threads of the calling rayon pool; the bits do not depend on their number.
    ///
    /// # Panics
    /// If `params` or `grads` has another length than the optimizer was built for; the message has
    /// all three.
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32);

    /// Turns a copy of the parameters that are trained into those to evaluate and ship.
    ///
    /// They are the same but for [`ScheduleFreeAdamW`](crate::ScheduleFreeAdamW).
    ///
    /// # Panics
    /// If `params` has another length than the optimizer was built for.
    fn average(&self, _params: &mut [f32]) {}

    /// Bounds the threads of a step; without it, those of the calling rayon pool.
    fn set_threads(&mut self, _threads: usize) {}

    /// A copy of all that is remembered between steps.
    fn state(&self) -> State;

    /// Replaces what is remembered; the steps after it are bit for bit those of an optimizer that
    /// was never interrupted, if the options are the same.
    ///
    /// # Errors
    /// If the state is of another optimizer, lacks a tensor or has one too many, or if a tensor has
    /// the wrong length or an impossible value. The optimizer is then unchanged.
    fn load_state(&mut self, state: &State) -> Result<(), Error>;

    /// The name as spelled in a configuration.
    fn name(&self) -> &'static str;
}

/// Runs an expression with `config` the options of the chosen optimizer, whichever it is.
macro_rules! of_each {
    ($choice:expr, $config:ident => $result:expr) => {
        match $choice {
            OptimizerConfig::Sgd($config) => $result,
            OptimizerConfig::Adam($config) => $result,
            OptimizerConfig::AmsGrad($config) => $result,
            OptimizerConfig::AdamW($config) => $result,
            OptimizerConfig::NAdam($config) => $result,
            OptimizerConfig::RAdam($config) => $result,
            OptimizerConfig::Adagrad($config) => $result,
            OptimizerConfig::RmsProp($config) => $result,
            OptimizerConfig::Yogi($config) => $result,
            OptimizerConfig::Lion($config) => $result,
            OptimizerConfig::Lamb($config) => $result,
            OptimizerConfig::ScheduleFreeAdamW($config) => $result,
        }
    };
}

/// Which optimizer, with its options: the form for configuration files.
///
/// Tagged by `name`; options that are left out take their published defaults, unknown ones are
/// errors.
///
/// ```
/// use optim::{AdamWConfig, OptimizerConfig};
///
/// let config: OptimizerConfig =
///     serde_json::from_str(r#"{ "name": "adamw", "weight_decay": 0.1 }"#)?;
/// let expected = AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() };
/// assert_eq!(config, OptimizerConfig::AdamW(expected));
///
/// let mut optimizer = config.build(1)?;
/// optimizer.step(&mut [1.0], &[0.5], 1e-3);
/// assert_eq!(optimizer.name(), "adamw");
///
/// assert_eq!("sgd".parse::<OptimizerConfig>()?.name(), "sgd");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum OptimizerConfig {
    /// [`Sgd`](crate::Sgd)
    Sgd(SgdConfig),
    /// [`Adam`](crate::Adam)
    Adam(AdamConfig),
    /// [`AmsGrad`](crate::AmsGrad)
    AmsGrad(AmsGradConfig),
    /// [`AdamW`](crate::AdamW)
    AdamW(AdamWConfig),
    /// [`NAdam`](crate::NAdam)
    NAdam(NAdamConfig),
    /// [`RAdam`](crate::RAdam)
    RAdam(RAdamConfig),
    /// [`Adagrad`](crate::Adagrad)
    Adagrad(AdagradConfig),
    /// [`RmsProp`](crate::RmsProp)
    RmsProp(RmsPropConfig),
    /// [`Yogi`](crate::Yogi)
    Yogi(YogiConfig),
    /// [`Lion`](crate::Lion)
    Lion(LionConfig),
    /// [`Lamb`](crate::Lamb)
    Lamb(LambConfig),
    /// [`ScheduleFreeAdamW`](crate::ScheduleFreeAdamW)
    #[serde(rename = "schedule-free-adamw")]
    ScheduleFreeAdamW(ScheduleFreeAdamWConfig),
}

impl OptimizerConfig {
    /// All names, as spelled in configurations and on command lines.
    pub const NAMES: [&'static str; 12] = [
        SgdConfig::NAME,
        AdamConfig::NAME,
        AmsGradConfig::NAME,
        AdamWConfig::NAME,
        NAdamConfig::NAME,
        RAdamConfig::NAME,
        AdagradConfig::NAME,
        RmsPropConfig::NAME,
        YogiConfig::NAME,
        LionConfig::NAME,
        LambConfig::NAME,
        ScheduleFreeAdamWConfig::NAME,
    ];

    /// The name of the chosen optimizer.
    pub fn name(&self) -> &'static str {
        fn name<R: Rule>(_: &R) -> &'static str {
            R::NAME
        }
        of_each!(self, config => name(config))
    }

    /// Checks the options.
    ///
    /// # Errors
    /// If one is not finite or out of range.
    pub fn validate(&self) -> Result<(), Error> {
        of_each!(self, config => config.check())
    }

    /// An optimizer for `n_params` parameters that has not taken a step.
    ///
    /// # Errors
    /// If an option is out of range.
    pub fn build(&self, n_params: usize) -> Result<Box<dyn Optimizer>, Error> {
        self.build_for(&ParamGroups::whole(n_params))
    }

    /// The same for parameters in groups.
    ///
    /// # Errors
    /// If an option is out of range.
    pub fn build_for(&self, groups: &ParamGroups) -> Result<Box<dyn Optimizer>, Error> {
        Ok(of_each!(self, config => Box::new(config.build_for(groups)?)))
    }
}

impl FromStr for OptimizerConfig {
    type Err = Error;

    /// The optimizer of that name with its published defaults.
    fn from_str(name: &str) -> Result<Self, Error> {
        let all = [
            Self::Sgd(SgdConfig::default()),
            Self::Adam(AdamConfig::default()),
            Self::AmsGrad(AmsGradConfig::default()),
            Self::AdamW(AdamWConfig::default()),
            Self::NAdam(NAdamConfig::default()),
            Self::RAdam(RAdamConfig::default()),
            Self::Adagrad(AdagradConfig::default()),
            Self::RmsProp(RmsPropConfig::default()),
            Self::Yogi(YogiConfig::default()),
            Self::Lion(LionConfig::default()),
            Self::Lamb(LambConfig::default()),
            Self::ScheduleFreeAdamW(ScheduleFreeAdamWConfig::default()),
        ];
        all.into_iter()
            .find(|config| config.name() == name)
            .ok_or_else(|| Error::UnknownOptimizer { found: name.to_owned() })
    }
}

/// Fails unless both slices have the length the optimizer was built for.
#[track_caller]
pub(crate) fn check_lengths(n_params: usize, params: &[f32], grads: &[f32]) {
    assert!(
        params.len() == n_params && grads.len() == n_params,
        "params has {} and grads has {} elements, the optimizer was built for {n_params}",
        params.len(),
        grads.len(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_builds_and_round_trips() {
        for name in OptimizerConfig::NAMES {
            let config: OptimizerConfig = name.parse().unwrap();
            assert_eq!(config.name(), name);
            assert_eq!(config.build(3).unwrap().name(), name);
            let bare = format!("{{\"name\":\"{name}\"}}");
            assert_eq!(serde_json::from_str::<OptimizerConfig>(&bare).unwrap(), config);
        }
    }

    #[test]
    fn unknown_names_and_options_are_refused() {
        assert!("AdamW".parse::<OptimizerConfig>().is_err());
        let parse = |json| serde_json::from_str::<OptimizerConfig>(json).unwrap_err().to_string();
        assert!(parse(r#"{"name":"adamm"}"#).contains("adamw"));
        let unknown = parse(r#"{"name":"adam","momentum":0.9}"#);
        assert!(unknown.contains("unknown field `momentum`"), "{unknown}");
        assert!(unknown.contains("beta1"), "{unknown}");
    }

    #[test]
    fn options_out_of_range_do_not_build() {
        let config = OptimizerConfig::Adam(AdamConfig { beta2: 1.0, ..AdamConfig::default() });
        let message = config.build(1).err().map(|e| e.to_string());
        assert_eq!(message.as_deref(), Some("adam: beta2 is 1, expected at least 0 and below 1"));
    }
}
