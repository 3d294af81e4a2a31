//! RAdam: Adam whose step waits for a second moment that can be trusted.

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

/// Options of [`RAdam`]; the default is that of `torch`, 0.9, 0.999, 1e-8 and no weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RAdamConfig {
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

impl Default for RAdamConfig {
    fn default() -> Self {
        let decay = DecayKind::L2;
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay }
    }
}

/// Rectified Adam as in `torch.optim.RAdam`.
///
/// ```text
/// m = beta1·m + (1 − beta1)·g
/// v = beta2·v + (1 − beta2)·g²
/// R = 2/(1 − beta2) − 1
/// r = R − 2·t·beta2^t/(1 − beta2^t)                                t = 1, 2, …
/// p = p − lr·m/(1 − beta1^t)                                       while r ≤ 5
///     p − lr·m/(1 − beta1^t)·√((r−4)(r−2)R/((R−4)(R−2)r)) · √(1 − beta2^t)/(√v + eps)
/// ```
/// Liu et al., <https://arxiv.org/abs/1908.03265>.
///
/// ```
/// use optim::{Optimizer, RAdamConfig};
///
/// let mut radam = RAdamConfig::default().build(1)?;
/// let mut params = [1.0];
/// radam.step(&mut params, &[4.0], 0.1);
/// // The first steps are those of the mean alone.
/// assert!((params[0] - 0.6).abs() < 1e-6);
/// # Ok::<(), optim::Error>(())
/// ```
pub type RAdam = Fused<RAdamConfig>;

builds!(RAdamConfig, RAdam);

#[derive(Debug, Clone, Copy)]
pub struct Factors {
    moments: Moments,
    /// What the mean is multiplied by.
    step_size: f32,
    /// Whether it is divided by the root of the second moment.
    rectified: bool,
}

impl Rule for RAdamConfig {
    const NAME: &'static str = "radam";
    type Factors = Factors;

    fn check(&self) -> Result<(), Error> {
        check_moments(Self::NAME, [self.beta1, self.beta2], self.eps, self.weight_decay)
    }

    fn slots(&self) -> Vec<Slot> {
        slots(0.0)
    }

    fn factors(&self, _: &[f64], step: Step) -> Factors {
        let betas = [self.beta1, self.beta2];
        let correction = step.correction(self.beta2);
        let longest = 2.0 / (1.0 - self.beta2) - 1.0;
        let length = longest - 2.0 * step.number as f64 * (1.0 - correction) / correction;
        let rectified = length > 5.0;
        let share = |length: f64| (length - 4.0) * (length - 2.0) / length;
        let trust =
            if rectified { (share(length) / share(longest) * correction).sqrt() } else { 1.0 };
        let moments = Moments::new(betas, self.eps, step);
        Factors {
            moments: moments.decayed(self.decay, step.decay(self.weight_decay), step),
            step_size: (step.lr / step.correction(self.beta1) * trust) as f32,
            rectified,
        }
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Factors, p: &mut Lanes<S>, g: Lanes<S>, [m, v, _]: &mut Kept<S>) {
        let d = f.moments.penalized(g, *p);
        f.moments.mean(m, d);
        f.moments.mean_square(v, d);
        let step = f.step_size * *m;
        let step = if f.rectified { step / f.moments.root(*v) } else { step };
        *p = f.moments.kept(*p) - step;
    }
}
