//! Stochastic gradient descent with momentum, dampening, Nesterov's variant and weight decay.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::Simd;

use crate::Error;
use crate::checks::{check_beta, check_decay, check_option};
use crate::fused::{Fused, builds};
use crate::lanes::Lanes;
use crate::rule::{Kept, Rule};
use crate::slot::Slot;
use crate::step::Step;

/// Options of [`Sgd`]; the default is plain gradient descent, all zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
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
pub type Sgd = Fused<SgdConfig>;

builds!(SgdConfig, Sgd);

#[derive(Debug, Clone, Copy)]
pub struct Factors {
    lr: f32,
    weight_decay: f32,
    /// Shares of the old buffer and of the gradient in the new buffer.
    kept: f32,
    added: f32,
    /// Share of the buffer in the direction, beside `own` of the gradient.
    momentum: f32,
    own: f32,
}

impl Rule for SgdConfig {
    const NAME: &'static str = "sgd";
    type Factors = Factors;

    fn check(&self) -> Result<(), Error> {
        let (owner, dampening) = (Self::NAME, self.dampening);
        check_beta(owner, "momentum", self.momentum)?;
        check_option(
            owner,
            "dampening",
            dampening,
            |v| (0.0..=1.0).contains(&v),
            "between 0 and 1",
        )?;
        check_decay(owner, self.weight_decay)?;
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            let conflict = "nesterov needs momentum above 0 and dampening 0";
            return Err(Error::Conflict { owner, conflict });
        }
        Ok(())
    }

    fn slots(&self) -> Vec<Slot> {
        if self.momentum == 0.0 { vec![] } else { vec![Slot::signed("momentum_buffer")] }
    }

    fn factors(&self, _: &[f64], step: Step) -> Factors {
        // The buffer of a first step is all zeros, so that 0·buf + 1·d is d.
        let (kept, added) =
            if step.number == 1 { (0.0, 1.0) } else { (self.momentum, 1.0 - self.dampening) };
        let (own, momentum) = match (self.momentum == 0.0, self.nesterov) {
            (true, _) => (1.0, 0.0),
            (false, true) => (1.0, self.momentum),
            (false, false) => (0.0, 1.0),
        };
        let weight_decay = step.decay(self.weight_decay) as f32;
        Factors { lr: step.lr as f32, weight_decay, kept, added, momentum, own }
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Factors, p: &mut Lanes<S>, g: Lanes<S>, [buf, ..]: &mut Kept<S>) {
        let d = g + f.weight_decay * *p;
        *buf = f.kept * *buf + f.added * d;
        *p = *p - f.lr * (f.own * d + f.momentum * *buf);
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;
    use crate::Optimizer;

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
