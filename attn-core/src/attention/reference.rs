//! Attention by its formula in f64 loops: the oracle of the tests, never optimized.

use super::options::{AttnDropout, AttnOptions};
use super::problem::Problem;
use super::rows::Rows;
use crate::dims::AttnDims;

/// Shapes as in [`attention_forward`](crate::attention_forward); gives `out`.
pub fn attention(qkv: [Rows<'_>; 3], dims: AttnDims, options: &AttnOptions<'_>) -> Vec<f32> {
    let problem = Problem::new(qkv, dims, options);
    let mut out = vec![0.0; dims.seq_q * dims.q_width()];
    for head in 0..dims.n_heads {
        for i in 0..dims.seq_q {
            let (probs, keep) = probabilities(&problem, head, i);
            for d in 0..dims.head_dim {
                let sum: f64 = (0..dims.seq_kv)
                    .map(|j| term(probs[j] * keep[j], value(&problem, head, j, d)))
                    .sum();
                out[i * dims.q_width() + head * dims.head_dim + d] = sum as f32;
            }
        }
    }
    out
}

/// `[d_q, d_k, d_v]` of [`attention`].
pub fn attention_backward(
    d_out: Rows<'_>,
    qkv: [Rows<'_>; 3],
    dims: AttnDims,
    options: &AttnOptions<'_>,
) -> [Vec<f32>; 3] {
    let problem = Problem::new(qkv, dims, options);
    let (q_width, kv_width, head_dim) = (dims.q_width(), dims.kv_width(), dims.head_dim);
    let mut d_q = vec![0.0_f64; dims.seq_q * q_width];
    let mut d_k = vec![0.0_f64; dims.seq_kv * kv_width];
    let mut d_v = vec![0.0_f64; dims.seq_kv * kv_width];
    let scale = f64::from(options.scale(dims));
    for head in 0..dims.n_heads {
        let (column, kv_column) = (head * head_dim, problem.kv_column(head));
        for i in 0..dims.seq_q {
            let (probs, keep) = probabilities(&problem, head, i);
            let d = |c: usize| f64::from(d_out.get(i, column + c, 1)[0]);
            let d_probs: Vec<f64> = (0..dims.seq_kv)
                .map(|j| (0..head_dim).map(|c| d(c) * value(&problem, head, j, c)).sum::<f64>())
                .zip(&keep)
                .map(|(sum, keep)| sum * keep)
                .collect();
            let mean: f64 = probs.iter().zip(&d_probs).map(|(&p, &d)| term(p, d)).sum();
            for j in 0..dims.seq_kv {
                let d_score = term(probs[j], d_probs[j] - mean) * scale;
                for c in 0..head_dim {
                    let query = f64::from(problem.q.get(i, column + c, 1)[0]);
                    let key = f64::from(problem.k.get(j, kv_column + c, 1)[0]);
                    d_q[i * q_width + column + c] += term(d_score, key);
                    d_k[j * kv_width + kv_column + c] += term(d_score, query);
                    d_v[j * kv_width + kv_column + c] += term(probs[j] * keep[j], d(c));
                }
            }
        }
    }
    [d_q, d_k, d_v].map(|d| d.iter().map(|&d| d as f32).collect())
}

/// A product in which nothing times anything is nothing: what is masked does not count.
fn term(a: f64, b: f64) -> f64 {
    if a.abs() <= 0.0 { 0.0 } else { a * b }
}

fn value(problem: &Problem<'_>, head: usize, key: usize, d: usize) -> f64 {
    f64::from(problem.v.get(key, problem.kv_column(head) + d, 1)[0])
}

/// Probabilities with which one query of a head sees the keys, where nothing is dropped.
pub(crate) fn weights(problem: &Problem<'_>, head: usize, query: usize) -> Vec<f64> {
    probabilities(problem, head, query).0
}

/// Probabilities of one query before the dropout, and what the dropout multiplies them with.
fn probabilities(problem: &Problem<'_>, head: usize, i: usize) -> (Vec<f64>, Vec<f64>) {
    let (dims, options) = (problem.dims, problem.options);
    let seen = options.mask.keys(i, dims);
    let position = i as f64 + dims.seq_kv as f64 - dims.seq_q as f64;
    let scores: Vec<f64> = (0..dims.seq_kv)
        .map(|j| {
            if !seen.contains(&j) || options.key_mask.is_some_and(|mask| !mask[j]) {
                return f64::NEG_INFINITY;
            }
            let q = problem.q.get(i, head * dims.head_dim, dims.head_dim);
            let k = problem.k.get(j, problem.kv_column(head), dims.head_dim);
            let dot: f64 = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
            let slope = options.alibi.map_or(0.0, |slopes| f64::from(slopes[head]));
            dot * f64::from(options.scale(dims)) - slope * (position - j as f64).abs()
        })
        .collect();
    // A NaN stays: `f64::max` would lose it.
    let top = scores
        .iter()
        .fold(f64::NEG_INFINITY, |top, &s| if s > top || s.is_nan() { s } else { top });
    let exps: Vec<f64> = scores
        .iter()
        .map(|s| if top == f64::NEG_INFINITY { 0.0 } else { (s - top).exp() })
        .collect();
    let sum: f64 = exps.iter().sum();
    let probs = exps.iter().map(|e| if sum.abs() <= 0.0 { 0.0 } else { e / sum }).collect();
    let keep = (0..dims.seq_kv as u32)
        .map(|j| match options.dropout {
            Some(dropout) => {
                let bits = AttnDropout::bits(dropout.query_key(head, i), j);
                if bits < dropout.threshold() { 0.0 } else { f64::from(dropout.scale()) }
            }
            None => 1.0,
        })
        .collect();
    (probs, keep)
}
