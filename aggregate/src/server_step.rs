//! How the center moves, given the mean of the updates.

use optim::{Optimizer, SgdConfig};
use serde::{Deserialize, Serialize};

use crate::admit::Base;
use crate::dtype::{decode_floats, encode_floats, first_invalid};
use crate::mean::Block;
use crate::state::SavedState;
use crate::{Error, TensorInfo};

/// What becomes of the base model `x` once the reducer has made one model of the updates.
///
/// With `Δ = reduced − x`:
///
/// | step | new model |
/// |---|---|
/// | `Replace` | `x + Δ` |
/// | `Sgd` | `v ← momentum·v − Δ`, then `x − lr·v`, with Nesterov `x − lr·(momentum·v − Δ)` |
///
/// The mean with `Replace` is `FedAvg`, with `Sgd` it is `FedAvgM` (Hsu et
/// al., <https://arxiv.org/abs/1909.06335>). Integers and booleans are always replaced.
///
/// In a configuration file it is a table with the step's `name` and its options.
///
/// ```
/// use aggregate::ServerStep;
///
/// let step: ServerStep = serde_json::from_str(r#"{ "name": "sgd", "momentum": 0.9 }"#)?;
/// assert_eq!(step, ServerStep::Sgd { lr: 1.0, momentum: 0.9, nesterov: false });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", from = "Spelling")]
#[non_exhaustive]
pub enum ServerStep {
    /// The reduced model is the new model.
    #[default]
    Replace,
    /// A step of gradient descent from the base, with `−Δ` as the gradient.
    ///
    /// `lr = 1` without momentum is `Replace`, bit for bit. The step is taken in f32: an f64
    /// tensor keeps its digits, and its movement is as precise as an f32.
    Sgd {
        /// Learning rate, above 0; 1 if left out.
        lr: f32,
        /// Share of the last movement that is kept, at least 0 and below 1; 0 if left out.
        momentum: f32,
        /// Whether to look ahead; needs momentum.
        nesterov: bool,
    },
}

impl ServerStep {
    /// The name as spelled in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Sgd { .. } => "sgd",
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
        matches!(self, Self::Sgd { momentum, .. } if *momentum != 0.0)
    }

    /// Learning rate and optimizer, if the step is more than replacing.
    pub(crate) fn movement(&self) -> Result<Option<(f32, SgdConfig)>, Error> {
        let Self::Sgd { lr, momentum, nesterov } = *self else { return Ok(None) };
        if !(lr.is_finite() && lr > 0.0) {
            return Err(Error::LearningRate { lr });
        }
        let config = SgdConfig { momentum, nesterov, ..SgdConfig::default() };
        config.build(0)?;
        let replaces = (lr, momentum) == (1.0, 0.0);
        Ok((!replaces).then_some((lr, config)))
    }
}

/// What is read: options may be left out, and unknown keys are refused, which serde does beside a
/// tag only if the variant has braces.
#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Spelling {
    Replace {},
    Sgd {
        #[serde(default = "one")]
        lr: f32,
        #[serde(default)]
        momentum: f32,
        #[serde(default)]
        nesterov: bool,
    },
}

fn one() -> f32 {
    1.0
}

impl From<Spelling> for ServerStep {
    fn from(spelling: Spelling) -> Self {
        match spelling {
            Spelling::Replace {} => Self::Replace,
            Spelling::Sgd { lr, momentum, nesterov } => Self::Sgd { lr, momentum, nesterov },
        }
    }
}

/// A server step that moves a base model, block by block.
#[derive(Debug)]
pub(crate) struct Mover<'a> {
    pub(crate) base: &'a Base,
    pub(crate) lr: f32,
    pub(crate) config: SgdConfig,
    pub(crate) saved: Option<SavedState>,
}

impl Mover<'_> {
    /// The number of the step to be taken, 1 for the first.
    pub(crate) fn step_number(&self) -> u64 {
        self.saved.as_ref().map_or(0, |saved| saved.step).saturating_add(1)
    }

    /// The momentum of a block that does not move: what it was.
    pub(crate) fn momentum(&self, block: Block, bytes: &mut Vec<u8>) -> Result<Vec<f32>, Error> {
        if self.config.momentum == 0.0 {
            return Ok(Vec::new());
        }
        let tensor = &self.base.file.tensors()[block.tensor];
        match &self.saved {
            Some(saved) => {
                let state = saved.read_block(block, tensor, bytes)?;
                Ok(state.tensors.into_values().next().unwrap_or_default())
            }
            None => Ok(vec![0.0; block.n_elements]),
        }
    }

    /// Appends the moved block of a float tensor to `out`, and returns its new momentum.
    pub(crate) fn step(
        &self,
        block: Block,
        mean: &[f64],
        bytes: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Vec<f32>, Error> {
        let tensor = &self.base.file.tensors()[block.tensor];
        self.base.read_block(block, bytes)?;
        let mut moved = Vec::new();
        decode_floats(tensor.dtype, bytes, &mut moved);

        // The optimizer works element by element, so that blocks can be stepped alone. It moves
        // zeros instead of the base, whose low bits f32 would cut off.
        let mut sgd = self.config.build(block.n_elements)?;
        if let Some(saved) = &self.saved {
            sgd.load_state(&saved.read_block(block, tensor, bytes)?)?;
        }
        let grads: Vec<f32> = moved.iter().zip(mean).map(|(&x, &m)| (x - m) as f32).collect();
        let mut movement = vec![0.0; block.n_elements];
        sgd.step(&mut movement, &grads, self.lr);
        for (x, &d) in moved.iter_mut().zip(&movement) {
            *x += f64::from(d);
        }

        let momentum = sgd.state().tensors.into_values().next().unwrap_or_default();
        encode_floats(tensor.dtype, &moved, out);
        let overflown = first_invalid(tensor.dtype, out).map(|(index, _)| index);
        let overflown = overflown.or_else(|| momentum.iter().position(|v| !v.is_finite()));
        overflown.map_or(Ok(momentum), |index| Err(out_of_range(tensor, block.start + index)))
    }
}

fn out_of_range(tensor: &TensorInfo, index: usize) -> Error {
    Error::OutOfRange { tensor: tensor.name.clone(), dtype: tensor.dtype, index }
}
