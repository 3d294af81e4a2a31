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

/// Bins of the [`ece`].
const ECE_BINS: usize = 15;

/// Expected calibration error of logits, `[targets, n_classes]`, in 15 bins of equal width
/// ([arXiv 1706.04599](https://arxiv.org/abs/1706.04599)): `Σ_b n_b/n · |accuracy_b − confidence_b|`, where bin
/// `b` of `B` holds the windows whose answer has a probability in `((b − 1)/B, b/B]`; 0 without windows, NaN
/// where a logit is not finite.
///
/// ```
/// // Two answers of which the model is all but sure, one of them wrong.
/// let ece = engine::metrics::ece(2, &[50.0, 0.0, 50.0, 0.0], &[0, 1]);
/// assert!((ece - 0.5).abs() < 1e-9);
/// ```
pub fn ece(n_classes: usize, logits: &[f32], targets: &[u32]) -> f64 {
    // Of each bin the sum of right answers less their probabilities.
    let mut gaps = [0.0; ECE_BINS];
    for (logits, &target) in logits.chunks_exact(n_classes.max(1)).zip(targets) {
        let answer = argmax(logits);
        let top = f64::from(logits[answer]);
        let p = 1.0 / logits.iter().map(|&l| (f64::from(l) - top).exp()).sum::<f64>();
        let bin = ((p * ECE_BINS as f64).ceil() as usize).clamp(1, ECE_BINS) - 1;
        gaps[bin] += f64::from(u8::from(answer == target as usize)) - p;
    }
    gaps.iter().map(|gap| gap.abs()).sum::<f64>() / targets.len().max(1) as f64
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
    let mut logs = logits.to_vec();
    log_softmax_in_place(&mut logs);
    logs
}

fn log_softmax_in_place(logits: &mut [f32]) {
    let top = f64::from(logits[argmax(logits)]);
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) - top).exp()).sum();
    for l in logits {
        *l = (f64::from(*l) - top - sum.ln()) as f32;
    }
}

/// Makes probabilities of logits, which are `exp` of [`log_softmax`] to the bit.
pub fn softmax_in_place(logits: &mut [f32]) {
    log_softmax_in_place(logits);
    for l in logits {
        *l = l.exp();
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
    fn the_calibration_error_by_hand() {
        // Probabilities 0.9, 0.9 and 0.6 of answers right, wrong, right: bins 14, 14 and 9.
        let row = |p: f64| [(p / (1.0 - p)).ln() as f32, 0.0];
        let logits = [row(0.9), row(0.9), row(0.6)].concat();
        let expected = ((1.0 - 0.9 * 2.0_f64).abs() + (1.0 - 0.6)) / 3.0;
        assert!((ece(2, &logits, &[0, 1, 0]) - expected).abs() < 1e-6);
        // A third is on the border of two bins and belongs to the lower one: what is above it does not make up for it.
        let rows = [[0.0; 3], [0.0, -0.01, -0.01]].concat();
        let above = 1.0 / (1.0 + 2.0 * f64::from(-0.01_f32).exp());
        let expected = (1.0 / 3.0 + 1.0 - above) / 2.0;
        assert!((ece(3, &rows, &[1, 0]) - expected).abs() < 1e-9);
        assert!(ece(3, &[], &[]).abs() < 1e-12 && ece(2, &[f32::NAN, 0.0], &[0]).is_nan());
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
