//! Token states and the head's answers to tokens.

use attn_core::{
    AttnDims, AttnOptions, Batch, Encoder, EncoderConfig, Outputs, Pooling, Positions, Rotary,
    Rows, Workspace, alibi_slopes, gelu_forward, reference,
};
use testkit::{assert_close, assert_same_bits, sequence};

use crate::common::{causal_configs, config, configs, noisy, windows};

struct Found {
    logits: Vec<f32>,
    states: Vec<f32>,
    token_outputs: Vec<f32>,
}

fn run(
    encoder: &Encoder,
    params: &[f32],
    values: &[f32],
    lengths: &[usize],
    threads: usize,
) -> Found {
    let config = encoder.config();
    let batch = Batch::new(config, values, lengths).expect("valid");
    let (n_tokens, n_outputs) = (encoder.n_tokens(&batch), config.task.n_outputs());
    let mut found = Found {
        logits: vec![f32::NAN; lengths.len() * n_outputs],
        states: vec![f32::NAN; n_tokens * config.d_model],
        token_outputs: vec![f32::NAN; n_tokens * n_outputs],
    };
    let Found { logits, states, token_outputs } = &mut found;
    let out = Outputs { logits, states, token_outputs };
    encoder.forward_tokens(params, &batch, &mut Workspace::new(threads), out);
    found
}

