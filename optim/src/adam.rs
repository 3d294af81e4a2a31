//! Adam, with weight decay as an L2 penalty.

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

/// Options of [`Adam`]; the default is the paper's, 0.9, 0.999, 1e-8 and no weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct AdamConfig {
    /// Decay of the mean of gradients, at least 0 and below 1.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, at least 0 and below 1.
    pub beta2: f64,
    /// Added to the root of the second moment, at least 0.
    pub eps: f32,
    /// L2 penalty that is added to the gradient, at least 0.
    pub weight_decay: f32,
    /// Whether the moments are divided by `1 − beta^t`; `FedAdam` leaves that out.
    pub bias_correction: bool,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, bias_correction: true }
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
/// weights with large gradients decay less; [`AdamW`](crate::AdamW) has it apart. Without bias
/// correction it is the server's step of `FedAdam`, <https://arxiv.org/abs/2003.00295>.
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
pub type Adam = Fused<AdamConfig>;

builds!(AdamConfig, Adam);

impl Rule for AdamConfig {
    const NAME: &'static str = "adam";
    type Factors = Moments;

    fn check(&self) -> Result<(), Error> {
        check_moments(Self::NAME, [self.beta1, self.beta2], self.eps, self.weight_decay)
    }

    fn slots(&self) -> Vec<Slot> {
        slots(0.0)
    }

    fn factors(&self, _: &[f64], step: Step) -> Moments {
        let betas = [self.beta1, self.beta2];
        let moments = Moments::new(betas, self.eps, step);
        let moments = if self.bias_correction { moments.corrected(betas, step) } else { moments };
        moments.decayed(DecayKind::L2, step.decay(self.weight_decay), step)
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Moments, p: &mut Lanes<S>, g: Lanes<S>, [m, v, _]: &mut Kept<S>) {
        let d = f.penalized(g, *p);
        f.mean(m, d);
        f.mean_square(v, d);
        *p = f.moved(*p, *m, *v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Optimizer;

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
