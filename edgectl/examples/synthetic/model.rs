//! Softmax regression, as rows of one flat slice of parameters.

use crate::data::Samples;

/// Numbers of a sample.
pub(crate) const FEATURES: usize = 60;

/// Classes of a sample.
pub(crate) const CLASSES: usize = 10;

/// Length of a row: the features, the bias, and zeros that fill the vector registers.
pub(crate) const WIDTH: usize = 64;

/// Parameters of a model: a row per class. Those of the padding stay zero, as its inputs are zero.
pub(crate) const PARAMS: usize = CLASSES * WIDTH;

/// Independent partial sums of a dot product, so that the additions can be vectorised.
const LANES: usize = 8;

/// The mean gradient of the cross-entropy over a batch, written to `grads`.
///
/// # Shapes
/// `params` and `grads` are `[CLASSES × WIDTH]`; `batch` has positions in `samples`.
pub(crate) fn gradient(grads: &mut [f32], params: &[f32], samples: &Samples, batch: &[usize]) {
    grads.fill(0.0);
    let scale = 1.0 / batch.len() as f32;
    for &i in batch {
        let input = &samples.inputs[i];
        let mut errors = logits(params, input);
        softmax(&mut errors);
        errors[samples.classes[i]] -= 1.0;
        for (row, error) in grads.as_chunks_mut::<WIDTH>().0.iter_mut().zip(errors) {
            let error = error * scale;
            for (g, &x) in row.iter_mut().zip(input) {
                *g += error * x;
            }
        }
    }
}

/// How many samples the model puts in their class.
pub(crate) fn correct(params: &[f32], samples: &Samples) -> usize {
    let hits = samples.inputs.iter().zip(&samples.classes).filter(|&(input, &class)| {
        let logits = logits(params, input);
        logits.iter().enumerate().all(|(i, &l)| i == class || l < logits[class])
    });
    hits.count()
}

/// `W·x`, with the bias in `W`'s column of ones.
fn logits(params: &[f32], input: &[f32; WIDTH]) -> [f32; CLASSES] {
    let mut logits = [0.0; CLASSES];
    for (logit, row) in logits.iter_mut().zip(params.as_chunks::<WIDTH>().0) {
        *logit = dot(row, input);
    }
    logits
}

/// `Σ a·b`.
fn dot(a: &[f32; WIDTH], b: &[f32; WIDTH]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}

/// Logits to probabilities, in place.
fn softmax(logits: &mut [f32; CLASSES]) {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for l in logits.iter_mut() {
        *l = (*l - highest).exp();
    }
    let sum: f32 = logits.iter().sum();
    for l in logits {
        *l /= sum;
    }
}
