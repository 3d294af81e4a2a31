//! Every gradient of the model against finite differences.

use attn_core::{Batch, CrossEntropy, Encoder, Workspace};
use testkit::{assert_close, finite_difference, sequence};

use crate::common::{configs, windows};

/// Checks the gradient of every tensor of a model at several places.
fn check(mut config: attn_core::EncoderConfig, dropout: f32) {
    config.dropout = dropout;
    config.attention.dropout = dropout;
    let encoder = Encoder::new(config).expect("valid");
    // Norms and biases away from one and zero, so that no term vanishes.
    let mut params: Vec<f32> = encoder
        .init(3)
        .iter()
        .zip(sequence(8, encoder.n_params()))
        .map(|(p, noise)| p + 0.2 * noise)
        .collect();
    let (values, lengths, targets) = windows(encoder.config(), 6, 1);
    let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
    let loss = CrossEntropy { class_weights: Some(vec![0.5, 1.0, 2.0, 1.5]), label_smoothing: 0.1 };
    let mut workspace = Workspace::new(1);
    let seed = (dropout > 0.0).then_some(77);
    let mut grad = vec![f32::NAN; encoder.n_params()];
    encoder.gradient(&params, &batch, &targets, &loss, seed, &mut workspace, &mut grad);
    let mut unused = vec![0.0; encoder.n_params()];
    for tensor in encoder.layout().tensors() {
        let step = (tensor.range.len() / 7).max(1);
        let indices: Vec<usize> = tensor.range.clone().step_by(step).collect();
        let expected = finite_difference(&mut params, &indices, 2e-3, |p| {
            encoder.gradient(p, &batch, &targets, &loss, seed, &mut workspace, &mut unused).loss
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

#[test]
fn of_every_tensor_equal_finite_differences() {
    for config in configs() {
        check(config, 0.0);
    }
}

#[test]
fn with_dropout_equal_finite_differences_under_the_same_masks() {
    for config in configs() {
        check(config, 0.3);
    }
}
