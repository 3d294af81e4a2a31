//! Plain versions of the kernels in f64 loops: the oracle of the tests, never optimized.

use crate::dims::AttnDims;
use crate::layer_norm::LAYER_NORM_EPS;

fn round(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// `x · weightᵀ + bias`; shapes as in [`linear_forward`](crate::linear_forward).
pub fn linear(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
    let mut out = Vec::new();
    for row in x.chunks(inputs) {
        for o in 0..outputs {
            let mut sum = f64::from(bias[o]);
            for i in 0..inputs {
                sum += f64::from(row[i]) * f64::from(weight[o * inputs + i]);
            }
            out.push(sum as f32);
        }
    }
    out
}

/// `(d_x, d_weight, d_bias)` of [`linear`].
pub fn linear_backward(
    d_out: &[f32],
    x: &[f32],
    weight: &[f32],
    outputs: usize,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let inputs = weight.len() / outputs;
    let (mut d_x, mut d_w, mut d_b) =
        (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; outputs]);
    for r in 0..d_out.len() / outputs {
        for o in 0..outputs {
            let g = f64::from(d_out[r * outputs + o]);
            d_b[o] += g;
            for i in 0..inputs {
                d_x[r * inputs + i] += g * f64::from(weight[o * inputs + i]);
                d_w[o * inputs + i] += g * f64::from(x[r * inputs + i]);
            }
        }
    }
    (round(&d_x), round(&d_w), round(&d_b))
}

/// Mean and 1/√(var + eps) of a row.
fn moments(row: &[f32]) -> (f64, f64) {
    let n = row.len() as f64;
    let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    (mean, 1.0 / (variance + f64::from(LAYER_NORM_EPS)).sqrt())
}

/// Shapes as in [`layer_norm_forward`](crate::layer_norm_forward).
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    for row in x.chunks(weight.len()) {
        let (mean, rstd) = moments(row);
        for j in 0..row.len() {
            let normal = (f64::from(row[j]) - mean) * rstd;
            out.push((normal * f64::from(weight[j]) + f64::from(bias[j])) as f32);
        }
    }
    out
}

/// `(d_x, d_weight, d_bias)` of [`layer_norm`], by the chain rule through mean and variance.
pub fn layer_norm_backward(
    d_out: &[f32],
    x: &[f32],
    weight: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let width = weight.len();
    let n = width as f64;
    let (mut d_x, mut d_w, mut d_b) = (Vec::new(), vec![0.0; width], vec![0.0; width]);
    for (row, d_row) in x.chunks(width).zip(d_out.chunks(width)) {
        let (mean, rstd) = moments(row);
        let (mut d_variance, mut d_mean) = (0.0, 0.0);
        for j in 0..width {
            let (centred, d) = (f64::from(row[j]) - mean, f64::from(d_row[j]));
            d_w[j] += d * centred * rstd;
            d_b[j] += d;
            let d_normal = d * f64::from(weight[j]);
            d_variance += d_normal * centred * -0.5 * rstd.powi(3);
            d_mean -= d_normal * rstd;
        }
        for j in 0..width {
            let (centred, d) = (f64::from(row[j]) - mean, f64::from(d_row[j]));
            let direct = d * f64::from(weight[j]) * rstd;
            d_x.push((direct + d_variance * 2.0 * centred / n + d_mean / n) as f32);
        }
    }
    (d_x, round(&d_w), round(&d_b))
}

/// Probabilities of one head, `[seq, seq]`.
fn probabilities(qkv: &[f32], dims: AttnDims, head: usize) -> Vec<f64> {
    let seq = dims.seq;
    let at = |part, t, j| element(qkv, dims, part, t, head, j);
    let mut probs = vec![0.0; seq * seq];
    for (t, row) in probs.chunks_mut(seq).enumerate() {
        for (s, score) in row.iter_mut().enumerate() {
            let dot: f64 = (0..dims.head_dim).map(|j| at(0, t, j) * at(1, s, j)).sum();
            *score = dot / (dims.head_dim as f64).sqrt();
        }
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|s| (s - top).exp()).sum();
        for score in row {
            *score = (*score - top).exp() / sum;
        }
    }
    probs
}

/// Element `j` of the query (part 0), key (1) or value (2) of token `t` in one head.
fn element(qkv: &[f32], dims: AttnDims, part: usize, t: usize, head: usize, j: usize) -> f64 {
    f64::from(qkv[(3 * t + part) * dims.d_model() + head * dims.head_dim + j])
}

/// Shapes as in [`attention_forward`](crate::attention_forward).
pub fn attention(qkv: &[f32], dims: AttnDims) -> Vec<f32> {
    let (seq, d_model, head_dim) = (dims.seq, dims.d_model(), dims.head_dim);
    let mut out = vec![0.0; seq * d_model];
    for head in 0..dims.n_heads {
        let probs = probabilities(qkv, dims, head);
        for t in 0..seq {
            for j in 0..head_dim {
                let sum: f64 =
                    (0..seq).map(|s| probs[t * seq + s] * element(qkv, dims, 2, s, head, j)).sum();
                out[t * d_model + head * head_dim + j] = sum as f32;
            }
        }
    }
    out
}

/// `d_qkv` of [`attention`].
pub fn attention_backward(d_out: &[f32], qkv: &[f32], dims: AttnDims) -> Vec<f32> {
    let (seq, d_model, head_dim) = (dims.seq, dims.d_model(), dims.head_dim);
    let mut d_qkv = vec![0.0_f64; qkv.len()];
    let place = |part: usize, t: usize, head: usize, j: usize| {
        (3 * t + part) * d_model + head * head_dim + j
    };
    let scale = 1.0 / (head_dim as f64).sqrt();
    for head in 0..dims.n_heads {
        let probs = probabilities(qkv, dims, head);
        for t in 0..seq {
            let d = |j: usize| f64::from(d_out[t * d_model + head * head_dim + j]);
            let d_probs: Vec<f64> = (0..seq)
                .map(|s| (0..head_dim).map(|j| d(j) * element(qkv, dims, 2, s, head, j)).sum())
                .collect();
            let mean: f64 = (0..seq).map(|s| d_probs[s] * probs[t * seq + s]).sum();
            for s in 0..seq {
                let p = probs[t * seq + s];
                let d_score = p * (d_probs[s] - mean) * scale;
                for j in 0..head_dim {
                    d_qkv[place(0, t, head, j)] += d_score * element(qkv, dims, 1, s, head, j);
                    d_qkv[place(1, s, head, j)] += d_score * element(qkv, dims, 0, t, head, j);
                    d_qkv[place(2, s, head, j)] += p * d(j);
                }
            }
        }
    }
    round(&d_qkv)
}
