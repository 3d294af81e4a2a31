//! Adagrad: every parameter's rate falls with the squares of its own gradients.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::Simd;

use crate::Error;
use crate::checks::{check_decay, check_eps, check_option};
use crate::fused::{Fused, builds};
use crate::lanes::Lanes;
use crate::rule::{Kept, Rule};
use crate::slot::Slot;
use crate::step::Step;

/// Options of [`Adagrad`]; the default is that of `torch`: eps 1e-10, all else zero.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct AdagradConfig {
    /// How fast the learning rate falls for all, at least 0.
    pub lr_decay: f32,
    /// Added to the root of the sum, at least 0.
    pub eps: f32,
    /// L2 penalty that is added to the gradient, at least 0.
    pub weight_decay: f32,
    /// The sum of squares before the first step, at least 0.
    pub initial_accumulator: f32,
}

impl Default for AdagradConfig {
    fn default() -> Self {
        Self { lr_decay: 0.0, eps: 1e-10, weight_decay: 0.0, initial_accumulator: 0.0 }
    }
}

/// Adagrad as in `torch.optim.Adagrad`.
///
/// ```text
/// d = g + weight_decay·p
/// v = v + d²
/// p = p − lr/(1 + (t − 1)·lr_decay) · d / (√v + eps)       t = 1, 2, …
/// ```
/// Duchi et al., <https://jmlr.org/papers/v12/duchi11a.html>.
///
/// ```
/// use optim::{AdagradConfig, Optimizer};
///
/// let mut adagrad = AdagradConfig::default().build(1)?;
/// let mut params = [0.0];
/// adagrad.step(&mut params, &[3.0], 0.5); // v = 9
/// adagrad.step(&mut params, &[4.0], 0.5); // v = 25
/// assert!((params[0] + 0.5 + 0.4).abs() < 1e-6);
/// # Ok::<(), optim::Error>(())
/// ```
pub type Adagrad = Fused<AdagradConfig>;

builds!(AdagradConfig, Adagrad);

#[derive(Debug, Clone, Copy)]
pub struct Factors {
    lr: f32,
    eps: f32,
    weight_decay: f32,
}

impl Rule for AdagradConfig {
    const NAME: &'static str = "adagrad";
    type Factors = Factors;

    fn check(&self) -> Result<(), Error> {
        let lr_decay = self.lr_decay;
        check_option(Self::NAME, "lr_decay", lr_decay, |v| v >= 0.0, "at least 0")?;
        check_eps(Self::NAME, self.eps)?;
        let initial = self.initial_accumulator;
        check_option(Self::NAME, "initial_accumulator", initial, |v| v >= 0.0, "at least 0")?;
        check_decay(Self::NAME, self.weight_decay)
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::squared("sum").starting_at(self.initial_accumulator)]
    }

    fn factors(&self, _: &[f64], step: Step) -> Factors {
        let slowed = 1.0 + (step.number as f64 - 1.0) * f64::from(self.lr_decay);
        let weight_decay = step.decay(self.weight_decay) as f32;
        Factors { lr: (step.lr / slowed) as f32, eps: self.eps, weight_decay }
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Factors, p: &mut Lanes<S>, g: Lanes<S>, [sum, ..]: &mut Kept<S>) {
        let d = g + f.weight_decay * *p;
        *sum = *sum + d * d;
        *p = *p - f.lr * d / (sum.sqrt() + f.eps);
    }
}
