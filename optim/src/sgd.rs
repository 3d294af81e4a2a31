//! Stochastic gradient descent with momentum, dampening, Nesterov's variant and weight decay.

use serde::{Deserialize, Serialize};

use crate::error::check_option;
use crate::optimizer::check_lengths;
use crate::{Error, Optimizer, State};

pub(crate) const NAME: &str = "sgd";
const BUFFER: &str = "momentum_buffer";

/// Options of [`Sgd`]; the default is plain gradient descent, all zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// Share of the last direction that is kept, at least 0 and below 1.
    pub momentum: f32,
    /// Share of the gradient that is left out of the momentum buffer, in 0 to 1.
    pub dampening: f32,
    /// Whether to look ahead: step along `d + momentum·buf` instead of `buf`.
    pub nesterov: bool,
    /// L2 penalty that is added to the gradient, at least 0.
    pub weight_decay: f32,
}

impl SgdConfig {
    /// An optimizer for `n_params` parameters that has not taken a step.
    ///
    /// # Errors
    /// If an option is not finite or out of range, or if `nesterov` is set without momentum or with
    /// dampening.
    pub fn build(&self, n_params: usize) -> Result<Sgd, Error> {
        check_option(
            NAME,
            "momentum",
            self.momentum,
            |v| (0.0..1.0).contains(&v),
            "at least 0 and below 1",
        )?;
        check_option(
            NAME,
            "dampening",
            self.dampening,
            |v| (0.0..=1.0).contains(&v),
            "between 0 and 1",
        )?;
        check_option(NAME, "weight_decay", self.weight_decay, |v| v >= 0.0, "at least 0")?;
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            let conflict = "nesterov needs momentum above 0 and dampening 0";
            return Err(Error::Conflict { owner: NAME, conflict });
        }
        let buffer = if self.momentum == 0.0 { None } else { Some(vec![0.0; n_params]) };
        Ok(Sgd { config: *self, n_params, step: 0, buffer })
    }
}

/// Stochastic gradient descent as in `torch.optim.SGD`.
///
/// ```text
/// d   = g + weight_decay·p
/// buf = d                                   first step
///       momentum·buf + (1 − dampening)·d    later
/// p   = p − lr·d                            without momentum
///       p − lr·buf                          with momentum
///       p − lr·(d + momentum·buf)           with nesterov
/// ```
/// The first step takes the whole gradient into the buffer even with dampening, as `torch` does.
/// Sutskever et al., <https://proceedings.mlr.press/v28/sutskever13.html>.
///
/// ```
/// use optim::{Optimizer, SgdConfig};
///
/// let mut sgd = SgdConfig { momentum: 0.5, ..SgdConfig::default() }.build(1)?;
/// let mut params = [1.0];
/// sgd.step(&mut params, &[1.0], 0.5); // buffer 1, step 0.5
/// sgd.step(&mut params, &[1.0], 0.5); // buffer 1.5, step 0.75
/// assert_eq!(params, [-0.25]);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Sgd {
    config: SgdConfig,
    n_params: usize,
    step: u64,
    /// Present exactly if there is momentum.
    buffer: Option<Vec<f32>>,
}

impl Optimizer for Sgd {
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32) {
        check_lengths(self.n_params, params, grads);
        let SgdConfig { momentum, dampening, nesterov, weight_decay } = self.config;
        if let Some(buffer) = &mut self.buffer {
            // The buffer of a first step is all zeros, so that 0·buf + 1·d is d.
            let (kept, added) =
                if self.step == 0 { (0.0, 1.0) } else { (momentum, 1.0 - dampening) };
            let cells = params.iter_mut().zip(grads).zip(buffer);
            if nesterov {
                for ((p, &g), b) in cells {
                    let d = g + weight_decay * *p;
                    *b = kept * *b + added * d;
                    *p -= lr * (d + momentum * *b);
                }
            } else {
                for ((p, &g), b) in cells {
                    let d = g + weight_decay * *p;
                    *b = kept * *b + added * d;
                    *p -= lr * *b;
                }
            }
        } else {
            for (p, &g) in params.iter_mut().zip(grads) {
                *p -= lr * (g + weight_decay * *p);
            }
        }
        self.step = self.step.saturating_add(1);
    }

    fn state(&self) -> State {
        match &self.buffer {
            Some(buffer) => State::of(NAME, self.step, &[(BUFFER, buffer)]),
            None => State::of(NAME, self.step, &[]),
        }
    }

    fn load_state(&mut self, state: &State) -> Result<(), Error> {
        if let Some(buffer) = &mut self.buffer {
            let [saved] = state.expect(NAME, [BUFFER], self.n_params)?;
            buffer.copy_from_slice(saved);
        } else {
            state.expect(NAME, [], self.n_params)?;
        }
        self.step = state.step;
        Ok(())
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_ignores_dampening() {
        let config = SgdConfig { momentum: 0.5, dampening: 1.0, ..SgdConfig::default() };
        let mut sgd = config.build(1).unwrap();
        let mut params = [0.0];
        sgd.step(&mut params, &[1.0], 1.0);
        assert_eq!(params, [-1.0]);
        sgd.step(&mut params, &[8.0], 1.0);
        assert_eq!(params, [-1.5]);
    }

    #[test]
    fn a_loaded_state_of_step_zero_starts_afresh() {
        let config = SgdConfig { momentum: 0.5, dampening: 0.5, ..SgdConfig::default() };
        let mut sgd = config.build(1).unwrap();
        let fresh = sgd.state();
        sgd.step(&mut [0.0], &[1.0], 1.0);
        sgd.load_state(&fresh).unwrap();
        let mut params = [0.0];
        sgd.step(&mut params, &[1.0], 1.0);
        assert_eq!(params, [-1.0]);
    }

    #[test]
    fn momentum_and_plain_states_do_not_mix() {
        let plain = SgdConfig::default().build(2).unwrap();
        let heavy = SgdConfig { momentum: 0.9, ..SgdConfig::default() }.build(2).unwrap();
        let message = plain.clone().load_state(&heavy.state()).unwrap_err().to_string();
        assert!(message.contains("unexpected tensor \"momentum_buffer\""), "{message}");
        let message = heavy.clone().load_state(&plain.state()).unwrap_err().to_string();
        assert!(message.contains("no tensor \"momentum_buffer\""), "{message}");
    }

    #[test]
    fn options_are_checked() {
        let ok = SgdConfig { momentum: 0.9, nesterov: true, ..SgdConfig::default() };
        assert!(ok.build(1).is_ok());
        for bad in [
            SgdConfig { momentum: 1.0, ..ok },
            SgdConfig { momentum: f32::NAN, ..ok },
            SgdConfig { momentum: 0.0, ..ok },
            SgdConfig { dampening: 0.1, ..ok },
            SgdConfig { dampening: 1.5, nesterov: false, ..ok },
            SgdConfig { weight_decay: -0.1, ..ok },
            SgdConfig { weight_decay: f32::INFINITY, ..ok },
        ] {
            assert!(bad.build(1).is_err(), "{bad:?}");
        }
    }

    #[test]
    #[should_panic(
        expected = "params has 2 and grads has 3 elements, the optimizer was built for 2"
    )]
    fn lengths_must_agree() {
        SgdConfig::default().build(2).unwrap().step(&mut [0.0; 2], &[0.0; 3], 0.1);
    }
}
