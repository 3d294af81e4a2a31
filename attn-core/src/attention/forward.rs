//! The forward pass of one head and one panel of queries.

use std::ops::Range;

use faer::MatMut;

use super::options::AttnDropout;
use super::panel::{
    Carver, PANEL, Problem, TILE, dropout_keys, from_lanes, load_panel, padded, panel_width,
    to_lanes,
};
use super::tile::{LANES, Scalars, Start, Strided, multiply};
use crate::simd::{exp2, vectorize};

/// f32 values of workspace for one panel.
pub(crate) fn scratch(head_dim: usize) -> usize {
    Carver::needed(parts(head_dim))
}

/// Queries as rows, queries as lanes, scores, output.
fn parts(head_dim: usize) -> [usize; 4] {
    let panel = PANEL * padded(head_dim);
    [panel, panel, TILE * PANEL, panel]
}

/// `max` and `1 / Σ exp(score − max)` of each query: what the backward pass needs to compute its
/// probabilities again.
pub(crate) struct Stats<'a> {
    pub(crate) max: &'a mut [f32],
    pub(crate) inverse_sum: &'a mut [f32],
}

/// Writes `out` (`[queries, head_dim]`) and `stats` of some queries of one head.
pub(crate) fn forward_panel(
    problem: &Problem<'_>,
    head: usize,
    queries: Range<usize>,
    mut out: MatMut<'_, f32>,
    stats: Stats<'_>,
    scratch: &mut [f32],
) {
    let head_dim = problem.dims.head_dim;
    let (n, width, kv_column) =
        (queries.len(), panel_width(queries.len()), problem.kv_column(head));
    let mut carver = Carver::new(scratch);
    let [natural, q, scores, sums] = parts(head_dim).map(|n| carver.take(n));
    let natural = &mut natural[..width * padded(head_dim)];
    load_panel(natural, problem.q, queries.clone(), head * head_dim, head_dim);
    to_lanes(q, natural, width, head_dim);

    let factor = problem.options.scale(problem.dims) * std::f32::consts::LOG2_E;
    let mut softmax = OnlineSoftmax::new(width, factor);
    let dropout = problem.options.dropout.filter(|d| d.rate > 0.0);
    let drop_keys = dropout.map(|d| dropout_keys(d, head, queries.clone()));
    let mut start = Start::Zero;
    for keys in problem.tiles(queries.clone()) {
        let scores = &mut scores[..keys.len() * width];
        // 1. scores = k·qᵀ
        multiply(
            scores,
            width,
            Start::Zero,
            Strided { values: q, stride: width },
            problem.k.from(keys.start, kv_column),
            Scalars::RowPerOutput,
            [keys.len(), head_dim, width],
        );
        problem.mask_tile(scores, width, head, queries.clone(), keys.clone());
        // 2. exp(score − max), and what is summed so far shrinks to the new maximum
        softmax.add(scores, &mut sums[..head_dim * width], start);
        if let (Some(dropout), Some(query_keys)) = (dropout, &drop_keys) {
            drop_tile(scores, width, dropout, query_keys, keys.start);
        }
        // 3. out += vᵀ·exp
        multiply(
            sums,
            width,
            start,
            Strided { values: scores, stride: width },
            problem.v.from(keys.start, kv_column),
            Scalars::RowPerTerm,
            [head_dim, keys.len(), width],
        );
        start = Start::Add;
    }
    if start == Start::Zero {
        sums[..head_dim * width].fill(0.0);
    }
    // 4. out /= sum
    softmax.finish(&mut sums[..head_dim * width]);
    from_lanes(natural, sums, width, head_dim);
    for (i, row) in natural.chunks_exact(padded(head_dim)).take(n).enumerate() {
        row_mut(out.as_mut(), i).copy_from_slice(&row[..head_dim]);
    }
    stats.max.copy_from_slice(&softmax.max[..n]);
    stats.inverse_sum.copy_from_slice(&softmax.sum[..n]);
}

/// One row of a matrix as a slice.
///
/// # Panics
/// If the matrix is not row-major.
pub(crate) fn row_mut(matrix: MatMut<'_, f32>, row: usize) -> &mut [f32] {
    matrix
        .row_mut(row)
        .try_as_row_major_mut()
        .expect("attention: outputs must be row-major matrices")
        .as_slice_mut()
}

/// Running maximum and sum of each query (the online softmax of
/// [arXiv 1805.02867](https://arxiv.org/abs/1805.02867)); every query is a lane, so that nothing is
/// summed across a vector.
struct OnlineSoftmax {
    max: [f32; PANEL],
    sum: [f32; PANEL],
    width: usize,
    /// Scale times log2 e.
    factor: f32,
}

