//! q-FedAvg: nodes whose loss is high count more.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::basis::Basis;
use crate::median::median;
use crate::plan::Plan;
use crate::{Error, Reason, Update};

/// A loss counts as if it were at most so many times the median of all, and at least the median over
/// as many.
const MOST_LOSS: f64 = 10.0;

/// `base + Σ F_i^q·L·Δ_i / Σ h_i` with `h_i = q·F_i^(q−1)·L²·‖Δ_i‖² + L·F_i^q`, of the losses `F_i` at
/// the base and `L = 1/lr`: a mean that is the fairer to the worst served nodes the larger `q` is.
/// `q = 0` is the mean of equal weights, bit for bit.
///
/// Li et al., <https://arxiv.org/abs/1905.10497>; `δ_i` and `h_i` are those of the paper, whose
/// `Δw_i` is `−L·Δ_i`.
///
/// A loss is what a node says of itself. So losses are counted within ten times and a tenth of their
/// median, and of two or more updates none weighs (`F_i^q`) more than all others together: whatever
/// a node claims, it is at most half of the direction. An update that states no loss, or one that is
/// negative or not finite, is refused. If half of the losses are 0, nothing is left to improve and
/// the base stays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QFedAvg {
    /// How much high losses count for, at least 0.
    pub q: f64,
    /// The learning rate of the nodes, above 0.
    pub lr: f64,
}

impl Default for QFedAvg {
    /// What the paper takes for its synthetic data.
    fn default() -> Self {
        Self { q: 1.0, lr: 0.1 }
    }
}

/// The largest `q`.
const MOST_Q: f64 = 20.0;

impl Rule for QFedAvg {
    fn name(&self) -> &'static str {
        "q-fedavg"
    }

    fn needs(&self) -> Needs {
        Needs { base: true, products: true, losses: true, ..Needs::default() }
    }

    fn check(&self) -> Result<(), Error> {
        self.at_least_0("q", self.q)?;
        // Powers of losses within a tenth to ten times their median stay numbers.
        if self.q > MOST_Q {
            return Err(self.out_of_range("q", self.q, "at most 20"));
        }
        self.above_0("lr", self.lr)
    }

    fn doubts(&self, updates: &[&Update]) -> Vec<Option<Reason>> {
        let sound = |loss: f64| loss.is_finite() && loss >= 0.0;
        let doubt = |update: &&Update| match update.loss {
            None => Some(Reason::NoLoss),
            Some(loss) => (!sound(loss)).then_some(Reason::Loss { loss }),
        };
        updates.iter().map(doubt).collect()
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let losses = basis.cohort.members.iter().map(|member| member.input.update.loss);
        let losses: Vec<f64> = losses.map(Option::unwrap_or_default).collect();
        let (weights, total) = self.weights(&losses, &basis.gram.norms());
        Ok(basis.linear(weights, total))
    }
}

impl QFedAvg {
    /// Numerators `F_i^q` and the denominator `Σ h_i/L`, of losses in units of their median.
    fn weights(&self, losses: &[f64], norms: &[f64]) -> (Vec<f64>, f64) {
        let middle = median(losses);
        // Of small losses the power is dear; none at all moves nothing.
        if self.q > 0.0 && middle <= 0.0 {
            return (vec![0.0; losses.len()], 1.0);
        }
        let unit = if self.q > 0.0 { middle } else { 1.0 };
        let bounded = losses.iter().map(|loss| (loss / unit).clamp(1.0 / MOST_LOSS, MOST_LOSS));
        let bounded = bounded_by_others(bounded.map(|loss| loss.powf(self.q)).collect());
        // What is left of a power that was bounded is that of a smaller loss.
        let pull = |(weight, norm): (&f64, &f64)| {
            if self.q <= 0.0 {
                return 0.0;
            }
            let loss = weight.powf(1.0 / self.q);
            self.q * weight / loss / self.lr * norm * norm / unit
        };
        let pulls: f64 = bounded.iter().zip(norms).map(pull).sum();
        let total = pulls + bounded.iter().sum::<f64>();
        (bounded, total)
    }
}

/// Makes the largest number at most the sum of the others.
fn bounded_by_others(mut numbers: Vec<f64>) -> Vec<f64> {
    let largest = (0..numbers.len()).max_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
    if let Some(largest) = largest.filter(|_| numbers.len() > 1) {
        let others = numbers.iter().enumerate().filter(|&(i, _)| i != largest);
        let others: f64 = others.map(|(_, number)| number).sum();
        numbers[largest] = numbers[largest].min(others);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares in the direction, of equal norms.
    fn shares(q: f64, losses: &[f64]) -> Vec<f64> {
        let (weights, _) = QFedAvg { q, lr: 0.1 }.weights(losses, &vec![1.0; losses.len()]);
        let total: f64 = weights.iter().sum();
        weights.iter().map(|w| w / total).collect()
    }

    #[test]
    fn no_claim_is_more_than_half() {
        for q in [0.1, 1.0, 5.0, 300.0] {
            for claim in [0.0, 1e-300, 5.0, 1e300] {
                let shares = shares(q, &[1.0, 1.1, 0.9, claim]);
                assert!(shares.iter().all(|&s| s <= 0.5 + 1e-12), "{q} {claim}: {shares:?}");
            }
        }
        // A loss of next to nothing does not hold the others back.
        let lazy = QFedAvg { q: 0.1, lr: 0.1 };
        let (weights, total) = lazy.weights(&[1.0, 1.0, 0.0], &[0.1; 3]);
        let (without, all) = lazy.weights(&[1.0, 1.0, 1.0], &[0.1; 3]);
        assert!(weights[0] / total > 0.5 * without[0] / all, "{}", weights[0] / total);
    }

    #[test]
    fn high_losses_count_more_and_no_loss_stays() {
        let shares = shares(1.0, &[1.0, 2.0, 1.0]);
        assert!((shares[1] - 0.5).abs() < 1e-12, "{shares:?}");
        let (weights, _) = QFedAvg::default().weights(&[0.0, 0.0, 3.0], &[1.0; 3]);
        assert_eq!(weights, [0.0; 3]);
        // Without a power losses are not looked at.
        let plain = QFedAvg { q: 0.0, lr: 0.1 };
        assert_eq!(plain.weights(&[0.0, 5.0], &[1.0; 2]), (vec![1.0, 1.0], 2.0));
        assert_eq!(QFedAvg::default().weights(&[7.0], &[0.0]), (vec![1.0], 1.0));
    }
}
