//! The prepared model: the encoder's answers, on any number of threads, in every precision.

use attn_core::{Batch, Encoder, EncoderConfig, Precision, Predictor, Workspace};
use testkit::{assert_close, assert_same_bits, sequence};

use crate::common::{configs, noisy};

fn logits(encoder: &Encoder, params: &[f32], window: &[f32]) -> Vec<f32> {
    let steps = window.len() / encoder.config().channels;
    let lengths = [steps];
    let batch = Batch::new(encoder.config(), window, &lengths).expect("valid");
    let mut logits = vec![f32::NAN; encoder.config().task.n_outputs()];
    encoder.forward(params, &batch, &mut Workspace::new(1), &mut logits);
    logits
}

/// Larger than one block of rows and one group of queries, odd everywhere.
fn large(mut config: EncoderConfig) -> EncoderConfig {
    config.seq_len = 701;
    (config.d_model, config.n_heads, config.d_ff) = (36, 6, 50);
    config.attention.n_kv_heads = config.attention.n_kv_heads.map(|_| 2);
    config
}

#[test]
fn equals_the_encoder_for_windows_of_every_length() {
    for config in configs() {
        for (config, lengths) in
            [(config.clone(), (1..=11).collect::<Vec<_>>()), (large(config), vec![1, 67, 555, 701])]
        {
            let encoder = Encoder::new(config).expect("valid");
            let params = noisy(&encoder);
            let mut predictor = Predictor::new(&encoder, &params, Precision::F32, 1);
            let mut threaded = Predictor::new(&encoder, &params, Precision::F32, 3);
            for steps in lengths {
                let window = sequence(steps as u64, steps * encoder.config().channels);
                let expected = logits(&encoder, &params, &window);
                let found = predictor.predict(&window).expect("valid");
                assert_close("logits", found, &expected, 1e-4, 2e-5);
                let threaded = threaded.predict(&window).expect("valid");
                assert_same_bits("on threads", threaded, found);
            }
        }
    }
}

#[test]
fn smaller_weights_cost_little() {
    for config in configs() {
        let encoder = Encoder::new(large(config)).expect("valid");
        let params = noisy(&encoder);
        let window = sequence(4, 600 * encoder.config().channels);
        let expected = logits(&encoder, &params, &window);
        let size = expected.iter().fold(0.0_f32, |m, l| m.max(l.abs()));
        let exact = Predictor::new(&encoder, &params, Precision::F32, 1).weight_bytes();
        for (precision, tolerance, share) in
            [(Precision::Bf16, 0.03, 0.6), (Precision::Int8, 0.06, 0.45)]
        {
            let mut predictor = Predictor::new(&encoder, &params, precision, 1);
            assert!((predictor.weight_bytes() as f64) < share * exact as f64);
            let found = predictor.predict(&window).expect("valid");
            assert_close("logits", found, &expected, 0.0, tolerance * f64::from(size));
            assert_ne!(found, expected, "{precision:?} changed nothing");
        }
    }
}

#[test]
fn windows_that_do_not_fit_are_errors() {
    let encoder = Encoder::new(configs().remove(0)).expect("valid");
    let mut predictor = Predictor::new(&encoder, &encoder.init(1), Precision::F32, 1);
    for n in [0, 2, 12 * 3, 10 * 3 + 1] {
        let error = predictor.predict(&vec![0.0; n]).expect_err("must fail").to_string();
        assert!(error.contains("1 to 11 steps of 3 channels"), "{error}");
    }
    let nan = predictor.predict(&[f32::NAN; 9]).expect("valid");
    assert!(nan.iter().all(|l| l.is_nan()), "NaN must show in the answer");
}

#[test]
fn a_window_with_a_gap_answers_alike_on_any_number_of_threads() {
    // NaN outside the sliding window of the last token must not reach it.
    let mut config = large(crate::common::causal_configs().remove(0));
    config.n_layers = 1;
    config.attention.mask = attn_core::Mask::SlidingWindow { left: 30, right: 0 };
    let encoder = Encoder::new(config).expect("valid");
    let params = noisy(&encoder);
    for (steps, gap, seen) in [(400, 200, false), (666, 100, false), (666, 40, true)] {
        let mut window = sequence(5, steps * 3);
        window[(steps - gap) * 3] = f32::NAN;
        assert_eq!(logits(&encoder, &params, &window).iter().any(|l| l.is_nan()), seen);
        for threads in 1..5 {
            let mut predictor = Predictor::new(&encoder, &params, Precision::F32, threads);
            let found = predictor.predict(&window).expect("valid");
            assert_eq!(found.iter().any(|l| l.is_nan()), seen, "{steps}, {gap}, {threads} threads");
        }
    }
}

#[test]
fn a_diverged_model_shows_in_every_precision() {
    let encoder = Encoder::new(configs().remove(0)).expect("valid");
    let norm = encoder.layout().get("blocks.0.norm1.weight").expect("a norm").range.start;
    let mut params = noisy(&encoder);
    params[norm + 3] = f32::NAN;
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let mut predictor = Predictor::new(&encoder, &params, precision, 1);
        assert!(predictor.predict(&[0.5; 9]).expect("valid").iter().all(|l| l.is_nan()));
    }
}
