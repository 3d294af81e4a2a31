//! Candidates compared: means and paired differences over parts.

use serde::Serialize;

use super::ledger::Scores;

/// How much a point of loss weighs beside a point of accuracy: it tells candidates apart whose answers are equally
/// often right.
const LOSS_WEIGHT: f64 = 0.2;

/// A difference to something else over the same parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gain {
    /// Mean difference of the accuracies.
    pub accuracy: f64,
    /// Half of its 95 % interval; `None` of a single part.
    pub interval: Option<f64>,
    /// Mean difference of the losses: below 0 is better.
    pub loss: f64,
    /// Mean difference of what candidates are ranked by.
    #[serde(skip)]
    pub(super) objective: f64,
    /// The standard error of that.
    #[serde(skip)]
    pub(super) error: f64,
}

impl Gain {
    /// What one gains over another: their scores on the same parts, of which each is `overlap` times as large as what
    /// trains for it. Parts share rows to train on, so that their differences vary less than those of other rows would:
    /// the variance of the mean is `s²·(1/n + overlap)` (Nadeau and Bengio 2003, doi 10.1023/A:1024068626366).
    ///
    /// # Panics
    /// If the numbers of parts differ.
    pub(super) fn of(one: &[Scores], other: &[Scores], overlap: f64) -> Self {
        assert_eq!(one.len(), other.len(), "gain: parts");
        let differences = |of: fn(Scores) -> f64| -> Vec<f64> {
            one.iter().zip(other).map(|(a, b)| of(*a) - of(*b)).collect()
        };
        let (accuracy, error) = mean_and_error(&differences(|s| s.accuracy), overlap);
        let (loss, _) = mean_and_error(&differences(|s| s.loss), overlap);
        let (objective, objective_error) = mean_and_error(&differences(objective), overlap);
        let interval = (one.len() > 1).then(|| t95(one.len() - 1) * error);
        Self { accuracy, interval, loss, objective, error: objective_error }
    }

    /// Of one that could not be trained.
    pub(super) fn none() -> Self {
        let worst = f64::NEG_INFINITY;
        Self { accuracy: 0.0, interval: None, loss: 0.0, objective: worst, error: 0.0 }
    }
}

/// The means of some scores.
pub(super) fn mean(scores: &[Scores]) -> Scores {
    let n = scores.len().max(1) as f64;
    let mean = |of: fn(&Scores) -> f64| scores.iter().map(of).sum::<f64>() / n;
    Scores {
        accuracy: mean(|s| s.accuracy),
        loss: mean(|s| s.loss),
        least_loss: mean(|s| s.least_loss),
    }
}

/// What candidates are ranked by.
pub(super) fn objective(scores: Scores) -> f64 {
    scores.accuracy - LOSS_WEIGHT * scores.least_loss
}

/// Mean and its standard error over parts that share rows, 0 of a single number.
fn mean_and_error(values: &[f64], overlap: f64) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0) * (1.0 / n + overlap)).sqrt())
}

/// Student's t for 95 %, by degrees of freedom from 1.
fn t95(freedom: usize) -> f64 {
    const T: [f64; 12] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18];
    T[(freedom - 1).min(T.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_error_by_hand() {
        let (mean, error) = mean_and_error(&[1.0, 2.0, 3.0, 6.0], 0.0);
        assert!((mean - 3.0).abs() < 1e-12 && (error - (14.0_f64 / 12.0).sqrt()).abs() < 1e-12);
        let (_, overlapping) = mean_and_error(&[1.0, 2.0, 3.0, 6.0], 0.25);
        assert!((overlapping - (14.0_f64 / 6.0).sqrt()).abs() < 1e-12);
        assert_eq!(mean_and_error(&[5.0], 0.25), (5.0, 0.0));
        assert!(t95(1) > 12.0 && t95(100) > 2.0);
    }

    #[test]
    fn loss_tells_those_apart_that_are_equally_often_right() {
        let of = |accuracy, least_loss| objective(Scores { accuracy, loss: 9.0, least_loss });
        assert!(of(0.9, 0.3) > of(0.9, 0.4));
        assert!(of(0.92, 0.4) > of(0.9, 0.4));
        assert!(of(0.9, 0.3) > of(0.905, 0.5));
    }
}
