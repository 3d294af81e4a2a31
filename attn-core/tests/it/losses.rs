//! Losses that the caller brings: what they are called with, and how their results are summed.

use std::ops::AddAssign;

use attn_core::{Batch, CrossEntropy, Encoder, Pooling, Positions, Workspace};
use testkit::{assert_close, assert_same_bits, sequence};

use crate::common::{config, configs, noisy, windows};

/// Windows in the order in which their results were added.
#[derive(Default)]
struct Seen(Vec<usize>);

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

#[test]
fn results_are_added_in_the_order_of_the_windows_on_any_number_of_threads() {
    let config = config(Positions::Learned, Pooling::Mean);
    let encoder = Encoder::new(config).expect("valid");
    let params = encoder.init(1);
    // Enough tokens for several lanes and several chunks in a lane.
    let (values, lengths, _) = windows(encoder.config(), 2500, 2);
    let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
    let mut logits = vec![f32::NAN; lengths.len() * 4];
    encoder.forward(&params, &batch, &mut Workspace::new(1), &mut logits);
    let mut grads = Vec::new();
    for threads in [1, 2, 5] {
        let mut grad = vec![f32::NAN; encoder.n_params()];
        let loss = |window: usize, found: &[f32], d: &mut [f32]| {
            assert_same_bits("logits", found, &logits[window * 4..(window + 1) * 4]);
            assert!(d.iter().all(|d| d.to_bits() == 0), "zeros beforehand");
            d[window % 4] = found[0];
            Seen(vec![window])
        };
        let mut workspace = Workspace::new(threads);
        let Seen(order) = encoder.gradient(&params, &batch, loss, None, &mut workspace, &mut grad);
        assert_eq!(order, (0..2500).collect::<Vec<_>>());
        grads.push(grad);
    }
    assert_same_bits("two threads", &grads[1], &grads[0]);
    assert_same_bits("five threads", &grads[2], &grads[0]);
}

#[test]
fn cross_entropy_is_one_of_them() {
    for mut config in configs() {
        config.dropout = 0.2;
        let encoder = Encoder::new(config).expect("valid");
        let params = noisy(&encoder);
        let (values, lengths, targets) = windows(encoder.config(), 300, 2);
        let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
        let entropy =
            CrossEntropy { class_weights: Some(vec![0.5, 1.0, 2.0, 1.5]), label_smoothing: 0.1 };
        let mut workspace = Workspace::new(2);
        let mut expected = vec![f32::NAN; encoder.n_params()];
        let seed = Some(6);
        let stats = entropy.gradient(
            &encoder,
            &params,
            &batch,
            &targets,
            seed,
            &mut workspace,
            &mut expected,
        );
        let normalizer = entropy.normalizer(&targets);
        let loss = |window: usize, logits: &[f32], d: &mut [f32]| {
            d.copy_from_slice(logits);
            entropy.loss_and_gradient(d, targets[window], normalizer)
        };
        let mut found = vec![f32::NAN; encoder.n_params()];
        let sum = encoder.gradient(&params, &batch, loss, seed, &mut workspace, &mut found);
        assert_same_bits("gradient", &found, &expected);
        assert_eq!((sum / normalizer).to_bits(), stats.loss.to_bits());
    }
}

#[test]
fn over_tokens_a_loss_of_their_mean_is_one_of_the_pooled_logits() {
    let encoder = Encoder::new(config(Positions::Learned, Pooling::Mean)).expect("valid");
    let params = noisy(&encoder);
    let (values, lengths, _) = windows(encoder.config(), 50, 2);
    let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
    let directions = sequence(3, 50 * 4);
    let mut workspace = Workspace::new(1);
    let (mut pooled, mut per_token) =
        (vec![f32::NAN; encoder.n_params()], vec![f32::NAN; encoder.n_params()]);
    let along = |found: &[f32], d: &[f32]| -> f64 {
        found.iter().zip(d).map(|(y, d)| f64::from(y * d)).sum()
    };
    let loss = |window: usize, found: &[f32], d: &mut [f32]| {
        d.copy_from_slice(&directions[window * 4..(window + 1) * 4]);
        along(found, d)
    };
    let of_windows = encoder.gradient(&params, &batch, loss, None, &mut workspace, &mut pooled);
    let loss = |window: usize, found: &[f32], d: &mut [f32]| {
        let tokens = found.len() / 4;
        for (i, d) in d.iter_mut().enumerate() {
            *d = directions[window * 4 + i % 4] / tokens as f32;
        }
        along(found, d)
    };
    let of_tokens =
        encoder.gradient_tokens(&params, &batch, loss, None, &mut workspace, &mut per_token);
    assert_close("loss", &[of_tokens as f32], &[of_windows as f32], 1e-5, 1e-5);
    assert_close("gradient", &per_token, &pooled, 1e-4, 1e-4);
}

#[test]
fn blocks_computed_again_give_the_same_gradient_of_tokens() {
    for mut config in configs() {
        (config.dropout, config.attention.dropout) = (0.2, Some(0.1));
        let encoder = Encoder::new(config).expect("valid");
        let params = noisy(&encoder);
        let (values, lengths, _) = windows(encoder.config(), 300, 2);
        let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
        let run = |mut workspace: Workspace| {
            let mut grad = vec![f32::NAN; encoder.n_params()];
            let loss = |_: usize, found: &[f32], d: &mut [f32]| {
                d.copy_from_slice(found);
                0.0_f64
            };
            // Between two passes over windows, whose buffers have other sizes.
            let sum = encoder.gradient(&params, &batch, loss, None, &mut workspace, &mut grad);
            let of_tokens =
                encoder.gradient_tokens(&params, &batch, loss, Some(4), &mut workspace, &mut grad);
            assert!((sum + of_tokens).abs() <= 0.0);
            grad
        };
        let kept = run(Workspace::new(2));
        assert_same_bits("gradient", &run(Workspace::new(3).recompute()), &kept);
    }
}

#[test]
fn without_a_target_nothing_moves() {
    let encoder = Encoder::new(config(Positions::Learned, Pooling::ClassToken)).expect("valid");
    let (values, lengths, _) = windows(encoder.config(), 3, 2);
    let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
    let (params, mut grad) = (encoder.init(1), vec![f32::NAN; encoder.n_params()]);
    let loss = |_: usize, _: &[f32], _: &mut [f32]| 0.25_f64;
    let sum = encoder.gradient(&params, &batch, loss, None, &mut Workspace::new(1), &mut grad);
    assert!((sum - 0.75).abs() < 1e-12 && grad.iter().all(|g| g.abs() <= 0.0));
}
