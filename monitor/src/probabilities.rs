//! Probabilities from logits, and by how much they are off.

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

/// Bins of the [`ece`].
const ECE_BINS: usize = 15;

/// Expected calibration error of logits, `[targets, n_classes]`, in 15 bins of equal width
/// ([arXiv 1706.04599](https://arxiv.org/abs/1706.04599)): `Σ_b n_b/n · |accuracy_b − confidence_b|`, where bin
/// `b` of `B` holds the windows whose answer has a probability in `((b − 1)/B, b/B]`; 0 without windows, NaN
/// where a logit is not finite.
///
/// ```
/// // Two answers of which the model is all but sure, one of them wrong.
/// let ece = monitor::ece(2, &[50.0, 0.0, 50.0, 0.0], &[0, 1]);
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
