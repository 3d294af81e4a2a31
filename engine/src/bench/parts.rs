//! Where the time of a training step goes: each kernel alone, over the sizes of one chunk.

use std::time::Instant;

use attn_core::{
    AttnDims, AttnOptions, EncoderConfig, Rows, RowsMut, attention_backward,
    attention_backward_scratch, attention_forward, attention_forward_scratch, gelu_backward,
    gelu_forward, layer_norm_backward, layer_norm_forward, linear_backward_input,
    linear_backward_params, linear_forward,
};
use optim::{AdamWConfig, Optimizer};

use super::case::{Part, noise};

/// Tokens that the kernels see at once in a step, unless a window has more.
const CHUNK: usize = 128;

/// Shares of the parts of a step; what lies between them (copies, sums over lanes, the head) is
/// small and left out.
pub(super) fn of_step(config: &EncoderConfig, batch: usize) -> Vec<Part> {
    let tokens = config.tokens(config.seq_len);
    let windows = (CHUNK / tokens).clamp(1, batch);
    let rows = windows * tokens;
    let chunks = batch as f64 / windows as f64 * config.n_layers as f64;
    let (d, d_ff) = (config.d_model, config.d_ff);
    let mut linear = (0.0, 0.0);
    for (inputs, outputs) in [(d, config.qkv_width()), (d, d), (d, d_ff), (d_ff, d)] {
        let (forward, backward) = linear_layer(rows, inputs, outputs);
        linear = (linear.0 + forward, linear.1 + backward);
    }
    let attention = attention(config, tokens, windows);
    let norm = layer_norm(rows, d);
    let gelu = gelu(rows * d_ff);
    let seconds = [
        ("linear forward", chunks * linear.0),
        ("linear backward", chunks * linear.1),
        ("attention forward", chunks * attention.0),
        ("attention backward", chunks * attention.1),
        ("layer norm", 2.0 * chunks * norm),
        ("GELU", chunks * gelu),
        ("AdamW", optimizer(config)),
    ];
    let total: f64 = seconds.iter().map(|(_, s)| s).sum();
    seconds.into_iter().map(|(part, s)| Part { part, share: s / total }).collect()
}

/// Median seconds of one call.
fn time(mut call: impl FnMut()) -> f64 {
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < 7 || began.elapsed().as_secs_f64() < 0.05 {
        let start = Instant::now();
        call();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn linear_layer(rows: usize, inputs: usize, outputs: usize) -> (f64, f64) {
    let (x, weight) = (noise(rows * inputs, 1), noise(outputs * inputs, 2));
    let (bias, d_out) = (noise(outputs, 3), noise(rows * outputs, 4));
    let (mut out, mut d_x) = (vec![0.0; rows * outputs], vec![0.0; rows * inputs]);
    let (mut d_weight, mut d_bias) = (vec![0.0; weight.len()], vec![0.0; outputs]);
    let forward = time(|| linear_forward(&mut out, &x, &weight, &bias));
    let backward = time(|| {
        linear_backward_params(&mut d_weight, &mut d_bias, &d_out, &x);
        linear_backward_input(&mut d_x, &d_out, &weight, outputs);
    });
    (forward, backward)
}

fn attention(config: &EncoderConfig, tokens: usize, windows: usize) -> (f64, f64) {
    let dims = AttnDims {
        seq_q: tokens,
        seq_kv: tokens,
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads(),
        head_dim: config.head_dim(),
    };
    let (d, kv, width) = (config.d_model, config.kv_width(), config.qkv_width());
    let (qkv, d_out) = (noise(tokens * width, 5), noise(tokens * d, 6));
    let (mut out, mut d_qkv) = (vec![0.0; tokens * d], vec![0.0; tokens * width]);
    let mut stats = vec![0.0; 2 * config.n_heads * tokens];
    let scratch = attention_forward_scratch(dims, 1).max(attention_backward_scratch(dims, 1));
    let mut scratch = vec![0.0; scratch];
    let options = AttnOptions { mask: config.attention.mask, ..AttnOptions::default() };
    let rows = [0, d, d + kv].map(|column| Rows::new(&qkv[column..], width));
    let forward = time(|| {
        let out = RowsMut::new(&mut out, d);
        attention_forward(out, &mut stats, rows, dims, &options, 1, &mut scratch);
    });
    let backward = time(|| {
        let (d_q, d_kv) = RowsMut::new(&mut d_qkv, width).split_at_column(d);
        let (d_k, d_v) = d_kv.split_at_column(kv);
        let (d_out, out) = (Rows::new(&d_out, d), Rows::new(&out, d));
        let gradients = [d_q, d_k, d_v];
        attention_backward(gradients, d_out, out, &stats, rows, dims, &options, 1, &mut scratch);
    });
    (windows as f64 * forward, windows as f64 * backward)
}

fn layer_norm(rows: usize, d: usize) -> f64 {
    let (x, d_out) = (noise(rows * d, 7), noise(rows * d, 8));
    let (weight, bias) = (noise(d, 9), noise(d, 10));
    let (mut out, mut d_x) = (vec![0.0; rows * d], vec![0.0; rows * d]);
    let (mut d_weight, mut d_bias) = (vec![0.0; d], vec![0.0; d]);
    let mut stats = vec![(0.0, 0.0); rows];
    time(|| {
        layer_norm_forward(&mut out, &mut stats, &x, &weight, &bias);
        layer_norm_backward(&mut d_x, &mut d_weight, &mut d_bias, &d_out, &x, &stats, &weight);
    })
}

fn gelu(n: usize) -> f64 {
    let (x, mut out, mut d) = (noise(n, 11), vec![0.0; n], noise(n, 12));
    time(|| {
        gelu_forward(&mut out, &x);
        gelu_backward(&mut d, &x);
    })
}

fn optimizer(config: &EncoderConfig) -> f64 {
    let Ok(encoder) = attn_core::Encoder::new(config.clone()) else { return 0.0 };
    let n = encoder.n_params();
    let (mut params, grad) = (noise(n, 13), noise(n, 14));
    let Ok(mut optimizer) = AdamWConfig::default().build(n) else { return 0.0 };
    time(|| optimizer.step(&mut params, &grad, 1e-4))
}
