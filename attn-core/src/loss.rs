//! Softmax cross-entropy with class weights and label smoothing, and its gradient.

use std::ops::AddAssign;

use crate::encoder::{Batch, Encoder, Workspace};
use crate::simd::{exp, sum_by};

/// What a step under the cross-entropy saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepStats {
    /// Mean loss over the batch, weighted as the loss says.
    pub loss: f64,
    /// Windows whose largest logit was that of the target.
    pub correct: usize,
}

/// Options of the cross-entropy loss; the defaults are `PyTorch`'s.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CrossEntropy {
    /// One weight per class; `None` for all ones.
    pub class_weights: Option<Vec<f32>>,
    /// Share of the target that is spread evenly over all classes, in `[0, 1]`.
    pub label_smoothing: f32,
}

impl CrossEntropy {
    /// Sum of the targets' weights: what the mean over a batch divides by.
    ///
    /// # Panics
    /// If a target is not below the number of class weights.
    pub fn normalizer(&self, targets: &[u32]) -> f64 {
        match &self.class_weights {
            None => targets.len() as f64,
            Some(weights) => targets.iter().map(|&t| f64::from(weights[t as usize])).sum(),
        }
    }

    /// Mean loss of a batch and its gradient, by [`Encoder::gradient`]; overwrites `grad`.
    ///
    /// `targets`: the class of each window.
    ///
    /// # Panics
    /// If `params`, `grad` or `targets` have the wrong length, or a target is no class.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step takes just these, each a different thing"
    )]
    pub fn gradient(
        &self,
        encoder: &Encoder,
        params: &[f32],
        batch: &Batch<'_>,
        targets: &[u32],
        dropout_seed: Option<u64>,
        workspace: &mut Workspace,
        grad: &mut [f32],
    ) -> StepStats {
        assert_eq!(batch.len(), targets.len(), "encoder: windows and targets differ in number");
        let normalizer = self.normalizer(targets);
        let loss = |window: usize, logits: &[f32], d_logits: &mut [f32]| {
            let target = targets[window];
            let at_target = logits[target as usize];
            let is_top = logits.iter().all(|&l| l <= at_target);
            d_logits.copy_from_slice(logits);
            let loss = self.loss_and_gradient(d_logits, target, normalizer);
            Sum { loss, correct: usize::from(is_top) }
        };
        let Sum { loss, correct } =
            encoder.gradient(params, batch, loss, dropout_seed, workspace, grad);
        StepStats { loss: loss / normalizer, correct }
    }

    /// Turns the logits of one sample into the gradient of the loss, in place, and returns the
    /// sample's loss before the division by `normalizer`.
    ///
    /// For weights `w`, smoothing `ε` and `K` classes the loss is
    /// `((1−ε)·w_t·(−ln p_t) + (ε/K)·Σ_c w_c·(−ln p_c)) / normalizer`, as in `PyTorch`.
    ///
    /// # Panics
    /// If `target` is no class, or the class weights differ in number.
    pub fn loss_and_gradient(&self, logits: &mut [f32], target: u32, normalizer: f64) -> f64 {
        let n_classes = logits.len();
        let target = target as usize;
        assert!(target < n_classes, "cross-entropy: target {target} of {n_classes} classes");
        let weight = |c: usize| self.class_weights.as_ref().map_or(1.0, |w| w[c]);
        if let Some(weights) = &self.class_weights {
            assert_eq!(weights.len(), n_classes, "cross-entropy: class weights and logits");
        }
        // A NaN is no maximum, but its exponential makes the sum NaN.
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let log_sum = sum_by(n_classes, |c| exp(logits[c] - top)).ln() + top;
        let spread = self.label_smoothing / n_classes as f32;
        let share = |c: usize| {
            weight(c) * (spread + if c == target { 1.0 - self.label_smoothing } else { 0.0 })
        };
        let total = sum_by(n_classes, share);
        let mut loss = 0.0_f64;
        for (c, l) in logits.iter_mut().enumerate() {
            loss += f64::from(share(c)) * f64::from(log_sum - *l);
            *l = (f64::from(total * exp(*l - log_sum) - share(c)) / normalizer) as f32;
        }
        loss
    }
}

/// Losses before the division by their normalizer, and right answers.
#[derive(Default)]
struct Sum {
    loss: f64,
    correct: usize,
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.loss += other.loss;
        self.correct += other.correct;
    }
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, finite_difference};

    use super::*;

    #[test]
    fn gradient_is_that_of_the_loss() {
        let loss = CrossEntropy { class_weights: Some(vec![0.5, 2.0, 1.0]), label_smoothing: 0.2 };
        let mut logits = vec![0.3, -1.2, 2.0];
        let normalizer = loss.normalizer(&[1, 1, 2]);
        assert!((normalizer - 5.0).abs() < 1e-12);
        let expected = finite_difference(&mut logits, &[0, 1, 2], 1e-2, |x| {
            loss.loss_and_gradient(&mut x.to_vec(), 1, normalizer) / normalizer
        });
        let mut gradient = logits.clone();
        loss.loss_and_gradient(&mut gradient, 1, normalizer);
        assert_close("gradient", &gradient, &expected, 1e-3, 1e-5);
    }

    #[test]
    fn huge_logits_give_a_finite_loss() {
        let mut logits = vec![1e4, -1e4, 0.0];
        let loss = CrossEntropy::default().loss_and_gradient(&mut logits, 1, 1.0);
        assert!((loss - 2e4).abs() < 1.0 && logits.iter().all(|g| g.is_finite()));
    }
}
