//! The backward pass of one key and value head: the steps of the forward pass, undone.

use std::ops::Range;

use faer::MatMut;

use super::forward::{lanes, lanes_mut, row_mut};
use super::options::AttnDropout;
use super::panel::{
    Carver, PANEL, Problem, Rows, TILE, dropout_keys, from_lanes, load_panel, padded, panel_width,
    to_lanes,
};
use super::tile::{LANES, Scalars, Start, Strided, multiply};
use crate::simd::{exp2, sum_by, vectorize};

/// f32 values of workspace for one key and value head.
pub(crate) fn scratch(seq_kv: usize, head_dim: usize) -> usize {
    Carver::needed(parts(seq_kv, head_dim))
}

/// Queries and output gradients as rows and as lanes, probabilities, gradients of scores, of
/// queries, of keys, of values.
fn parts(seq_kv: usize, head_dim: usize) -> [usize; 9] {
    let panel = PANEL * padded(head_dim);
    let (tile, whole) = (TILE * PANEL, seq_kv * padded(head_dim));
    [panel, panel, panel, panel, tile, tile, panel, whole, whole]
}

/// What the forward pass left: output and statistics of one query head after the other.
#[derive(Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) d_out: Rows<'a>,
    pub(crate) out: Rows<'a>,
    /// `[n_heads, seq_q]`
    pub(crate) max: &'a [f32],
    /// `[n_heads, seq_q]`
    pub(crate) inverse_sum: &'a [f32],
}

/// Gradients of one key and value head and of the query heads that share it.
pub(crate) struct Gradients<'a> {
    /// `[seq_q, group · head_dim]`
    pub(crate) q: MatMut<'a, f32>,
    /// `[seq_kv, head_dim]`
    pub(crate) k: MatMut<'a, f32>,
    /// `[seq_kv, head_dim]`
    pub(crate) v: MatMut<'a, f32>,
}

/// Overwrites the gradients of one key and value head.
pub(crate) fn backward_kv_head(
    problem: &Problem<'_>,
    saved: &Saved<'_>,
    kv_head: usize,
    mut gradients: Gradients<'_>,
    scratch: &mut [f32],
) {
    let dims = problem.dims;
    let (head_dim, stride) = (dims.head_dim, padded(dims.head_dim));
    let mut carver = Carver::new(scratch);
    let buffers = parts(dims.seq_kv, head_dim).map(|n| carver.take(n));
    let [q_rows, q, d_out_rows, d_out, probs, d_scores, d_q, d_k, d_v] = buffers;
    let mut panel = Panel { q_rows, q, d_out_rows, d_out, probs, d_scores, d_q };
    d_k.fill(0.0);
    d_v.fill(0.0);
    for member in 0..dims.group() {
        let head = kv_head * dims.group() + member;
        let mut d_q = gradients.q.as_mut().subcols_mut(member * head_dim, head_dim);
        for first in (0..dims.seq_q).step_by(PANEL) {
            let queries = first..(first + PANEL).min(dims.seq_q);
            panel.run(problem, saved, head, queries.clone(), d_k, d_v);
            let rows = panel.q_rows.chunks_exact(stride);
            for (row, i) in rows.zip(queries) {
                row_mut(d_q.as_mut(), i).copy_from_slice(&row[..head_dim]);
            }
        }
    }
    let scale = problem.options.scale(dims);
    for (i, (d_k, d_v)) in d_k.chunks_exact(stride).zip(d_v.chunks_exact(stride)).enumerate() {
        row_mut(gradients.v.as_mut(), i).copy_from_slice(&d_v[..head_dim]);
        for (to, &d) in row_mut(gradients.k.as_mut(), i).iter_mut().zip(d_k) {
            *to = d * scale;
        }
    }
}

