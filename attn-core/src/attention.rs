//! Multi-head self-attention over one sequence, forward and backward, on a fused buffer of
//! queries, keys and values.
//!
//! Both passes walk over blocks of query rows and keep only one block of scores, small enough for
//! the second-level cache; the backward pass computes the scores again from each row's
//! log-sum-exp. Memory grows with `seq`, not with its square.

use faer::{Accum, MatRef};

use crate::dims::AttnDims;
use crate::linear::{mat, mat_mut, product};
use crate::simd::{LANES, exp, max, sum_by, vectorize};

/// Scores in one block: 32 Ki f32 are 128 KiB, so that scores and their gradients stay in a
/// second-level cache of 512 KiB beside keys and values.
const BLOCK_SCORES: usize = 32 * 1024;

/// Fewest query rows in a block: with fewer, a product loses more than the cache gives.
const MIN_BLOCK_ROWS: usize = 16;

/// f32 values of workspace that [`attention_forward`] and [`attention_backward`] need.
///
/// ```
/// let dims = attn_core::AttnDims::new(100, 4, 16)?;
/// assert!(attn_core::attention_scratch(dims) >= 2 * 100 * 100);
/// # Ok::<(), attn_core::DimsError>(())
/// ```
pub fn attention_scratch(dims: AttnDims) -> usize {
    let rows = block_rows(dims.seq);
    rows * (2 * padded(dims.seq) + 1)
}

fn block_rows(seq: usize) -> usize {
    (BLOCK_SCORES / padded(seq)).max(MIN_BLOCK_ROWS).min(seq)
}

/// Score rows are padded to whole vectors, so that no loop has an odd end.
fn padded(seq: usize) -> usize {
    seq.next_multiple_of(LANES)
}

/// `out = softmax(q·kᵀ / √head_dim)·v` for every head
/// ([arXiv 1706.03762](https://arxiv.org/abs/1706.03762)).
///
/// # Shapes
/// - `qkv`: `[seq, 3 * d_model]`, each row the query, key and value of a token, heads side by
///   side inside each
/// - `out`: `[seq, d_model]`, overwritten
/// - `lse`: `[n_heads, seq]`, overwritten with `ln Σ exp(score)` for the backward pass
/// - `scratch`: at least [`attention_scratch`] values
///
/// # Panics
/// If a length does not fit `dims`.
pub fn attention_forward(
    out: &mut [f32],
    lse: &mut [f32],
    qkv: &[f32],
    dims: AttnDims,
    scratch: &mut [f32],
) {
    check(dims, out.len(), lse.len(), qkv.len(), scratch.len());
    let (seq, head_dim, d_model) = (dims.seq, dims.head_dim, dims.d_model());
    let (stride, rows) = (padded(seq), block_rows(seq));
    let scale = 1.0 / (head_dim as f32).sqrt();
    let (scores, scratch) = scratch.split_at_mut(rows * stride);
    let inverse_sums = &mut scratch[..rows];
    for (head, lse) in lse.chunks_exact_mut(seq).enumerate() {
        let [queries, keys, values] = head_views(qkv, dims, head);
        for (block, lse) in lse.chunks_mut(rows).enumerate() {
            let (first, n) = (block * rows, lse.len());
            let scores = &mut scores[..n * stride];
            // 1. scores = q·kᵀ·scale
            product(
                mat_mut(scores, n, stride).subcols_mut(0, seq),
                Accum::Replace,
                queries.subrows(first, n),
                keys.transpose(),
                scale,
            );
            // 2. exp(score − max), not yet divided by the sum
            exponentials(scores, stride, seq, lse, inverse_sums);
            // 3. out = exponentials·v
            product(
                mat_mut(out, seq, d_model).submatrix_mut(first, head * head_dim, n, head_dim),
                Accum::Replace,
                mat(scores, n, stride).subcols(0, seq),
                values,
                1.0,
            );
            // 4. out /= sum: head_dim numbers a row instead of seq
            vectorize(
                #[inline(always)]
                || {
                    let rows = out.chunks_exact_mut(d_model).skip(first);
                    for (row, &inverse) in rows.zip(&inverse_sums[..n]) {
                        for o in &mut row[head * head_dim..(head + 1) * head_dim] {
                            *o *= inverse;
                        }
                    }
                },
            );
        }
    }
}

/// Turns rows of scores into `exp(score − max)`, and writes each row's log-sum-exp and 1/sum.
fn exponentials(
    scores: &mut [f32],
    stride: usize,
    seq: usize,
    lse: &mut [f32],
    inverse_sums: &mut [f32],
) {
    vectorize(
        #[inline(always)]
        || {
            let rows = scores.chunks_exact_mut(stride);
            for ((row, lse), inverse) in rows.zip(lse.iter_mut()).zip(inverse_sums) {
                row[seq..].fill(f32::NEG_INFINITY);
                let top = max(row);
                for s in row.iter_mut() {
                    *s = exp(*s - top);
                }
                let sum = sum_by(stride, |j| row[j]);
                *lse = top + sum.ln();
                *inverse = 1.0 / sum;
            }
        },
    );
}

