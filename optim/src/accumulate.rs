//! The gradient of a large batch from those of small ones.

use crate::slices::{add_scaled, check_same_length, scale};

/// Sums gradients of micro-batches, each the mean over its own examples, to the mean over all.
///
/// A step then needs the memory of one micro-batch, and is that of the whole batch up to rounding.
///
/// ```
/// use optim::Accumulator;
///
/// let mut sum = Accumulator::new(1);
/// sum.add(&[1.0], 30.0); // the mean of 30 examples
/// sum.add(&[5.0], 10.0); // the mean of 10 more
/// assert_eq!(sum.mean(), [2.0]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Accumulator {
    mean: Vec<f32>,
    weight: f64,
}

impl Accumulator {
    /// An empty sum for so many parameters.
    pub fn new(n_params: usize) -> Self {
        Self { mean: vec![0.0; n_params], weight: 0.0 }
    }

    /// Adds the gradient of a micro-batch that counts `weight`, usually its number of examples.
    ///
    /// # Panics
    /// If `grads` has another length than the accumulator, or `weight` is not above 0 and finite.
    pub fn add(&mut self, grads: &[f32], weight: f64) {
        check_same_length(["the accumulator", "grads"], &self.mean, grads);
        assert!(weight > 0.0 && weight.is_finite(), "weight is {weight}, it must be above 0");
        // A running mean: a sum could overflow where the mean does not.
        self.weight += weight;
        let share = weight / self.weight;
        scale(&mut self.mean, (1.0 - share) as f32);
        add_scaled(&mut self.mean, grads, share as f32, None);
    }

    /// The mean so far, zeros if nothing was added.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Begins a new sum.
    pub fn clear(&mut self) {
        self.mean.fill(0.0);
        self.weight = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_weigh_as_their_examples() {
        let parts: Vec<(Vec<f32>, f64)> =
            [3.0, 1.0, 4.0].iter().map(|&n| (testkit::sequence(n as u64, 7), n)).collect();
        let mut sum = Accumulator::new(7);
        sum.add(&[9.0; 7], 2.0);
        sum.clear();
        for (grads, weight) in &parts {
            sum.add(grads, *weight);
        }
        let mean = |i: usize| parts.iter().map(|(g, w)| f64::from(g[i]) * w).sum::<f64>() / 8.0;
        let expected: Vec<f32> = (0..7).map(|i| mean(i) as f32).collect();
        testkit::assert_close("mean", sum.mean(), &expected, 1e-6, 1e-7);
        testkit::assert_close("mean once more", sum.mean(), &expected, 1e-6, 1e-7);
        sum.clear();
        testkit::assert_same_bits("nothing", sum.mean(), &[0.0; 7]);
    }

    #[test]
    fn large_gradients_do_not_overflow_on_the_way() {
        let mut sum = Accumulator::new(1);
        sum.add(&[1e37], 32.0);
        sum.add(&[1e37], 32.0);
        testkit::assert_close("mean", sum.mean(), &[1e37], 1e-6, 0.0);
    }

    #[test]
    #[should_panic(expected = "the accumulator has 2 and grads has 1 elements")]
    fn lengths_must_agree() {
        Accumulator::new(2).add(&[1.0], 1.0);
    }
}
