//! Schedule-free AdamW: averaging of iterates in the place of a schedule.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::Simd;

use crate::Error;
use crate::checks::{check_moments, check_option};
use crate::fused::{Fused, builds};
use crate::lanes::Lanes;
use crate::rule::{Kept, Rule};
use crate::slot::Slot;
use crate::step::Step;

/// Options of [`ScheduleFreeAdamW`]; the default is that of the authors' code.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ScheduleFreeAdamWConfig {
    /// Where between the last iterate (0) and their average (1) gradients are taken; above 0 and
    /// below 1.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, at least 0 and below 1.
    pub beta2: f64,
    /// Added to the root of the second moment, at least 0.
    pub eps: f32,
    /// Weight decay at the point where gradients are taken, at least 0.
    pub weight_decay: f32,
    /// Steps over which the learning rate rises linearly.
    pub warmup_steps: u64,
    /// Iterates count in the average as their step to this power, 0 to 10.
    pub r: f32,
    /// And as the largest learning rate so far to this power, 0 to 10.
    pub weight_lr_power: f32,
}

impl Default for ScheduleFreeAdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            warmup_steps: 0,
            r: 0.0,
            weight_lr_power: 2.0,
        }
    }
}

/// Schedule-free `AdamW`: three points, of which the optimizer is given `y`, where gradients are
/// taken, and keeps `z`, that makes the steps; their average `x` is the model to use.
///
/// ```text
/// lr_t = lr·min(1, t/warmup_steps)          w_t = t^r · (max lr so far)^weight_lr_power
/// c = w_t / Σ w                                                       t = 1, 2, …
/// v = beta2·v + (1 − beta2)·g²
/// u = g/(√(v/(1 − beta2^t)) + eps) + weight_decay·y
/// y = (1 − c)·y + c·z − lr_t·(1 − beta1·(1 − c))·u
/// z = z − lr_t·u
/// x = y + (1 − 1/beta1)·(z − y)
/// ```
/// Train with a constant learning rate, and evaluate and ship what
/// [`average`](crate::Optimizer::average) makes of the parameters. Defazio et
/// al., <https://arxiv.org/abs/2405.15682>.
///
/// ```
/// use optim::{Optimizer, ScheduleFreeAdamWConfig};
///
/// let mut optimizer = ScheduleFreeAdamWConfig::default().build(1)?;
/// let mut params = [1.0];
/// for _ in 0..1000 {
///     let grads = [2.0 * params[0]];
///     optimizer.step(&mut params, &grads, 0.05);
/// }
/// optimizer.average(&mut params);
/// assert!(params[0].abs() < 1e-2);
/// # Ok::<(), optim::Error>(())
/// ```
pub type ScheduleFreeAdamW = Fused<ScheduleFreeAdamWConfig>;

builds!(ScheduleFreeAdamWConfig, ScheduleFreeAdamW);

#[derive(Debug, Clone, Copy)]
pub struct Factors {
    first: bool,
    lr: f32,
    /// Share of `z` in `y`, and what `y` moves by the direction.
    share: f32,
    y_step: f32,
    beta2: f32,
    weight2: f32,
    root_scale: f32,
    eps: f32,
    weight_decay: f32,
}

impl ScheduleFreeAdamWConfig {
    fn warmed(&self, step: Step) -> f64 {
        let rise = step.number as f64 / self.warmup_steps.max(1) as f64;
        step.lr * rise.min(1.0)
    }
}

impl Rule for ScheduleFreeAdamWConfig {
    const NAME: &'static str = "schedule-free-adamw";
    type Factors = Factors;

    fn check(&self) -> Result<(), Error> {
        let owner = Self::NAME;
        check_moments(owner, [self.beta1, self.beta2], self.eps, self.weight_decay)?;
        check_option(owner, "beta1", self.beta1, |v| v > 0.0, "above 0 and below 1")?;
        // Beyond these the weights of iterates leave the range of f64.
        let in_range = |v| (0.0..=10.0).contains(&v);
        check_option(owner, "r", self.r, in_range, "between 0 and 10")?;
        let power = self.weight_lr_power;
        check_option(owner, "weight_lr_power", power, in_range, "between 0 and 10")
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::signed("z"), Slot::squared("exp_avg_sq")]
    }

    fn scalars(&self) -> &'static [(&'static str, f64)] {
        &[("lr_max", 0.0), ("weight", 0.0), ("weight_sum", 0.0)]
    }

    fn advance(&self, scalars: &mut [f64], step: Step) {
        let [lr_max, weight, weight_sum] = scalars else { return };
        *lr_max = lr_max.max(self.warmed(step));
        *weight =
            (step.number as f64).powf(self.r.into()) * lr_max.powf(self.weight_lr_power.into());
        *weight_sum += *weight;
    }

    fn factors(&self, scalars: &[f64], step: Step) -> Factors {
        let (weight, weight_sum) = (scalars[1], scalars[2]);
        let share = if weight_sum > 0.0 { weight / weight_sum } else { 0.0 };
        let lr = self.warmed(step);
        Factors {
            first: step.number == 1,
            lr: lr as f32,
            share: share as f32,
            y_step: (lr * (1.0 - self.beta1 * (1.0 - share))) as f32,
            beta2: self.beta2 as f32,
            weight2: (1.0 - self.beta2) as f32,
            root_scale: (1.0 / step.correction(self.beta2).sqrt()) as f32,
            eps: self.eps,
            weight_decay: step.decay(self.weight_decay) as f32,
        }
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Factors, y: &mut Lanes<S>, g: Lanes<S>, [z, v, _]: &mut Kept<S>) {
        if f.first {
            *z = *y;
        }
        *v = f.beta2 * *v + f.weight2 * g * g;
        let direction = g / (f.root_scale * v.sqrt() + f.eps) + f.weight_decay * *y;
        *y = *y + f.share * (*z - *y) - f.y_step * direction;
        *z = *z - f.lr * direction;
    }

    fn average(&self, params: &mut [f32], slots: &[&[f32]]) {
        let share = (1.0 - 1.0 / self.beta1) as f32;
        for (y, &z) in params.iter_mut().zip(slots[0]) {
            *y += share * (z - *y);
        }
    }
}