/// Backward of [`attention_forward`]; overwrites `d_qkv`.
///
/// With `p = exp(score − lse)` and `δ = Σ d_out·out` per row: `d_v = pᵀ·d_out`,
/// `d_score = p·(d_out·vᵀ − δ)`, `d_q = scale·d_score·k`, `d_k = scale·d_scoreᵀ·q`
/// (section 3.1 of [arXiv 2307.08691](https://arxiv.org/abs/2307.08691)).
///
/// # Shapes
/// `d_qkv` as `qkv`, `d_out` as `out`, the rest as in the forward pass.
///
/// # Panics
/// If a length does not fit `dims`.
pub fn attention_backward(
    d_qkv: &mut [f32],
    d_out: &[f32],
    out: &[f32],
    lse: &[f32],
    qkv: &[f32],
    dims: AttnDims,
    scratch: &mut [f32],
) {
    check(dims, out.len(), lse.len(), qkv.len(), scratch.len());
    assert_eq!((d_qkv.len(), d_out.len()), (qkv.len(), out.len()), "attention: gradient lengths");
    let (seq, head_dim, d_model) = (dims.seq, dims.head_dim, dims.d_model());
    let (stride, rows) = (padded(seq), block_rows(seq));
    let scale = 1.0 / (head_dim as f32).sqrt();
    let (probs, scratch) = scratch.split_at_mut(rows * stride);
    let (d_scores, scratch) = scratch.split_at_mut(rows * stride);
    let deltas = &mut scratch[..rows];
    for (head, lse) in lse.chunks_exact(seq).enumerate() {
        let [queries, keys, values] = head_views(qkv, dims, head);
        let head_columns = head * head_dim..(head + 1) * head_dim;
        for (block, lse) in lse.chunks(rows).enumerate() {
            let (first, n) = (block * rows, lse.len());
            let accum = if block == 0 { Accum::Replace } else { Accum::Add };
            let (probs, d_scores) = (&mut probs[..n * stride], &mut d_scores[..n * stride]);
            let queries = queries.subrows(first, n);
            let d_out_block =
                mat(d_out, seq, d_model).submatrix(first, head * head_dim, n, head_dim);
            // 1. scores = q·kᵀ·scale, again
            product(
                mat_mut(probs, n, stride).subcols_mut(0, seq),
                Accum::Replace,
                queries,
                keys.transpose(),
                scale,
            );
            // 2. the gradient at the probabilities, d_out·vᵀ
            product(
                mat_mut(d_scores, n, stride).subcols_mut(0, seq),
                Accum::Replace,
                d_out_block,
                values.transpose(),
                1.0,
            );
            // 3. probabilities, and through the softmax
            for (i, delta) in deltas[..n].iter_mut().enumerate() {
                let row = (first + i) * d_model;
                let (d_out, out) = (&d_out[row..row + d_model], &out[row..row + d_model]);
                let (d_out, out) = (&d_out[head_columns.clone()], &out[head_columns.clone()]);
                *delta = sum_by(head_dim, |j| d_out[j] * out[j]);
            }
            softmax_backward(probs, d_scores, stride, lse, deltas);
            let probs = mat(probs, n, stride).subcols(0, seq);
            let d_scores = mat(d_scores, n, stride).subcols(0, seq);
            // 4. d_q, d_k, d_v into their columns of the fused buffer
            let mut d_qkv = mat_mut(d_qkv, seq, 3 * d_model);
            let column = |part: usize| part * d_model + head * head_dim;
            product(
                d_qkv.as_mut().submatrix_mut(first, column(0), n, head_dim),
                Accum::Replace,
                d_scores,
                keys,
                scale,
            );
            product(
                d_qkv.as_mut().subcols_mut(column(1), head_dim),
                accum,
                d_scores.transpose(),
                queries,
                scale,
            );
            product(
                d_qkv.as_mut().subcols_mut(column(2), head_dim),
                accum,
                probs.transpose(),
                d_out_block,
                1.0,
            );
        }
    }
}

/// `probs ← exp(score − lse)` and `d ← probs·(d − δ)`, row by row.
fn softmax_backward(probs: &mut [f32], d: &mut [f32], stride: usize, lse: &[f32], deltas: &[f32]) {
    vectorize(
        #[inline(always)]
        || {
            let rows = probs.chunks_exact_mut(stride).zip(d.chunks_exact_mut(stride));
            for ((probs, d), (&lse, &delta)) in rows.zip(lse.iter().zip(deltas)) {
                for (p, d) in probs.iter_mut().zip(d) {
                    *p = exp(*p - lse);
                    *d = *p * (*d - delta);
                }
            }
        },
    );
}

/// Queries, keys and values of one head, each `[seq, head_dim]`, inside the fused buffer.
fn head_views(qkv: &[f32], dims: AttnDims, head: usize) -> [MatRef<'_, f32>; 3] {
    let d_model = dims.d_model();
    [0, 1, 2].map(|part| {
        mat(qkv, dims.seq, 3 * d_model)
            .subcols(part * d_model + head * dims.head_dim, dims.head_dim)
    })
}

