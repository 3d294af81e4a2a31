//! The loss of a step or a part of one, so that it does not depend on how windows are cut into parts.

use attn_core::StepStats;

/// The mean loss over some windows, with the weight that it has beside others.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Step {
    /// `Σ w·loss / Σ w` with the weights `w` of the targets' classes.
    pub(super) loss: f64,
    /// Windows whose class has the largest logit.
    pub(super) correct: usize,
    /// `Σ w`
    pub(super) weight: f64,
}

impl Step {
    /// The loss that attn-core gives, which it has divided by `weight`.
    pub(super) fn of(stats: StepStats, weight: f64) -> Self {
        // Classes without a weight have no loss; the division by their sum was none.
        let loss = if weight > 0.0 { stats.loss } else { 0.0 };
        Self { loss, correct: stats.correct, weight }
    }

    /// Takes in another part: the mean of both, each by its weight.
    pub(super) fn add(&mut self, other: Self) {
        let weight = self.weight + other.weight;
        self.loss = match (self.weight > 0.0, other.weight > 0.0) {
            (_, false) => self.loss,
            (false, true) => other.loss,
            (true, true) => (self.loss * self.weight + other.loss * other.weight) / weight,
        };
        self.weight = weight;
        self.correct += other.correct;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_does_not_depend_on_the_cut() {
        let windows = [(0.5, 1.0), (2.0, 3.0), (0.25, 0.0), (1.0, 0.5)];
        let of = |cut: &[usize]| {
            let (mut total, mut at) = (Step::default(), 0);
            for n in cut {
                let part = &windows[at..at + n];
                let weight: f64 = part.iter().map(|w| w.1).sum();
                let sum: f64 = part.iter().map(|(loss, w)| loss * w).sum();
                total.add(Step::of(StepStats { loss: sum / weight, correct: 1 }, weight));
                at += n;
            }
            total
        };
        let whole = of(&[4]);
        assert!((whole.loss - 7.0 / 4.5).abs() < 1e-12, "{whole:?}");
        for cut in [&[1, 1, 1, 1][..], &[2, 2], &[1, 3], &[3, 1]] {
            assert!((of(cut).loss - whole.loss).abs() < 1e-12, "{cut:?}");
            assert!((of(cut).weight - whole.weight).abs() < 1e-12, "{cut:?}");
        }
    }
}
