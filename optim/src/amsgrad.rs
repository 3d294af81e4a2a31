//! AMSGrad: Adam that divides by the largest second moment so far.

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
use crate::moments::Moments;
use crate::rule::{Kept, Rule};
use crate::slot::Slot;
use crate::step::Step;

/// Options of [`AmsGrad`]; the default is that of [`AdamConfig`](crate::AdamConfig).
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct AmsGradConfig {
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
}

impl Default for AmsGradConfig {
    fn default() -> Self {
        let decay = DecayKind::L2;
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay }
    }
}

/// AMSGrad as in `torch.optim.Adam(amsgrad=True)`, with decoupled decay as in `AdamW(amsgrad=True)`.
///
/// ```text
/// m = beta1·m + (1 − beta1)·g
/// v = beta2·v + (1 − beta2)·g²
/// w = max(w, v)
/// p = p − lr · m/(1 − beta1^t) / (√(w/(1 − beta2^t)) + eps)       t = 1, 2, …
/// ```
/// The step never grows again where gradients were large once. Reddi et
/// al., <https://arxiv.org/abs/1904.09237>.
///
/// ```
/// use optim::{AmsGradConfig, Optimizer};
///
/// let mut amsgrad = AmsGradConfig { beta1: 0.0, beta2: 0.0, ..Default::default() }.build(1)?;
/// let mut params = [0.0];
/// amsgrad.step(&mut params, &[10.0], 0.5);
/// amsgrad.step(&mut params, &[1.0], 0.5); // a tenth of the first step
/// assert!((params[0] + 0.55).abs() < 1e-6);
/// # Ok::<(), optim::Error>(())
/// ```
pub type AmsGrad = Fused<AmsGradConfig>;

builds!(AmsGradConfig, AmsGrad);

impl Rule for AmsGradConfig {
    const NAME: &'static str = "amsgrad";
    type Factors = Moments;

    fn check(&self) -> Result<(), Error> {
        check_moments(Self::NAME, [self.beta1, self.beta2], self.eps, self.weight_decay)
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::signed("exp_avg"), Slot::squared("exp_avg_sq"), Slot::squared("max_exp_avg_sq")]
    }

    fn factors(&self, _: &[f64], step: Step) -> Moments {
        let betas = [self.beta1, self.beta2];
        let moments = Moments::new(betas, self.eps, step).corrected(betas, step);
        moments.decayed(self.decay, step.decay(self.weight_decay), step)
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Moments, p: &mut Lanes<S>, g: Lanes<S>, [m, v, w]: &mut Kept<S>) {
        let d = f.penalized(g, *p);
        f.mean(m, d);
        f.mean_square(v, d);
        *w = w.max(*v);
        *p = f.moved(*p, *m, *w);
    }
}
