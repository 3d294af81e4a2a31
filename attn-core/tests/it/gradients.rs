//! Every gradient of the model against finite differences, under losses of every kind.

use attn_core::{Batch, CrossEntropy, Encoder, EncoderConfig, Workspace};
use testkit::{assert_close, finite_difference, sequence};

use crate::common::{configs, noisy, windows};

/// Checks a gradient (parameters and dropout seed in, gradient out, loss back) at several places of
/// every tensor, with and without dropout.
fn check(
    config: &EncoderConfig,
    mut gradient: impl FnMut(&Encoder, &[f32], Option<u64>, &mut [f32]) -> f64,
) {
    for (dropout, seed) in [(0.0, None), (0.3, Some(77))] {
        let mut config = config.clone();
        config.dropout = dropout;
        let encoder = Encoder::new(config).expect("valid");
        let mut params = noisy(&encoder);
        let mut grad = vec![f32::NAN; encoder.n_params()];
        gradient(&encoder, &params, seed, &mut grad);
        let mut unused = vec![0.0; encoder.n_params()];
        for tensor in encoder.layout().tensors() {
            let step = (tensor.range.len() / 7).max(1);
            let indices: Vec<usize> = tensor.range.clone().step_by(step).collect();
            let expected = finite_difference(&mut params, &indices, 2e-3, |p| {
                gradient(&encoder, p, seed, &mut unused)
            });
            let found: Vec<f32> = indices.iter().map(|&i| grad[i]).collect();
            assert!(
                found.iter().any(|g| g.abs() > 1e-7) || tensor.name.contains("qkv.bias"),
                "{}: the gradient is zero everywhere",
                tensor.name
            );
            assert_close(&tensor.name, &found, &expected, 1e-2, 3e-4);
        }
    }
}

#[test]
fn of_the_cross_entropy_equal_finite_differences() {
    for config in configs() {
        let (values, lengths, targets) = windows(&config, 6, 1);
        let loss =
            CrossEntropy { class_weights: Some(vec![0.5, 1.0, 2.0, 1.5]), label_smoothing: 0.1 };
        let mut workspace = Workspace::new(1);
        check(&config, |encoder, params, seed, grad| {
            let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
            loss.gradient(encoder, params, &batch, &targets, seed, &mut workspace, grad).loss
        });
    }
}

/// `Σ (y − t)² / 2n` and its gradient.
fn squared(found: &[f32], targets: &[f32], n: usize, d: &mut [f32]) -> f64 {
    let mut sum = 0.0;
    for ((d, y), t) in d.iter_mut().zip(found).zip(targets) {
        *d = (y - t) / n as f32;
        sum += f64::from(y - t).powi(2) / (2 * n) as f64;
    }
    sum
}

#[test]
fn of_a_regression_equal_finite_differences_through_every_pooling() {
    for config in configs() {
        let (values, lengths, _) = windows(&config, 6, 1);
        let n_outputs = config.task.n_outputs();
        let targets = sequence(4, lengths.len() * n_outputs);
        let mut workspace = Workspace::new(1);
        check(&config, |encoder, params, seed, grad| {
            let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
            let loss = |window: usize, found: &[f32], d: &mut [f32]| {
                squared(found, &targets[window * n_outputs..][..n_outputs], targets.len(), d)
            };
            encoder.gradient(params, &batch, loss, seed, &mut workspace, grad)
        });
    }
}

#[test]
fn of_a_loss_over_tokens_equal_finite_differences() {
    for config in configs() {
        let (values, lengths, _) = windows(&config, 6, 1);
        let n_outputs = config.task.n_outputs();
        let targets = sequence(4, config.tokens(config.seq_len) * n_outputs);
        let mut workspace = Workspace::new(1);
        check(&config, |encoder, params, seed, grad| {
            let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
            let loss = |window: usize, found: &[f32], d: &mut [f32]| {
                assert_eq!(found.len(), encoder.config().tokens(lengths[window]) * n_outputs);
                // Every third token has no target.
                let tokens = found.chunks(n_outputs).zip(d.chunks_mut(n_outputs)).enumerate();
                tokens
                    .filter(|(t, _)| !(window + t).is_multiple_of(3))
                    .map(|(t, (found, d))| squared(found, &targets[t * n_outputs..], 20, d))
                    .sum::<f64>()
            };
            encoder.gradient_tokens(params, &batch, loss, seed, &mut workspace, grad)
        });
    }
}
