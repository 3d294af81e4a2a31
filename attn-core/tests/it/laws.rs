//! Laws: threads, padding, order of windows, dropout, wrong shapes.

use attn_core::{Batch, CrossEntropy, Encoder, Pooling, Positions, Workspace};
use proptest::prelude::*;
use testkit::{assert_close, assert_same_bits, sequence};

use crate::common::{config, configs, windows};

#[test]
fn one_thread_and_many_give_the_same_bits() {
    for mut config in configs() {
        config.dropout = 0.1;
        let encoder = Encoder::new(config).expect("valid");
        let params = encoder.init(1);
        // Enough tokens for several lanes and several chunks in a lane.
        let (values, lengths, targets) = windows(encoder.config(), 2500, 2);
        let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
        let run = |threads: usize| {
            let mut workspace = Workspace::new(threads);
            let mut grad = vec![f32::NAN; encoder.n_params()];
            let mut logits = vec![f32::NAN; lengths.len() * 4];
            let loss = CrossEntropy::default();
            // Twice, as a used workspace must not show.
            for _ in 0..2 {
                loss.gradient(
                    &encoder,
                    &params,
                    &batch,
                    &targets,
                    Some(5),
                    &mut workspace,
                    &mut grad,
                );
                encoder.forward(&params, &batch, &mut workspace, &mut logits);
            }
            (grad, logits)
        };
        let (grad, logits) = run(1);
        for threads in [2, 3, 7] {
            let (other_grad, other_logits) = run(threads);
            assert_same_bits("gradient", &grad, &other_grad);
            assert_same_bits("logits", &logits, &other_logits);
        }
    }
}

#[test]
fn a_window_has_the_same_answer_alone_and_in_a_batch() {
    for config in configs() {
        let encoder = Encoder::new(config).expect("valid");
        let params = encoder.init(4);
        let (values, lengths, _) = windows(encoder.config(), 30, 3);
        let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
        let mut together = vec![f32::NAN; 30 * 4];
        let mut workspace = Workspace::new(2);
        encoder.forward(&params, &batch, &mut workspace, &mut together);
        let mut at = 0;
        for (i, len) in lengths.iter().enumerate() {
            let own = &values[at..at + len * 3];
            at += len * 3;
            let batch =
                Batch::new(encoder.config(), own, std::slice::from_ref(len)).expect("valid");
            let mut alone = [f32::NAN; 4];
            encoder.forward(&params, &batch, &mut workspace, &mut alone);
            assert_close("logits", &alone, &together[i * 4..(i + 1) * 4], 1e-5, 1e-6);
        }
    }
}

#[test]
fn dropout_changes_with_the_seed_and_leaves_evaluation_alone() {
    let mut config = config(Positions::Learned, Pooling::Mean);
    config.dropout = 0.5;
    let encoder = Encoder::new(config).expect("valid");
    let params = encoder.init(4);
    let (values, lengths, targets) = windows(encoder.config(), 8, 3);
    let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
    let mut workspace = Workspace::new(1);
    let mut grad = vec![0.0; encoder.n_params()];
    let mut loss = |seed| {
        let loss = CrossEntropy::default();
        loss.gradient(&encoder, &params, &batch, &targets, seed, &mut workspace, &mut grad).loss
    };
    let (plain, one, again, two) = (loss(None), loss(Some(1)), loss(Some(1)), loss(Some(2)));
    assert!((one - again).abs() <= 0.0 && (one - two).abs() > 1e-6 && (one - plain).abs() > 1e-6);
}

#[test]
fn the_same_seed_gives_the_same_start_and_another_a_different_one() {
    let encoder = Encoder::new(config(Positions::Learned, Pooling::ClassToken)).expect("valid");
    assert_same_bits("init", &encoder.init(9), &encoder.init(9));
    assert_ne!(encoder.init(9), encoder.init(10));
}

#[test]
fn windows_that_do_not_fit_are_errors() {
    let config = config(Positions::Learned, Pooling::Mean);
    let error = |values: &[f32], lengths: &[usize]| {
        Batch::new(&config, values, lengths).map(|_| ()).expect_err("must fail").to_string()
    };
    assert!(error(&[], &[]).contains("no window"));
    assert!(error(&[0.0; 36], &[12]).contains("window 0 has 12 steps"));
    assert!(error(&[], &[0]).contains("0 steps"));
    assert!(error(&[0.0; 7], &[2]).contains("7 values"));
}

#[test]
#[should_panic(expected = "windows and targets differ in number")]
fn a_missing_target_panics() {
    let encoder = Encoder::new(config(Positions::Learned, Pooling::Mean)).expect("valid");
    let batch = Batch::new(encoder.config(), &[0.0; 6], &[1, 1]).expect("valid");
    let (params, mut grad) = (encoder.init(0), vec![0.0; encoder.n_params()]);
    let mut workspace = Workspace::new(1);
    let loss = CrossEntropy::default();
    loss.gradient(&encoder, &params, &batch, &[1], None, &mut workspace, &mut grad);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_windows_does_not_change_their_answers(
        n in 2_usize..12, rotate in 1_usize..11, seed in 0_u64..1000,
    ) {
        let encoder = Encoder::new(config(Positions::Sinusoidal, Pooling::Mean)).expect("valid");
        let params = encoder.init(seed);
        let len = 9;
        let values = sequence(seed, n * len * 3);
        let rotate = rotate % n;
        let mut moved = values.clone();
        moved.rotate_left(rotate * len * 3);
        let lengths = vec![len; n];
        let logits = |values: &[f32]| {
            let batch = Batch::new(encoder.config(), values, &lengths).expect("valid");
            let mut logits = vec![f32::NAN; n * 4];
            encoder.forward(&params, &batch, &mut Workspace::new(1), &mut logits);
            logits
        };
        let mut expected = logits(&values);
        expected.rotate_left(rotate * 4);
        assert_close("logits", &logits(&moved), &expected, 1e-5, 1e-6);
    }
}

#[test]
fn blocks_computed_again_give_the_same_gradient_in_less_memory() {
    for mut config in configs() {
        (config.dropout, config.attention.dropout, config.n_layers) = (0.2, Some(0.1), 9);
        let encoder = Encoder::new(config).expect("valid");
        let params = encoder.init(1);
        let (values, lengths, targets) = windows(encoder.config(), 300, 2);
        let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
        let run = |mut workspace: Workspace| {
            let mut grad = vec![f32::NAN; encoder.n_params()];
            let loss = CrossEntropy::default();
            let seed = Some(5);
            loss.gradient(&encoder, &params, &batch, &targets, seed, &mut workspace, &mut grad);
            (grad, workspace.bytes())
        };
        let (kept, much) = run(Workspace::new(2));
        let (again, little) = run(Workspace::new(2).recompute());
        assert_same_bits("gradient", &again, &kept);
        assert!(4 * little < 3 * much, "{little} bytes instead of {much}");
    }
}
