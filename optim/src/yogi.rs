//! Yogi: Adam whose second moment moves by as much as the gradient's square, not by their ratio.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::Simd;

use crate::Error;
use crate::checks::{check_moments, check_option};
use crate::decay::DecayKind;
use crate::fused::{Fused, builds};
use crate::lanes::Lanes;
use crate::moments::{Moments, slots};
use crate::rule::{Kept, Rule};
use crate::slot::Slot;
use crate::step::Step;

/// Options of [`Yogi`]; the default is the paper's, 0.9, 0.999, 1e-3.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct YogiConfig {
    /// Decay of the mean of gradients, at least 0 and below 1.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, at least 0 and below 1.
    pub beta2: f64,
    /// Added to the root of the second moment, at least 0.
    pub eps: f32,
    /// Weight decay, at least 0.
    pub weight_decay: f32,
    /// How the decay enters the step.
    pub decay: DecayKind,
    /// The second moment before the first step, at least 0.
    pub initial_accumulator: f32,
    /// Whether the moments are divided by `1 − beta^t`; the paper leaves that out.
    pub bias_correction: bool,
}

impl Default for YogiConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-3,
            weight_decay: 0.0,
            decay: DecayKind::L2,
            initial_accumulator: 0.0,
            bias_correction: false,
        }
    }
}

/// Yogi, by the paper's algorithm.
///
/// ```text
/// m = beta1·m + (1 − beta1)·g
/// v = v − (1 − beta2)·sign(v − g²)·g²
/// p = p − lr · m / (√v + eps)
/// ```
/// Where gradients become small, `v` falls slowly, and the step does not explode. Zaheer et al.,
/// <https://papers.nips.cc/paper/8186-adaptive-methods-for-nonconvex-optimization>.
///
/// ```
/// use optim::{Optimizer, YogiConfig};
///
/// let mut yogi = YogiConfig { beta1: 0.0, beta2: 0.0, eps: 0.0, ..Default::default() }.build(1)?;
/// let mut params = [0.0];
/// yogi.step(&mut params, &[2.0], 0.5); // v = 4
/// assert_eq!(params, [-0.5]);
/// yogi.step(&mut params, &[1.0], 0.5); // v = 3, where Adam has 1
/// assert!((params[0] + 0.5 + 0.5 / 3_f32.sqrt()).abs() < 1e-6);
/// # Ok::<(), optim::Error>(())
/// ```
pub type Yogi = Fused<YogiConfig>;

builds!(YogiConfig, Yogi);

impl Rule for YogiConfig {
    const NAME: &'static str = "yogi";
    type Factors = Moments;

    fn check(&self) -> Result<(), Error> {
        check_moments(Self::NAME, [self.beta1, self.beta2], self.eps, self.weight_decay)?;
        let initial = self.initial_accumulator;
        check_option(Self::NAME, "initial_accumulator", initial, |v| v >= 0.0, "at least 0")
    }

    fn slots(&self) -> Vec<Slot> {
        slots(self.initial_accumulator)
    }

    fn factors(&self, _: &[f64], step: Step) -> Moments {
        let betas = [self.beta1, self.beta2];
        let moments = Moments::new(betas, self.eps, step);
        let moments = if self.bias_correction { moments.corrected(betas, step) } else { moments };
        moments.decayed(self.decay, step.decay(self.weight_decay), step)
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Moments, p: &mut Lanes<S>, g: Lanes<S>, [m, v, _]: &mut Kept<S>) {
        let d = f.penalized(g, *p);
        f.mean(m, d);
        f.yogi_square(v, d);
        *p = f.moved(*p, *m, *v);
    }
}