impl OnlineSoftmax {
    fn new(width: usize, factor: f32) -> Self {
        Self { max: [f32::NEG_INFINITY; PANEL], sum: [0.0; PANEL], width, factor }
    }

    /// Turns a tile of scores into `exp(scale·(score − max))`, and scales `out` to the new maximum.
    fn add(&mut self, scores: &mut [f32], out: &mut [f32], start: Start) {
        let (width, factor) = (self.width, self.factor);
        let (max, sum) = (&mut self.max[..width], &mut self.sum[..width]);
        vectorize(
            #[inline(always)]
            || {
                let mut top = [f32::NEG_INFINITY; PANEL];
                let top = &mut top[..width];
                top.copy_from_slice(max);
                for row in scores.chunks_exact(width) {
                    for (top, s) in lanes_mut(top).zip(lanes(row)) {
                        for lane in 0..LANES {
                            // A NaN is not greater; it shows in the exponential.
                            top[lane] = if s[lane] > top[lane] { s[lane] } else { top[lane] };
                        }
                    }
                }
                if start == Start::Add {
                    let mut shrink = [0.0; PANEL];
                    let shrink = &mut shrink[..width];
                    for lane in 0..width {
                        let base = finite(top[lane]);
                        shrink[lane] = exp2((max[lane] - base) * factor);
                        sum[lane] *= shrink[lane];
                    }
                    for row in out.chunks_exact_mut(width) {
                        for (o, f) in lanes_mut(row).zip(lanes(shrink)) {
                            for lane in 0..LANES {
                                o[lane] *= f[lane];
                            }
                        }
                    }
                }
                max.copy_from_slice(top);
                for top in top.iter_mut() {
                    *top = finite(*top);
                }
                for row in scores.chunks_exact_mut(width) {
                    for ((s, top), sum) in lanes_mut(row).zip(lanes(top)).zip(lanes_mut(sum)) {
                        for lane in 0..LANES {
                            s[lane] = exp2((s[lane] - top[lane]) * factor);
                            sum[lane] += s[lane];
                        }
                    }
                }
            },
        );
    }

    /// Divides `out` by the sums, which then hold their inverse. A query that saw no key gets
    /// zeros, maximum 0 and inverse 0.
    fn finish(&mut self, out: &mut [f32]) {
        let width = self.width;
        let (max, sum) = (&mut self.max[..width], &mut self.sum[..width]);
        vectorize(
            #[inline(always)]
            || {
                for (max, sum) in max.iter_mut().zip(sum.iter_mut()) {
                    let seen = *max > f32::NEG_INFINITY || max.is_nan() || sum.is_nan();
                    *sum = if seen { 1.0 / *sum } else { 0.0 };
                    *max = finite(*max);
                }
                for row in out.chunks_exact_mut(width) {
                    for (o, f) in lanes_mut(row).zip(lanes(sum)) {
                        for lane in 0..LANES {
                            o[lane] *= f[lane];
                        }
                    }
                }
            },
        );
    }
}

/// The maximum, or 0 where no key was seen: `−∞ − 0` stays `−∞`, whose exponential is 0.
#[expect(clippy::inline_always, reason = "it runs in vectors")]
#[inline(always)]
fn finite(max: f32) -> f32 {
    if max > f32::NEG_INFINITY { max } else { 0.0 }
}

/// Zeroes the dropped probabilities and scales the others.
fn drop_tile(
    probs: &mut [f32],
    width: usize,
    dropout: AttnDropout,
    query_keys: &[u32; PANEL],
    first_key: usize,
) {
    let (threshold, scale) = (dropout.threshold(), dropout.scale());
    vectorize(
        #[inline(always)]
        || {
            for (row, key) in probs.chunks_exact_mut(width).zip(first_key as u32..) {
                for (p, &query_key) in row.iter_mut().zip(query_keys) {
                    let kept = AttnDropout::bits(query_key, key) >= threshold;
                    *p *= if kept { scale } else { 0.0 };
                }
            }
        },
    );
}

/// A row in whole vectors.
#[expect(clippy::inline_always, reason = "it runs in vectors")]
#[inline(always)]
pub(crate) fn lanes(row: &[f32]) -> std::slice::Iter<'_, [f32; LANES]> {
    row.as_chunks().0.iter()
}

#[expect(clippy::inline_always, reason = "it runs in vectors")]
#[inline(always)]
pub(crate) fn lanes_mut(row: &mut [f32]) -> std::slice::IterMut<'_, [f32; LANES]> {
    row.as_chunks_mut().0.iter_mut()
}
