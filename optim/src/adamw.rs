//! Adam with decoupled weight decay: the decay stays apart from the gradient.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::Simd;

use crate::Error;
use crate::checks::check_moments;
use crate::decay::DecayKind;
use crate::fused::{Fused, builds};
use crate::lanes::Lanes;
use crate::moments::{Moments, slots};
use crate::rule::{Kept, Rule};
use crate::slot::Slot;
use crate::step::Step;

/// Options of [`AdamW`]; the default is that of `torch`, 0.9, 0.999, 1e-8 and weight decay 0.01.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct AdamWConfig {
    /// Decay of the mean of gradients, at least 0 and below 1.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, at least 0 and below 1.
    pub beta2: f64,
    /// Added to the root of the second moment, at least 0.
    pub eps: f32,
    /// Share of each weight that is taken off per step and unit of learning rate, at least 0.
    pub weight_decay: f32,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

/// Adam with decoupled weight decay, as in `torch.optim.AdamW`.
///
/// ```text
/// m = beta1·m + (1 − beta1)·g
/// v = beta2·v + (1 − beta2)·g²
/// p = p·(1 − lr·weight_decay) − lr · m/(1 − beta1^t) / (√(v/(1 − beta2^t)) + eps)    t = 1, 2, …
/// ```
/// Loshchilov and Hutter, <https://arxiv.org/abs/1711.05101>. As in `torch` and unlike the paper's
/// notation, the decay is scaled by the scheduled learning rate.
///
/// ```
/// use optim::{AdamWConfig, Optimizer};
///
/// let mut adamw = AdamWConfig { weight_decay: 0.5, ..AdamWConfig::default() }.build(1)?;
/// let mut params = [1.0];
/// adamw.step(&mut params, &[0.0], 0.5);
/// // Without a gradient only the decay acts: 1 · (1 − 0.5·0.5).
/// assert_eq!(params, [0.75]);
/// # Ok::<(), optim::Error>(())
/// ```
pub type AdamW = Fused<AdamWConfig>;

builds!(AdamWConfig, AdamW);

impl Rule for AdamWConfig {
    const NAME: &'static str = "adamw";
    type Factors = Moments;

    fn check(&self) -> Result<(), Error> {
        check_moments(Self::NAME, [self.beta1, self.beta2], self.eps, self.weight_decay)
    }

    fn slots(&self) -> Vec<Slot> {
        slots(0.0)
    }

    fn factors(&self, _: &[f64], step: Step) -> Moments {
        let betas = [self.beta1, self.beta2];
        let moments = Moments::new(betas, self.eps, step).corrected(betas, step);
        moments.decayed(DecayKind::Decoupled, step.decay(self.weight_decay), step)
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Moments, p: &mut Lanes<S>, g: Lanes<S>, [m, v, _]: &mut Kept<S>) {
        f.mean(m, g);
        f.mean_square(v, g);
        *p = f.moved(*p, *m, *v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Optimizer;

    #[test]
    fn options_are_checked() {
        let ok = AdamWConfig::default();
        assert!(ok.build(0).is_ok());
        for bad in [
            AdamWConfig { beta1: f64::NAN, ..ok },
            AdamWConfig { beta2: 1.0, ..ok },
            AdamWConfig { eps: -1e-8, ..ok },
            AdamWConfig { weight_decay: f32::INFINITY, ..ok },
        ] {
            assert!(bad.build(1).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn without_decay_it_is_adam() {
        let mut adamw =
            AdamWConfig { weight_decay: 0.0, ..AdamWConfig::default() }.build(3).unwrap();
        let mut adam = crate::AdamConfig::default().build(3).unwrap();
        let (mut a, mut b) = ([1.0, -2.0, 3.0], [1.0, -2.0, 3.0]);
        for seed in 0..10 {
            let grads = testkit::sequence(seed, 3);
            adamw.step(&mut a, &grads, 0.01);
            adam.step(&mut b, &grads, 0.01);
        }
        testkit::assert_same_bits("params", &a, &b);
    }

    #[test]
    fn a_state_of_adam_is_refused() {
        let adam = crate::AdamConfig::default().build(1).unwrap();
        let mut adamw = AdamWConfig::default().build(1).unwrap();
        let message = adamw.load_state(&adam.state()).unwrap_err().to_string();
        assert_eq!(message, "the state belongs to optimizer \"adam\", expected \"adamw\"");
    }
}
