//! Lion: every parameter moves by the learning rate, along the sign of an interpolated momentum.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::Simd;

use crate::Error;
use crate::checks::{check_betas, check_decay};
use crate::fused::{Fused, builds};
use crate::lanes::Lanes;
use crate::moments::Mean;
use crate::rule::{Kept, Rule};
use crate::slot::Slot;
use crate::step::Step;

/// Options of [`Lion`]; the default is the paper's, 0.9 and 0.99, and no weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct LionConfig {
    /// Share of the momentum in the direction, at least 0 and below 1.
    pub beta1: f64,
    /// Decay of the momentum, at least 0 and below 1.
    pub beta2: f64,
    /// Share of each weight that is taken off per step and unit of learning rate, at least 0.
    pub weight_decay: f32,
}

impl Default for LionConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.99, weight_decay: 0.0 }
    }
}

/// Lion, by the paper's algorithm; its learning rate is 3 to 10 times smaller than `AdamW`'s, its
/// weight decay as much larger.
///
/// ```text
/// c = beta1·m + (1 − beta1)·g
/// p = p − lr·(sign(c) + weight_decay·p)
/// m = beta2·m + (1 − beta2)·g
/// ```
/// Chen et al., <https://arxiv.org/abs/2302.06675>. The sign of 0 is 0.
///
/// ```
/// use optim::{LionConfig, Optimizer};
///
/// let mut lion = LionConfig::default().build(3)?;
/// let mut params = [1.0; 3];
/// lion.step(&mut params, &[1e-20, -1e20, 0.0], 0.25);
/// assert_eq!(params, [0.75, 1.25, 1.0]);
/// # Ok::<(), optim::Error>(())
/// ```
pub type Lion = Fused<LionConfig>;

builds!(LionConfig, Lion);

#[derive(Debug, Clone, Copy)]
pub struct Factors {
    lr: f32,
    keep: f32,
    direction: Mean,
    mean: Mean,
}

impl Rule for LionConfig {
    const NAME: &'static str = "lion";
    type Factors = Factors;

    fn check(&self) -> Result<(), Error> {
        check_betas(Self::NAME, self.beta1, self.beta2)?;
        check_decay(Self::NAME, self.weight_decay)
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::signed("exp_avg")]
    }

    fn factors(&self, _: &[f64], step: Step) -> Factors {
        Factors {
            lr: step.lr as f32,
            keep: (1.0 - step.lr * step.decay(self.weight_decay)) as f32,
            direction: Mean::new(self.beta1),
            mean: Mean::new(self.beta2),
        }
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Factors, p: &mut Lanes<S>, g: Lanes<S>, [m, ..]: &mut Kept<S>) {
        let direction = f.direction.of(*m, g);
        *p = f.keep * *p - f.lr * direction.sign();
        *m = f.mean.of(*m, g);
    }
}
