//! How good the answers are: confusion matrix and what follows from it.

use monitor::{argmax, ece, log_softmax};
use serde::Serialize;

/// Metrics of a classification; the JSON form is the contract of `edgectl eval --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// `classification`.
    pub task: &'static str,
    /// Number of windows.
    pub n: usize,
    /// Mean cross-entropy, without weights and smoothing.
    pub loss: f64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Mean of the classes' F1 over the classes that occur.
    pub macro_f1: f64,
    /// One entry per class.
    pub per_class: Vec<ClassMetrics>,
    /// `confusion[true class][answer]`; empty of more than [`MOST_CONFUSED`] classes.
    pub confusion: Vec<Vec<usize>>,
    /// Expected calibration error: by how much the probability of an answer and the share of such answers that
    /// are right differ, see [`ece`].
    pub ece: f64,
    /// What it would be without the model's temperature, of a model that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ece_uncalibrated: Option<f64>,
}

/// The most classes for which the confusion matrix is made, whose size is their square.
pub const MOST_CONFUSED: usize = 1000;

/// Metrics of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Its name.
    pub class: String,
    /// Windows of this class.
    pub n: usize,
    /// Share of this class's windows that were found; `None` without windows.
    pub recall: Option<f64>,
    /// Share of the answers "this class" that were right; `None` without such answers.
    pub precision: Option<f64>,
    /// Harmonic mean of the two; `None` where the class neither occurs nor is answered.
    pub f1: Option<f64>,
}

impl Metrics {
    /// Metrics from logits, `[targets, classes]`.
    ///
    /// # Panics
    /// If the lengths do not fit together.
    pub fn new(classes: &[String], logits: &[f32], targets: &[u32]) -> Self {
        let k = classes.len();
        assert_eq!(logits.len(), k * targets.len(), "metrics: logits and targets");
        let side = if k > MOST_CONFUSED { 0 } else { k };
        let mut confusion = vec![vec![0; side]; side];
        let mut counts = vec![Counts::default(); k];
        let mut loss = 0.0;
        for (logits, &target) in logits.chunks_exact(k).zip(targets) {
            let (target, answer) = (target as usize, argmax(logits));
            if let Some(row) = confusion.get_mut(target) {
                row[answer] += 1;
            }
            counts[target].n += 1;
            counts[answer].answered += 1;
            counts[target].hit += usize::from(answer == target);
            loss -= f64::from(log_softmax(logits)[target]);
        }
        let n = targets.len();
        let right: usize = counts.iter().map(|c| c.hit).sum();
        let per_class: Vec<ClassMetrics> = classes
            .iter()
            .zip(&counts)
            .map(|(name, counts)| class_metrics(name, *counts))
            .collect();
        let f1: Vec<f64> = per_class.iter().filter_map(|c| c.f1).collect();
        Self {
            task: "classification",
            n,
            loss: loss / n.max(1) as f64,
            accuracy: right as f64 / n.max(1) as f64,
            macro_f1: f1.iter().sum::<f64>() / f1.len().max(1) as f64,
            per_class,
            confusion,
            ece: ece(k, logits, targets),
            ece_uncalibrated: None,
        }
    }
}

/// What is counted of one class: its windows, the answers "this class", and what is in both.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    n: usize,
    answered: usize,
    hit: usize,
}

fn class_metrics(name: &str, Counts { n, answered, hit }: Counts) -> ClassMetrics {
    let hit = hit as f64;
    let share = |of: usize| (of > 0).then(|| hit / of as f64);
    ClassMetrics {
        class: name.to_owned(),
        n,
        recall: share(n),
        precision: share(answered),
        f1: (n + answered > 0).then(|| 2.0 * hit / (n + answered) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_a_small_case_by_hand() {
        let classes = ["a", "b", "c"].map(String::from);
        // answers: a, b, b, a for targets a, b, a, a; class c neither occurs nor is answered
        let logits = [2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0];
        let m = Metrics::new(&classes, &logits, &[0, 1, 0, 0]);
        assert_eq!(m.confusion, [[2, 1, 0], [0, 1, 0], [0, 0, 0]]);
        assert!((m.accuracy - 0.75).abs() < 1e-12);
        assert_eq!(m.per_class[0].recall, Some(2.0 / 3.0));
        assert_eq!(m.per_class[1].precision, Some(0.5));
        assert_eq!(m.per_class[2].f1, None);
        assert!((m.macro_f1 - f64::midpoint(0.8, 2.0 / 3.0)).abs() < 1e-12);
        let z = 2.0_f64.exp() + 2.0;
        let expected = (3.0 * -(2.0 - z.ln()) + z.ln()) / 4.0;
        assert!((m.loss - expected).abs() < 1e-6);
    }

    #[test]
    fn of_many_classes_there_is_no_square() {
        let classes: Vec<String> = (0..=MOST_CONFUSED).map(|c| c.to_string()).collect();
        let mut logits = vec![0.0; 2 * classes.len()];
        (logits[7], logits[classes.len() + 9]) = (1.0, 1.0);
        let m = Metrics::new(&classes, &logits, &[7, 8]);
        assert!(m.confusion.is_empty());
        let of = |c: usize| (m.per_class[c].n, m.per_class[c].recall, m.per_class[c].precision);
        assert_eq!(of(7), (1, Some(1.0), Some(1.0)));
        assert_eq!(of(8), (1, Some(0.0), None));
        assert_eq!(of(9), (0, None, Some(0.0)));
        assert!((m.accuracy - 0.5).abs() < 1e-12 && (m.macro_f1 - 1.0 / 3.0).abs() < 1e-12);
        let few = Metrics::new(&classes[1..], &vec![0.0; MOST_CONFUSED], &[0]);
        assert_eq!((few.confusion.len(), few.confusion[0][0]), (MOST_CONFUSED, 1));
    }

    #[test]
    fn huge_logits_keep_the_loss_finite() {
        let m = Metrics::new(&["a", "b"].map(String::from), &[1e30, -1e30], &[1]);
        assert!(m.loss.is_finite() && m.loss > 1e30);
    }
}
