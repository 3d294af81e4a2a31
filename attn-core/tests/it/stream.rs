//! The stream: after every step the answer of the whole window so far.

use attn_core::{
    Batch, Encoder, EncoderConfig, Mask, Positions, Precision, StreamPredictor, Workspace,
};
use testkit::{assert_close, assert_same_bits, sequence};

use crate::common::{causal_configs, configs, noisy};

/// Pushes a whole window; the logits after every token.
fn push_all(stream: &mut StreamPredictor, window: &[f32]) -> Vec<Vec<f32>> {
    window
        .chunks(stream.config().channels)
        .map(<[f32]>::to_vec)
        .filter_map(|step| stream.push(&step).expect("valid").map(<[f32]>::to_vec))
        .collect()
}

/// The encoder's logits of the first steps of a window.
fn whole(encoder: &Encoder, params: &[f32], window: &[f32], steps: usize) -> Vec<f32> {
    let lengths = [steps];
    let values = &window[..steps * encoder.config().channels];
    let batch = Batch::new(encoder.config(), values, &lengths).expect("valid");
    let mut logits = vec![f32::NAN; encoder.config().task.n_outputs()];
    encoder.forward(params, &batch, &mut Workspace::new(1), &mut logits);
    logits
}

#[test]
fn every_step_equals_the_full_forward_pass() {
    for config in causal_configs() {
        for seq_len in [11, 90] {
            let encoder = Encoder::new(EncoderConfig { seq_len, ..config.clone() }).expect("valid");
            let params = noisy(&encoder);
            let steps = seq_len / 2 * 2;
            let window = sequence(5, steps * 3);
            let mut stream =
                StreamPredictor::new(&encoder, &params, Precision::F32).expect("causal");
            let answers = push_all(&mut stream, &window);
            assert_eq!(answers.len(), steps / 2);
            for (token, answer) in answers.iter().enumerate() {
                let expected = whole(&encoder, &params, &window, 2 * (token + 1));
                assert_close("logits", answer, &expected, 1e-4, 2e-5);
            }
            stream.reset();
            let again = push_all(&mut stream, &window);
            for (a, b) in again.iter().zip(&answers) {
                assert_same_bits("after a reset", a, b);
            }
        }
    }
}

#[test]
fn a_ring_goes_on_past_the_window_of_the_model() {
    for positions in [Positions::Rotary, Positions::Alibi, Positions::Sinusoidal] {
        let mut config = causal_configs().remove(0);
        config.positions = positions;
        config.attention.mask = Mask::SlidingWindow { left: 4, right: 0 };
        let small = Encoder::new(config.clone()).expect("valid");
        // The same model without a limit on the window; its parameters do not depend on it.
        let large = Encoder::new(EncoderConfig { seq_len: 400, ..config }).expect("valid");
        let params = noisy(&small);
        let window = sequence(6, 400 * 3);
        let mut stream = StreamPredictor::new(&small, &params, Precision::F32).expect("causal");
        let answers = push_all(&mut stream, &window);
        for token in [7, 50, 199] {
            let expected = whole(&large, &params, &window, 2 * (token + 1));
            assert_close("logits", &answers[token], &expected, 1e-4, 2e-5);
        }
    }
}

#[test]
fn what_a_stream_cannot_do_is_an_error() {
    let error = |config: EncoderConfig, steps: usize| {
        let encoder = Encoder::new(config).expect("valid");
        let mut stream = StreamPredictor::new(&encoder, &encoder.init(1), Precision::Int8)?;
        for _ in 0..steps {
            stream.push(&[0.0; 3])?;
        }
        stream.push(&[0.0; 2]).map(|_| ())
    };
    let message = |config, steps| error(config, steps).expect_err("must fail").to_string();
    assert!(message(configs().remove(0), 0).contains("causal"));
    let causal = causal_configs();
    assert!(message(causal[0].clone(), 13).contains("longer than the model's 11 steps"));
    assert!(message(causal[2].clone(), 13).contains("longer"), "learned positions end");
    assert!(message(causal[1].clone(), 500).contains("2 values, the model takes 3"));
}