/// Buffers of one panel of queries.
struct Panel<'a> {
    q_rows: &'a mut [f32],
    q: &'a mut [f32],
    d_out_rows: &'a mut [f32],
    d_out: &'a mut [f32],
    probs: &'a mut [f32],
    d_scores: &'a mut [f32],
    d_q: &'a mut [f32],
}

/// Numbers of each query of a panel, one a lane.
struct PerQuery {
    max: [f32; PANEL],
    inverse_sum: [f32; PANEL],
    /// `Σ d_out·out`
    delta: [f32; PANEL],
}

impl Panel<'_> {
    /// Adds to `d_k` (still without the scale) and `d_v`, and leaves the queries' gradient in
    /// `q_rows`.
    fn run(
        &mut self,
        problem: &Problem<'_>,
        saved: &Saved<'_>,
        head: usize,
        queries: Range<usize>,
        d_k: &mut [f32],
        d_v: &mut [f32],
    ) {
        let (head_dim, stride) = (problem.dims.head_dim, padded(problem.dims.head_dim));
        let (n, width) = (queries.len(), panel_width(queries.len()));
        let (column, kv_column) = (head * head_dim, problem.kv_column(head));
        let rows = width * stride;
        load_panel(&mut self.q_rows[..rows], problem.q, queries.clone(), column, head_dim);
        to_lanes(self.q, self.q_rows, width, head_dim);
        load_panel(&mut self.d_out_rows[..rows], saved.d_out, queries.clone(), column, head_dim);
        to_lanes(self.d_out, self.d_out_rows, width, head_dim);
        let per_query = PerQuery::new(problem, saved, head, queries.clone(), self.d_out_rows);
        let factor = problem.options.scale(problem.dims) * std::f32::consts::LOG2_E;
        let dropout = problem.options.dropout.filter(|d| d.rate > 0.0);
        let drop_keys = dropout.map(|d| (d, dropout_keys(d, head, queries.clone())));

        let d_q = &mut self.d_q[..head_dim.next_multiple_of(4) * width];
        d_q.fill(0.0);
        for keys in problem.tiles(queries.clone()) {
            let probs = &mut self.probs[..keys.len() * width];
            let d_scores = &mut self.d_scores[..keys.len() * width];
            // 1. scores = k·qᵀ, again
            multiply(
                probs,
                width,
                Start::Zero,
                Strided { values: self.q, stride: width },
                problem.k.from(keys.start, kv_column),
                Scalars::RowPerOutput,
                [keys.len(), head_dim, width],
            );
            problem.mask_tile(probs, width, head, queries.clone(), keys.clone());
            // 3. the gradient at the probabilities, v·d_outᵀ
            multiply(
                d_scores,
                width,
                Start::Zero,
                Strided { values: self.d_out, stride: width },
                problem.v.from(keys.start, kv_column),
                Scalars::RowPerOutput,
                [keys.len(), head_dim, width],
            );
            // 2. probabilities, and through the softmax
            match &drop_keys {
                None => softmax_backward(probs, d_scores, width, factor, &per_query),
                Some((dropout, query_keys)) => {
                    let drop = Drop { dropout: *dropout, query_keys, first_key: keys.start };
                    softmax_dropout_backward(probs, d_scores, width, factor, &per_query, &drop);
                }
            }
            // 3. d_v += pᵀ·d_out
            let tile = keys.start * stride..keys.end * stride;
            multiply(
                &mut d_v[tile.clone()],
                stride,
                Start::Add,
                Strided { values: self.d_out_rows, stride },
                Strided { values: probs, stride: width },
                Scalars::RowPerOutput,
                [keys.len(), n, stride],
            );
            // 1. d_q += kᵀ·d_score, d_k += d_scoreᵀ·q
            multiply(
                d_q,
                width,
                Start::Add,
                Strided { values: d_scores, stride: width },
                problem.k.from(keys.start, kv_column),
                Scalars::RowPerTerm,
                [head_dim, keys.len(), width],
            );
            multiply(
                &mut d_k[tile],
                stride,
                Start::Add,
                Strided { values: self.q_rows, stride },
                Strided { values: d_scores, stride: width },
                Scalars::RowPerOutput,
                [keys.len(), n, stride],
            );
        }
        let scale = problem.options.scale(problem.dims);
        vectorize(
            #[inline(always)]
            || {
                for d in d_q.iter_mut() {
                    *d *= scale;
                }
            },
        );
        from_lanes(self.q_rows, d_q, width, head_dim);
    }
}