/// The tokens of one window behind the last norm, by the plain functions of the reference.
fn plain_states(encoder: &Encoder, params: &[f32], window: &[f32]) -> Vec<f32> {
    let config = encoder.config();
    let (d, n_heads) = (config.d_model, config.n_heads);
    let tensor =
        |name: &str| encoder.layout().get(name).map(|tensor| &params[tensor.range.clone()]);
    let part = |name: String| tensor(&name).unwrap_or_else(|| panic!("no tensor {name}"));
    let linear = |name: &str, x: &[f32]| {
        reference::linear(x, part(format!("{name}.weight")), part(format!("{name}.bias")))
    };
    let norm = |name: &str, x: &[f32]| {
        reference::layer_norm(x, part(format!("{name}.weight")), part(format!("{name}.bias")))
    };
    let add = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let mut patches = window.to_vec();
    patches.resize(window.len().next_multiple_of(config.patch_width()), 0.0);
    let mut x = tensor("cls_token").map_or(Vec::new(), <[f32]>::to_vec);
    x.extend(linear("patch_embed.proj", &patches));
    let seq = x.len() / d;
    if let Some(positions) = tensor("pos_embed") {
        x = add(&x, positions);
    } else if config.positions == Positions::Sinusoidal {
        let sinusoid = |i: usize| {
            let (position, column) = (i / d, i % d);
            let angle = position as f64 / 1e4_f64.powf((column - column % 2) as f64 / d as f64);
            (if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
        };
        x = add(&x, &(0..seq * d).map(sinusoid).collect::<Vec<_>>());
    }
    let slopes = alibi_slopes(n_heads);
    let options = AttnOptions {
        mask: config.attention.mask,
        alibi: (config.positions == Positions::Alibi).then_some(&slopes),
        ..AttnOptions::default()
    };
    let dims = AttnDims {
        seq_q: seq,
        seq_kv: seq,
        n_heads,
        n_kv_heads: config.n_kv_heads(),
        head_dim: config.head_dim(),
    };
    for i in 0..config.n_layers {
        let mut qkv =
            linear(&format!("blocks.{i}.attn.qkv"), &norm(&format!("blocks.{i}.norm1"), &x));
        let width = config.qkv_width();
        if config.positions == Positions::Rotary {
            let heads = n_heads + config.n_kv_heads();
            Rotary::new(seq, config.head_dim()).rotate(&mut qkv, width, heads, 0);
        }
        let columns = [0, d, d + config.kv_width()];
        let attended = reference::attention(
            columns.map(|column| Rows::new(&qkv[column..], width)),
            dims,
            &options,
        );
        x = add(&x, &linear(&format!("blocks.{i}.attn.proj"), &attended));
        let hidden =
            linear(&format!("blocks.{i}.mlp.fc1"), &norm(&format!("blocks.{i}.norm2"), &x));
        let mut activated = hidden.clone();
        gelu_forward(&mut activated, &hidden);
        x = add(&x, &linear(&format!("blocks.{i}.mlp.fc2"), &activated));
    }
    norm("norm", &x)
}

/// Odd sizes, and windows of more than one chunk and one panel of tokens.
fn large(mut config: EncoderConfig) -> EncoderConfig {
    (config.seq_len, config.d_model, config.n_heads, config.d_ff) = (301, 36, 6, 50);
    config.attention.n_kv_heads = config.attention.n_kv_heads.map(|_| 2);
    config
}

#[test]
fn equal_the_plain_reference() {
    for config in configs() {
        for config in [config.clone(), large(config)] {
            let encoder = Encoder::new(config).expect("valid");
            let (config, params) = (encoder.config(), noisy(&encoder));
            let (values, lengths, _) = windows(config, 5, 3);
            let found = run(&encoder, &params, &values, &lengths, 1);
            let (mut rest, mut expected) = (values.as_slice(), Vec::new());
            for len in lengths {
                let (window, others) = rest.split_at(len * config.channels);
                rest = others;
                expected.extend(plain_states(&encoder, &params, window));
            }
            assert_close("states", &found.states, &expected, 1e-4, 5e-5);
            let part =
                |name: &str| &params[encoder.layout().get(name).expect("a tensor").range.clone()];
            let expected = reference::linear(&found.states, part("head.weight"), part("head.bias"));
            assert_close("outputs", &found.token_outputs, &expected, 1e-5, 1e-5);
        }
    }
}

#[test]
fn pooled_are_the_logits() {
    for pooling in [Pooling::Mean, Pooling::ClassToken, Pooling::Last] {
        for config in
            [config(Positions::Learned, pooling), { large(config(Positions::Sinusoidal, pooling)) }]
        {
            let encoder = Encoder::new(config).expect("valid");
            let (config, params) = (encoder.config(), noisy(&encoder));
            let (values, lengths, _) = windows(config, 23, 5);
            let found = run(&encoder, &params, &values, &lengths, 1);
            let mut rest = found.token_outputs.as_slice();
            for (len, logits) in lengths.iter().zip(found.logits.chunks(4)) {
                let (own, others) = rest.split_at(config.tokens(*len) * 4);
                rest = others;
                let expected: Vec<f32> = match pooling {
                    Pooling::Mean => (0..4)
                        .map(|c| {
                            own.iter().skip(c).step_by(4).sum::<f32>() / (own.len() / 4) as f32
                        })
                        .collect(),
                    Pooling::ClassToken => own[..4].to_vec(),
                    _ => own[own.len() - 4..].to_vec(),
                };
                assert_close("logits", logits, &expected, 1e-5, 2e-5);
            }
            assert!(rest.is_empty());
        }
    }
}

#[test]
fn beside_them_are_the_logits_of_forward_on_any_number_of_threads() {
    for config in configs() {
        let encoder = Encoder::new(config).expect("valid");
        let params = noisy(&encoder);
        let (values, lengths, _) = windows(encoder.config(), 700, 6);
        let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
        let mut logits = vec![f32::NAN; 700 * 4];
        encoder.forward(&params, &batch, &mut Workspace::new(1), &mut logits);
        let found = run(&encoder, &params, &values, &lengths, 1);
        assert_same_bits("logits", &found.logits, &logits);
        let threaded = run(&encoder, &params, &values, &lengths, 3);
        assert_same_bits("logits", &threaded.logits, &logits);
        assert_same_bits("states", &threaded.states, &found.states);
        assert_same_bits("outputs", &threaded.token_outputs, &found.token_outputs);
    }
}

#[test]
fn of_a_causal_model_do_not_depend_on_what_comes() {
    for config in causal_configs() {
        let encoder = Encoder::new(config).expect("valid");
        let params = noisy(&encoder);
        let window = sequence(7, 10 * 3);
        let whole = run(&encoder, &params, &window, &[10], 1);
        for tokens in 1..5 {
            // Two steps a token.
            let part = run(&encoder, &params, &window[..tokens * 2 * 3], &[tokens * 2], 1);
            let expected = &whole.token_outputs[..tokens * 4];
            assert_close("outputs", &part.token_outputs, expected, 1e-4, 2e-5);
            if encoder.config().pooling == Pooling::Last {
                let last = &expected[(tokens - 1) * 4..];
                assert_close("logits", &part.logits, last, 1e-4, 2e-5);
            }
        }
    }
}

#[test]
#[should_panic(expected = "values of token states")]
fn too_short_a_buffer_panics() {
    let encoder = Encoder::new(config(Positions::Learned, Pooling::Mean)).expect("valid");
    let batch = Batch::new(encoder.config(), &[0.0; 3], &[1]).expect("valid");
    let out =
        Outputs { logits: &mut [0.0; 4], states: &mut [0.0; 11], token_outputs: &mut [0.0; 4] };
    encoder.forward_tokens(&encoder.init(1), &batch, &mut Workspace::new(1), out);
}
