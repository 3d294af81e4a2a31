//! Attention alone, matrix products alone, and the rate the others are compared with.

use std::time::Instant;

use anyhow::{Context, ensure};
use attn_core::{AttnDims, attention_backward, attention_forward, attention_scratch};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::{Case, noise};
use crate::cli::{AttentionShape, GemmShape};

/// Side of the products that define the machine's rate: three matrices of 576 KiB.
const SIDE: usize = 384;

/// Buffers of one sequence.
struct Sequence {
    qkv: Vec<f32>,
    out: Vec<f32>,
    lse: Vec<f32>,
    d_out: Vec<f32>,
    d_qkv: Vec<f32>,
    scratch: Vec<f32>,
}

/// Attention of a batch, sequences side by side on the threads.
pub(super) fn attention(shape: AttentionShape, threads: usize) -> anyhow::Result<Case> {
    ensure!(shape.batch >= 1, "--batch must be at least 1");
    let dims = AttnDims::new(shape.seq, shape.heads, shape.head_dim).context("the shape")?;
    let n = shape.seq * dims.d_model();
    n.checked_mul(8 * shape.batch).filter(|n| *n < 1 << 32).context("the shape is too large")?;
    let mut sequences: Vec<Sequence> = (0..shape.batch)
        .map(|b| Sequence {
            qkv: noise(3 * n, b as u32),
            out: vec![0.0; n],
            lse: vec![0.0; shape.seq * shape.heads],
            d_out: noise(n, b as u32 + 77),
            d_qkv: if shape.backward { vec![0.0; 3 * n] } else { Vec::new() },
            scratch: vec![0.0; attention_scratch(dims)],
        })
        .collect();
    let once = move |s: &mut Sequence| {
        attention_forward(&mut s.out, &mut s.lse, &s.qkv, dims, &mut s.scratch);
        if shape.backward {
            attention_backward(
                &mut s.d_qkv,
                &s.d_out,
                &s.out,
                &s.lse,
                &s.qkv,
                dims,
                &mut s.scratch,
            );
        }
    };
    // Two products forward, four backward; computing the scores again is not counted.
    let products = if shape.backward { 6.0 } else { 2.0 };
    Ok(Case {
        what: "attention".to_owned(),
        flops: products * 2.0 * (shape.batch * shape.seq * n) as f64,
        windows: shape.batch as f64,
        seconds: shape.seconds,
        once: Box::new(move || {
            if threads == 1 {
                sequences.iter_mut().for_each(once);
            } else {
                sequences.par_iter_mut().for_each(once);
            }
        }),
    })
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
