//! How good the answers are: confusion matrix and what follows from it.

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
    /// `confusion[true class][answer]`.
    pub confusion: Vec<Vec<usize>>,
}

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
        let mut confusion = vec![vec![0; k]; k];
        let mut loss = 0.0;
        for (logits, &target) in logits.chunks_exact(k).zip(targets) {
            confusion[target as usize][argmax(logits)] += 1;
            loss -= f64::from(log_softmax(logits)[target as usize]);
        }
        let n = targets.len();
        let right: usize = (0..k).map(|c| confusion[c][c]).sum();
        let per_class: Vec<ClassMetrics> = classes
            .iter()
            .enumerate()
            .map(|(c, name)| class_metrics(name, c, &confusion))
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
        }
    }
}

fn class_metrics(name: &str, c: usize, confusion: &[Vec<usize>]) -> ClassMetrics {
    let n: usize = confusion[c].iter().sum();
    let answered: usize = confusion.iter().map(|row| row[c]).sum();
    let hit = confusion[c][c] as f64;
    let share = |of: usize| (of > 0).then(|| hit / of as f64);
    ClassMetrics {
        class: name.to_owned(),
        n,
        recall: share(n),
        precision: share(answered),
        f1: (n + answered > 0).then(|| 2.0 * hit / (n + answered) as f64),
    }
}

/// Index of the largest logit; of equals the first.
pub fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, l) in logits.iter().enumerate() {
        if *l > logits[best] {
            best = i;
        }
    }
    best
}

/// `x − ln Σ exp(x)`, without overflow.
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let top = f64::from(logits[argmax(logits)]);
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) - top).exp()).sum();
    logits.iter().map(|&l| (f64::from(l) - top - sum.ln()) as f32).collect()
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
    fn huge_logits_keep_the_loss_finite() {
        let m = Metrics::new(&["a", "b"].map(String::from), &[1e30, -1e30], &[1]);
        assert!(m.loss.is_finite() && m.loss > 1e30);
    }
}