impl PerQuery {
    fn new(
        problem: &Problem<'_>,
        saved: &Saved<'_>,
        head: usize,
        queries: Range<usize>,
        d_out_rows: &[f32],
    ) -> Self {
        let head_dim = problem.dims.head_dim;
        // Lanes without a query have probability 0.
        let mut this = Self { max: [0.0; PANEL], inverse_sum: [0.0; PANEL], delta: [0.0; PANEL] };
        let n = queries.len();
        let of_head = head * problem.dims.seq_q + queries.start;
        this.max[..n].copy_from_slice(&saved.max[of_head..][..n]);
        this.inverse_sum[..n].copy_from_slice(&saved.inverse_sum[of_head..][..n]);
        vectorize(
            #[inline(always)]
            || {
                let d_outs = d_out_rows.chunks_exact(padded(head_dim));
                for ((delta, i), d_out) in this.delta.iter_mut().zip(queries).zip(d_outs) {
                    let out = saved.out.get(i, head * head_dim, head_dim);
                    let d_out = &d_out[..head_dim];
                    *delta = sum_by(head_dim, |j| d_out[j] * out[j]);
                }
            },
        );
        this
    }
}

/// `probs ← exp(scale·(score − max))/sum` and `d ← probs·(d − δ)`.
fn softmax_backward(
    probs: &mut [f32],
    d: &mut [f32],
    width: usize,
    factor: f32,
    per_query: &PerQuery,
) {
    let PerQuery { max, inverse_sum, delta } = per_query;
    vectorize(
        #[inline(always)]
        || {
            for (probs, d) in probs.chunks_exact_mut(width).zip(d.chunks_exact_mut(width)) {
                let rows = lanes_mut(probs).zip(lanes_mut(d));
                let per_query = lanes(max).zip(lanes(inverse_sum)).zip(lanes(delta));
                for ((p, d), ((max, inverse_sum), delta)) in rows.zip(per_query) {
                    for lane in 0..LANES {
                        p[lane] = exp2((p[lane] - max[lane]) * factor) * inverse_sum[lane];
                        d[lane] = p[lane] * (d[lane] - delta[lane]);
                    }
                }
            }
        },
    );
}

/// Which probabilities of a tile were dropped.
struct Drop<'a> {
    dropout: AttnDropout,
    query_keys: &'a [u32; PANEL],
    first_key: usize,
}

/// As [`softmax_backward`]; `probs` become those after the dropout.
fn softmax_dropout_backward(
    probs: &mut [f32],
    d: &mut [f32],
    width: usize,
    factor: f32,
    per_query: &PerQuery,
    drop: &Drop<'_>,
) {
    let PerQuery { max, inverse_sum, delta } = per_query;
    let (threshold, scale) = (drop.dropout.threshold(), drop.dropout.scale());
    vectorize(
        #[inline(always)]
        || {
            let rows = probs.chunks_exact_mut(width).zip(d.chunks_exact_mut(width));
            for ((probs, d), key) in rows.zip(drop.first_key as u32..) {
                for (lane, (p, d)) in probs.iter_mut().zip(d).enumerate() {
                    let kept = AttnDropout::bits(drop.query_keys[lane], key) >= threshold;
                    let keep = if kept { scale } else { 0.0 };
                    let prob = exp2((*p - max[lane]) * factor) * inverse_sum[lane];
                    *p = prob * keep;
                    *d = prob * (*d * keep - delta[lane]);
                }
            }
        },
    );
}
