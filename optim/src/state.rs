//! Optimizer state as named flat tensors, so that a checkpoint need not know the optimizer.

use std::collections::BTreeMap;

/// Everything an optimizer remembers between steps.
///
/// The tensor names are those of `torch.optim` (`momentum_buffer`, `exp_avg`, `exp_avg_sq`); each
/// tensor has as many elements as there are parameters. Options and learning rate are not part of
/// it. Written to a file, tensors and [`scalars`](Self::scalars) must come back to the bit for the
/// steps after it to be those of a run without a break: with the feature `serde` they are written as
/// the integers with their bits, which brings infinities and NaN back too, in JSON and elsewhere.
///
/// ```
/// use optim::{Optimizer, SgdConfig};
///
/// let config = SgdConfig { momentum: 0.9, ..SgdConfig::default() };
/// let mut sgd = config.build(2)?;
/// sgd.step(&mut [1.0, 2.0], &[0.5, -0.5], 0.1);
///
/// let state = sgd.state();
/// assert_eq!(state.optimizer, "sgd");
/// assert_eq!(state.step, 1);
/// assert_eq!(state.tensors["momentum_buffer"], [0.5, -0.5]);
///
/// let mut resumed = config.build(2)?;
/// resumed.load_state(&state)?;
/// assert_eq!(resumed.state(), state);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct State {
    /// [`State::VERSION`] of the library that made it.
    pub version: u32,
    /// The name of the optimizer that made it, as in [`Optimizer::name`](crate::Optimizer::name).
    pub optimizer: String,
    /// How many steps were taken.
    pub step: u64,
    /// Numbers that are not of one parameter, by name.
    #[cfg_attr(feature = "serde", serde(with = "crate::bits::scalars"))]
    pub scalars: BTreeMap<String, f64>,
    /// The tensors by name.
    #[cfg_attr(feature = "serde", serde(with = "crate::bits::tensors"))]
    pub tensors: BTreeMap<String, Vec<f32>>,
}

impl State {
    /// What the names and values of a state mean; a state of another version is refused.
    pub const VERSION: u32 = 2;
}
