//! Attention alone, matrix products alone, and the rate the others are compared with.

use std::time::Instant;

use anyhow::{Context, ensure};
use attn_core::{
    AttnDims, AttnOptions, Rows, RowsMut, attention_backward, attention_backward_scratch,
    attention_forward, attention_forward_scratch,
};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::case::{Case, noise};
use crate::cli::{AttentionShape, GemmShape};

/// Side of the products that define the machine's rate: three matrices of 576 KiB.
const SIDE: usize = 384;

/// Buffers of one sequence.
struct Sequence {
    qkv: Vec<f32>,
    out: Vec<f32>,
    stats: Vec<f32>,
    d_out: Vec<f32>,
    d_qkv: Vec<f32>,
    scratch: Vec<f32>,
}

/// Attention of a batch: sequences side by side on the threads, or the heads of each where there
/// are fewer sequences than threads.
pub(super) fn attention(shape: AttentionShape, threads: usize) -> anyhow::Result<Case> {
    ensure!(shape.batch >= 1, "--batch must be at least 1");
    let dims = AttnDims::new(shape.seq, shape.heads, shape.head_dim).context("the shape")?;
    let n = shape.seq * dims.q_width();
    n.checked_mul(8 * shape.batch).filter(|n| *n < 1 << 32).context("the shape is too large")?;
    let inner_threads = if shape.batch >= threads { 1 } else { threads };
    let forward_scratch = attention_forward_scratch(dims, inner_threads);
    let backward_scratch = attention_backward_scratch(dims, inner_threads);
    let mut sequences: Vec<Sequence> = (0..shape.batch)
        .map(|b| Sequence {
            qkv: noise(3 * n, b as u32),
            out: vec![0.0; n],
            stats: vec![0.0; 2 * shape.seq * shape.heads],
            d_out: if shape.backward { noise(n, b as u32 + 77) } else { Vec::new() },
            d_qkv: if shape.backward { vec![0.0; 3 * n] } else { Vec::new() },
            scratch: vec![
                0.0;
                if shape.backward {
                    forward_scratch.max(backward_scratch)
                } else {
                    forward_scratch
                }
            ],
        })
        .collect();
    let once = move |s: &mut Sequence| s.run(dims, inner_threads);
    // Two products forward, four backward; computing the scores again is not counted.
    let products = if shape.backward { 6.0 } else { 2.0 };
    Ok(Case {
        what: "attention".to_owned(),
        flops: products * 2.0 * (shape.batch * shape.seq * n) as f64,
        windows: shape.batch as f64,
        seconds: shape.seconds,
        parts: None,
        once: Box::new(move || {
            if threads == 1 || inner_threads > 1 {
                sequences.iter_mut().for_each(once);
            } else {
                sequences.par_iter_mut().for_each(once);
            }
        }),
    })
}

impl Sequence {
    /// Forward, and backward where there is an output gradient.
    fn run(&mut self, dims: AttnDims, threads: usize) {
        let Self { qkv, out, stats, d_out, d_qkv, scratch } = self;
        let width = dims.q_width();
        let qkv = [0, 1, 2].map(|part| Rows::new(&qkv[part * width..], 3 * width));
        let options = AttnOptions::default();
        let view = RowsMut::new(out, width);
        attention_forward(view, stats, qkv, dims, &options, threads, scratch);
        if d_out.is_empty() {
            return;
        }
        let (d_q, d_kv) = RowsMut::new(d_qkv, 3 * width).split_at_column(width);
        let (d_k, d_v) = d_kv.split_at_column(width);
        let (d_out, out) = (Rows::new(d_out, width), Rows::new(out, width));
        let gradients = [d_q, d_k, d_v];
        attention_backward(gradients, d_out, out, stats, qkv, dims, &options, threads, scratch);
    }
}

/// One matrix product on all threads.
pub(super) fn gemm(shape: GemmShape, threads: usize) -> anyhow::Result<Case> {
    let GemmShape { m, n, k, seconds } = shape;
    ensure!(m >= 1 && n >= 1 && k >= 1, "--m, --n and --k must be at least 1");
    let size = |a: usize, b: usize| {
        a.checked_mul(b).filter(|n| *n < 1 << 31).context("the matrices are too large")
    };
    let (a, b, mut c) = (noise(size(m, k)?, 1), noise(size(k, n)?, 2), vec![0.0; size(m, n)?]);
    let par = if threads == 1 { Par::Seq } else { Par::rayon(threads) };
    Ok(Case {
        what: format!("product of {m} x {k} and {k} x {n}"),
        flops: 2.0 * m as f64 * n as f64 * k as f64,
        windows: 1.0,
        seconds,
        parts: None,
        once: Box::new(move || {
            matmul(
                MatMut::from_row_major_slice_mut(&mut c, m, n),
                Accum::Replace,
                MatRef::from_row_major_slice(&a, m, k),
                MatRef::from_row_major_slice(&b, k, n),
                1.0,
                par,
            );
        }),
    })
}

/// What large products reach, one per thread side by side: the median of several tries.
pub(super) fn matmul_gflops(threads: usize) -> f64 {
    const REPETITIONS: usize = 40;
    let mut buffers: Vec<[Vec<f32>; 3]> =
        (0..threads).map(|t| [1, 2, 3].map(|i| noise(SIDE * SIDE, t as u32 * 3 + i))).collect();
    let product = |[a, b, c]: &mut [Vec<f32>; 3]| {
        for _ in 0..REPETITIONS {
            matmul(
                MatMut::from_row_major_slice_mut(c, SIDE, SIDE),
                Accum::Replace,
                MatRef::from_row_major_slice(a, SIDE, SIDE),
                MatRef::from_row_major_slice(b, SIDE, SIDE),
                1.0,
                Par::Seq,
            );
        }
    };
    let mut rates: Vec<f64> = (0..9)
        .map(|_| {
            let began = Instant::now();
            buffers.par_iter_mut().for_each(product);
            let flops = 2.0 * (SIDE * SIDE * SIDE * REPETITIONS * threads) as f64;
            flops / began.elapsed().as_secs_f64() * 1e-9
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