fn check(dims: AttnDims, out: usize, lse: usize, qkv: usize, scratch: usize) {
    let n = dims.seq * dims.d_model();
    assert!(
        out == n && qkv == 3 * n && lse == dims.seq * dims.n_heads,
        "attention: out {out}, lse {lse} and qkv {qkv} values do not fit {dims:?}"
    );
    let needed = attention_scratch(dims);
    assert!(scratch >= needed, "attention: scratch has {scratch} values, {needed} are needed");
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, golden, sequence};

    use super::*;
    use crate::reference;

    /// Runs both passes; NaN in every buffer beforehand shows what is not overwritten.
    fn run(qkv: &[f32], d_out: &[f32], dims: AttnDims) -> (Vec<f32>, Vec<f32>) {
        let mut out = vec![f32::NAN; d_out.len()];
        let mut lse = vec![f32::NAN; dims.seq * dims.n_heads];
        let mut scratch = vec![f32::NAN; attention_scratch(dims)];
        attention_forward(&mut out, &mut lse, qkv, dims, &mut scratch);
        let mut d_qkv = vec![f32::NAN; qkv.len()];
        scratch.fill(f32::NAN);
        attention_backward(&mut d_qkv, d_out, &out, &lse, qkv, dims, &mut scratch);
        (out, d_qkv)
    }

    #[test]
    fn equals_the_reference_over_odd_sizes_and_block_edges() {
        // 1024 and more keys make blocks of 32 rows and fewer, so that several blocks add up.
        let sizes = [
            (1, 1, 1),
            (2, 3, 5),
            (15, 2, 4),
            (16, 1, 8),
            (17, 2, 3),
            (33, 4, 16),
            (130, 2, 8),
            (300, 1, 7),
        ];
        for (seq, n_heads, head_dim) in sizes {
            let dims = AttnDims::new(seq, n_heads, head_dim).expect("valid");
            let n = seq * dims.d_model();
            let qkv: Vec<f32> = sequence(1, 3 * n).iter().map(|v| 2.0 * v).collect();
            let d_out = sequence(2, n);
            let (out, d_qkv) = run(&qkv, &d_out, dims);
            let expected = reference::attention(&qkv, dims);
            assert_close("out", &out, &expected, 1e-5, 1e-6);
            let expected = reference::attention_backward(&d_out, &qkv, dims);
            assert_close("d_qkv", &d_qkv, &expected, 1e-4, 2e-6);
        }
    }

    #[test]
    fn large_scores_stay_exact() {
        let dims = AttnDims::new(19, 1, 4).expect("valid");
        let qkv: Vec<f32> = sequence(5, 19 * 12).iter().map(|v| 100.0 * v).collect();
        let d_out = sequence(6, 19 * 4);
        let (out, d_qkv) = run(&qkv, &d_out, dims);
        assert_close("out", &out, &reference::attention(&qkv, dims), 1e-3, 1e-4);
        let expected = reference::attention_backward(&d_out, &qkv, dims);
        let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        assert_close("d_qkv", &d_qkv, &expected, 1e-2, 1e-3 * f64::from(scale));
    }

    #[test]
    fn equals_pytorch() {
        let file = golden("tests/golden/attention.safetensors");
        for case in ["a", "b"] {
            let tensor = |name: &str| &file[&format!("{case}/{name}")];
            let shape = &tensor("q").shape;
            let (batch, heads, seq, head_dim) = (shape[0], shape[1], shape[2], shape[3]);
            let dims = AttnDims::new(seq, heads, head_dim).expect("valid");
            let d_model = dims.d_model();
            // [batch, heads, seq, head_dim] → the rows of one sequence, heads side by side
            let token_rows = |name: &str, b: usize| -> Vec<f32> {
                let values = &tensor(name).values;
                let at = |t: usize, h: usize, j: usize| {
                    values[((b * heads + h) * seq + t) * head_dim + j]
                };
                (0..seq * d_model)
                    .map(|i| at(i / d_model, i % d_model / head_dim, i % head_dim))
                    .collect()
            };
            for b in 0..batch {
                let fuse = |parts: [Vec<f32>; 3]| -> Vec<f32> {
                    (0..seq)
                        .flat_map(|t| {
                            parts.iter().flat_map(move |p| &p[t * d_model..(t + 1) * d_model])
                        })
                        .copied()
                        .collect()
                };
                let qkv = fuse(["q", "k", "v"].map(|n| token_rows(n, b)));
                let (out, d_qkv) = run(&qkv, &token_rows("d_out", b), dims);
                assert_close("out", &out, &token_rows("out", b), 1e-5, 1e-6);
                let expected = fuse(["d_q", "d_k", "d_v"].map(|n| token_rows(n, b)));
                assert_close("d_qkv", &d_qkv, &expected, 1e-4, 2e-6);
            }
        }
    }
}
