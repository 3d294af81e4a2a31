//! NAdam: Adam with Nesterov's momentum.

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

/// Options of [`NAdam`]; the default is that of `torch`, 0.9, 0.999, 1e-8, momentum decay 0.004.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct NAdamConfig {
    /// Decay of the mean of gradients, at least 0 and below 1.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, at least 0 and below 1.
    pub beta2: f64,
    /// Added to the root of the second moment, at least 0.
    pub eps: f32,
    /// How fast the momentum warms up to `beta1`, at least 0.
    pub momentum_decay: f32,
    /// Weight decay, at least 0.
    pub weight_decay: f32,
    /// How the decay enters the step.
    pub decay: DecayKind,
}

impl Default for NAdamConfig {
    fn default() -> Self {
        let decay = DecayKind::L2;
        let (momentum_decay, weight_decay) = (4e-3, 0.0);
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, momentum_decay, weight_decay, decay }
    }
}

/// NAdam as in `torch.optim.NAdam`.
///
/// ```text
/// mu_t = beta1·(1 − 0.96^(t·momentum_decay)/2)            t = 1, 2, …
/// m = beta1·m + (1 − beta1)·g
/// v = beta2·v + (1 − beta2)·g²
/// n = mu_(t+1)·m/(1 − Π mu up to t+1) + (1 − mu_t)·g/(1 − Π mu up to t)
/// p = p − lr · n / (√(v/(1 − beta2^t)) + eps)
/// ```
/// Dozat, <https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ>.
///
/// ```
/// use optim::{NAdamConfig, Optimizer};
///
/// let mut nadam = NAdamConfig::default().build(1)?;
/// let mut params = [1.0];
/// for _ in 0..100 {
///     let grads = [2.0 * params[0]];
///     nadam.step(&mut params, &grads, 0.1);
/// }
/// assert!(params[0].abs() < 0.01);
/// # Ok::<(), optim::Error>(())
/// ```
pub type NAdam = Fused<NAdamConfig>;

builds!(NAdamConfig, NAdam);

#[derive(Debug, Clone, Copy)]
pub struct Factors {
    moments: Moments,
    /// What the gradient and the mean count in the step.
    of_gradient: f32,
    of_mean: f32,
    /// What the second moment is multiplied by, `1/(1 − beta2^t)`. As in `torch` inside the root:
    /// it overflows for gradients of 1e20, which are then left out.
    square_scale: f32,
}

impl NAdamConfig {
    /// The momentum of step `t`.
    fn mu(&self, t: f64) -> f64 {
        let warm_up = 0.96_f64.powf(t * f64::from(self.momentum_decay));
        self.beta1 * (1.0 - 0.5 * warm_up)
    }
}

impl Rule for NAdamConfig {
    const NAME: &'static str = "nadam";
    type Factors = Factors;

    fn check(&self) -> Result<(), Error> {
        check_moments(Self::NAME, [self.beta1, self.beta2], self.eps, self.weight_decay)?;
        let momentum_decay = self.momentum_decay;
        check_option(Self::NAME, "momentum_decay", momentum_decay, |v| v >= 0.0, "at least 0")
    }

    fn slots(&self) -> Vec<Slot> {
        slots(0.0)
    }

    fn scalars(&self) -> &'static [(&'static str, f64)] {
        &[("mu_product", 1.0)]
    }

    fn advance(&self, scalars: &mut [f64], step: Step) {
        scalars[0] *= self.mu(step.number as f64);
    }

    fn factors(&self, scalars: &[f64], step: Step) -> Factors {
        let t = step.number as f64;
        let (mu, next, product) = (self.mu(t), self.mu(t + 1.0), scalars[0]);
        let betas = [self.beta1, self.beta2];
        let moments = Moments::new(betas, self.eps, step);
        Factors {
            moments: moments.decayed(self.decay, step.decay(self.weight_decay), step),
            of_gradient: (step.lr * (1.0 - mu) / (1.0 - product)) as f32,
            of_mean: (step.lr * next / (1.0 - product * next)) as f32,
            square_scale: (1.0 / step.correction(self.beta2)) as f32,
        }
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Factors, p: &mut Lanes<S>, g: Lanes<S>, [m, v, _]: &mut Kept<S>) {
        let d = f.moments.penalized(g, *p);
        f.moments.mean(m, d);
        f.moments.mean_square(v, d);
        let direction = f.of_gradient * d + f.of_mean * *m;
        *p = f.moments.kept(*p) - direction / f.moments.root(f.square_scale * *v);
    }
}
