//! The running moments of the gradient that Adam and its relatives share.
//!
//! Products are in the order of `torch`: `((1 − beta2)·g)·g` stays finite for g = 1e20, where `g·g`
//! would already overflow.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::Simd;

use crate::decay::DecayKind;
use crate::lanes::Lanes;
use crate::slot::Slot;
use crate::step::Step;

/// First and second moment, the second with this first value.
pub(crate) fn slots(first: f32) -> Vec<Slot> {
    vec![Slot::signed("exp_avg"), Slot::squared("exp_avg_sq").starting_at(first)]
}

/// A running mean, `beta·m + (1 − beta)·g`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mean {
    beta: f32,
    weight: f32,
}

impl Mean {
    pub(crate) fn new(beta: f64) -> Self {
        Self { beta: beta as f32, weight: (1.0 - beta) as f32 }
    }

    /// As `torch.lerp`, from the nearer end: `m + weight·(g − m)` would lose a small `g` beside a
    /// large `m` where little of `m` is kept.
    #[inline(always)]
    pub(crate) fn of<S: Simd>(self, m: Lanes<S>, g: Lanes<S>) -> Lanes<S> {
        if self.weight < 0.5 { m + self.weight * (g - m) } else { g - self.beta * (g - m) }
    }
}

/// The numbers of a step with two moments.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    mean: Mean,
    beta2: f32,
    weight2: f32,
    eps: f32,
    /// What `m` and `√v` are multiplied by.
    step_size: f32,
    root_scale: f32,
    /// L2 penalty, and what decoupled decay leaves of a parameter: g + 0·p is g, and 1·p is p.
    penalty: f32,
    keep: f32,
}

impl Moments {
    /// Without bias correction or decay.
    pub(crate) fn new([beta1, beta2]: [f64; 2], eps: f32, step: Step) -> Self {
        Self {
            mean: Mean::new(beta1),
            beta2: beta2 as f32,
            weight2: (1.0 - beta2) as f32,
            eps,
            step_size: step.lr as f32,
            root_scale: 1.0,
            penalty: 0.0,
            keep: 1.0,
        }
    }

    /// Divides the moments by `1 − beta1^t` and `1 − beta2^t`.
    pub(crate) fn corrected(self, [beta1, beta2]: [f64; 2], step: Step) -> Self {
        Self {
            step_size: (step.lr / step.correction(beta1)) as f32,
            root_scale: (1.0 / step.correction(beta2).sqrt()) as f32,
            ..self
        }
    }

    pub(crate) fn decayed(self, kind: DecayKind, weight_decay: f64, step: Step) -> Self {
        match kind {
            DecayKind::L2 => Self { penalty: weight_decay as f32, ..self },
            DecayKind::Decoupled => Self { keep: (1.0 - step.lr * weight_decay) as f32, ..self },
        }
    }

    /// The gradient with the penalty.
    #[inline(always)]
    pub(crate) fn penalized<S: Simd>(&self, g: Lanes<S>, p: Lanes<S>) -> Lanes<S> {
        g + self.penalty * p
    }

    /// The parameter after decoupled decay.
    #[inline(always)]
    pub(crate) fn kept<S: Simd>(&self, p: Lanes<S>) -> Lanes<S> {
        self.keep * p
    }

    /// `m ← beta1·m + (1 − beta1)·g`
    #[inline(always)]
    pub(crate) fn mean<S: Simd>(&self, m: &mut Lanes<S>, g: Lanes<S>) {
        *m = self.mean.of(*m, g);
    }

    /// `v ← beta2·v + (1 − beta2)·g²`
    #[inline(always)]
    pub(crate) fn mean_square<S: Simd>(&self, v: &mut Lanes<S>, g: Lanes<S>) {
        *v = self.beta2 * *v + self.weight2 * g * g;
    }

    /// `v ← v − (1 − beta2)·sign(v − g²)·g²`
    #[inline(always)]
    pub(crate) fn yogi_square<S: Simd>(&self, v: &mut Lanes<S>, g: Lanes<S>) {
        *v = *v - (*v - g * g).sign() * (self.weight2 * g * g);
    }

    /// `√v + eps`, with the correction of `v`.
    #[inline(always)]
    pub(crate) fn root<S: Simd>(&self, v: Lanes<S>) -> Lanes<S> {
        self.root_scale * v.sqrt() + self.eps
    }

    /// The decayed parameter less `lr·m/(√v + eps)`.
    #[inline(always)]
    pub(crate) fn moved<S: Simd>(&self, p: Lanes<S>, m: Lanes<S>, v: Lanes<S>) -> Lanes<S> {
        self.kept(p) - self.step_size * m / self.root(v)
    }
}
