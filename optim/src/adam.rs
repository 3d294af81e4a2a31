//! Adam, with weight decay as an L2 penalty.

use serde::{Deserialize, Serialize};

use crate::moments::{Decay, Moments};
use crate::{Error, Optimizer, State};

pub(crate) const NAME: &str = "adam";

/// Options of [`Adam`]; the default is the paper's, 0.9, 0.999, 1e-8 and no weight decay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Decay of the mean of gradients, at least 0 and below 1.
    pub beta1: f32,
    /// Decay of the mean of squared gradients, at least 0 and below 1.
    pub beta2: f32,
    /// Added to the root of the second moment, at least 0.
    pub eps: f32,
    /// L2 penalty that is added to the gradient, at least 0.
    pub weight_decay: f32,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl AdamConfig {
    /// An optimizer for `n_params` parameters that has not taken a step.
    ///
    /// # Errors
    /// If an option is not finite or out of range.
    pub fn build(&self, n_params: usize) -> Result<Adam, Error> {
        let decay = Decay::InGradient(self.weight_decay);
        let moments = Moments::new(NAME, [self.beta1, self.beta2], self.eps, decay, n_params)?;
        Ok(Adam { moments })
    }
}

/// Adam as in `torch.optim.Adam`.
///
/// ```text
/// d = g + weight_decay·p
/// m = beta1·m + (1 − beta1)·d
/// v = beta2·v + (1 − beta2)·d²
/// p = p − lr · m/(1 − beta1^t) / (√(v/(1 − beta2^t)) + eps)       t = 1, 2, …
/// ```
/// Kingma and Ba, <https://arxiv.org/abs/1412.6980>. The decay passes through the moments, so that
/// weights with large gradients decay less; [`AdamW`](crate::AdamW) has it apart.
///
/// ```
/// use optim::{AdamConfig, Optimizer};
///
/// let mut adam = AdamConfig::default().build(2)?;
/// let mut params = [1.0, 1.0];
/// adam.step(&mut params, &[100.0, -0.01], 0.5);
/// // The first step has length lr, whatever the gradient's scale.
/// assert!((params[0] - 0.5).abs() < 1e-4 && (params[1] - 1.5).abs() < 1e-4);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    moments: Moments,
}

impl Optimizer for Adam {
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32) {
        self.moments.step(params, grads, lr);
    }

    fn state(&self) -> State {
        self.moments.state()
    }

    fn load_state(&mut self, state: &State) -> Result<(), Error> {
        self.moments.load_state(state)
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let ok = AdamConfig::default();
        assert!(ok.build(0).is_ok());
        for bad in [
            AdamConfig { beta1: 1.0, ..ok },
            AdamConfig { beta2: -0.1, ..ok },
            AdamConfig { eps: f32::NAN, ..ok },
            AdamConfig { weight_decay: -1.0, ..ok },
        ] {
            assert!(bad.build(1).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn decay_acts_through_the_moments() {
        let mut adam = AdamConfig { weight_decay: 0.1, ..AdamConfig::default() }.build(1).unwrap();
        let mut params = [2.0];
        adam.step(&mut params, &[0.0], 0.01);
        // The penalty's gradient 0.2 is all there is: a full step of lr.
        testkit::assert_close("params", &params, &[1.99], 1e-6, 0.0);
    }

    #[test]
    #[should_panic(
        expected = "params has 1 and grads has 1 elements, the optimizer was built for 2"
    )]
    fn lengths_must_agree() {
        AdamConfig::default().build(2).unwrap().step(&mut [0.0], &[0.0], 0.1);
    }
}
