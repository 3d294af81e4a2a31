//! The backward pass of one key and value head: the steps of the forward pass, undone.

use std::ops::Range;

use super::forward::keep_factors;
use super::keys::TileRows;
use super::narrow::{Terms, add_narrow, pair_rows, store_pairs};
use super::panel::{
    Carver, GROUP, PANEL, TILE, dropout_keys, from_lanes, load_panel, padded, panel_width,
    store_rows, to_lanes,
};
use super::problem::Problem;
use super::rows::{Rows, RowsMut};
use super::softmax::{PerQuery, softmax_backward};
use super::tile::{Scalars, Start, Strided, multiply};
use crate::simd::{LANES, scale_by, sum_by, vectorize};

/// f32 values of workspace for one key and value head.
pub(crate) fn scratch(seq_kv: usize, head_dim: usize) -> usize {
    Carver::needed(parts(seq_kv, head_dim))
}

/// Of each panel queries and output gradients as rows and as lanes, gradient of the queries;
/// probabilities, factors of a dropout, gradients of scores; keys and values of a tile; gradients
/// of all keys and values.
fn parts(seq_kv: usize, head_dim: usize) -> [usize; 11] {
    let panels = GROUP * padded(head_dim);
    let (tile, whole) = (TILE * PANEL, seq_kv * padded(head_dim));
    let tile_rows = 2 * TILE * padded(head_dim);
    [panels, panels, panels, panels, panels, tile, tile, tile, tile_rows, whole, whole]
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
    pub(crate) q: RowsMut<'a>,
    /// `[seq_kv, head_dim]`
    pub(crate) k: RowsMut<'a>,
    /// `[seq_kv, head_dim]`
    pub(crate) v: RowsMut<'a>,
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
    let [q_rows, q, d_out_rows, d_out, d_q, probs, keep, d_scores, tile_rows, d_k, d_v] = buffers;
    let mut shared = Shared { probs, keep, d_scores, tile_rows, d_k, d_v };
    shared.d_k.fill(0.0);
    shared.d_v.fill(0.0);
    for member in 0..dims.group() {
        let head = kv_head * dims.group() + member;
        let mut gradient = gradients.q.columns(member * head_dim, head_dim);
        for first in (0..dims.seq_q).step_by(GROUP) {
            let queries = first..(first + GROUP).min(dims.seq_q);
            let size = PANEL * stride;
            let mut panels: [Option<Panel<'_>>; GROUP / PANEL] = [const { None }; GROUP / PANEL];
            let buffers = q_rows
                .chunks_exact_mut(size)
                .zip(q.chunks_exact_mut(size))
                .zip(d_out_rows.chunks_exact_mut(size).zip(d_out.chunks_exact_mut(size)))
                .zip(d_q.chunks_exact_mut(size));
            let starts = queries.clone().step_by(PANEL);
            for ((panel, first), (((q_rows, q), (d_out_rows, d_out)), d_q)) in
                panels.iter_mut().zip(starts).zip(buffers)
            {
                let queries = first..(first + PANEL).min(queries.end);
                let buffers = PanelBuffers { q_rows, q, d_out_rows, d_out, d_q };
                *panel = Some(Panel::load(problem, saved, head, queries, buffers));
            }
            shared.add_group(problem, head, queries, &mut panels);
            for mut panel in panels.into_iter().flatten() {
                panel.finish(problem);
                let (first, n) = (panel.queries.start, panel.queries.len());
                store_rows(&mut gradient, first, panel.buffers.q_rows, n, head_dim);
            }
        }
    }
    let scale = problem.options.scale(dims);
    let (d_k, d_v) = (shared.d_k, shared.d_v);
    if Terms::of(head_dim) == Some(Terms::Pairs) {
        store_pairs(&mut gradients.k, d_k, head_dim, scale);
        store_pairs(&mut gradients.v, d_v, head_dim, 1.0);
    } else {
        scale_by(d_k, scale);
        store_rows(&mut gradients.k, 0, d_k, dims.seq_kv, head_dim);
        store_rows(&mut gradients.v, 0, d_v, dims.seq_kv, head_dim);
    }
}

/// Buffers that all panels share.
struct Shared<'a> {
    probs: &'a mut [f32],
    keep: &'a mut [f32],
    d_scores: &'a mut [f32],
    tile_rows: &'a mut [f32],
    /// `[seq_kv, padded(head_dim)]`, still without the scale
    d_k: &'a mut [f32],
    /// `[seq_kv, padded(head_dim)]`
    d_v: &'a mut [f32],
}

impl Shared<'_> {
    /// Walks over the keys that a group of panels sees.
    fn add_group(
        &mut self,
        problem: &Problem<'_>,
        head: usize,
        queries: Range<usize>,
        panels: &mut [Option<Panel<'_>>],
    ) {
        let stride = padded(problem.dims.head_dim);
        let (kv_column, n_panels) = (problem.kv_column(head), queries.len().div_ceil(PANEL));
        for keys in problem.tiles(queries) {
            let tile_rows = &mut *self.tile_rows;
            let rows = TileRows::new(problem, keys.clone(), kv_column, n_panels, tile_rows);
            let whole = keys.start * stride..keys.end * stride;
            let mut tile = Tile {
                rows,
                probs: &mut *self.probs,
                keep: &mut *self.keep,
                d_scores: &mut *self.d_scores,
                d_k: &mut self.d_k[whole.clone()],
                d_v: &mut self.d_v[whole],
                keys: keys.clone(),
            };
            for panel in panels.iter_mut().flatten() {
                if problem.sees(panel.queries.clone(), &keys) {
                    panel.add_tile(problem, head, &mut tile);
                }
            }
        }
    }
}

/// One tile of keys.
struct Tile<'a> {
    keys: Range<usize>,
    rows: TileRows<'a>,
    probs: &'a mut [f32],
    keep: &'a mut [f32],
    d_scores: &'a mut [f32],
    d_k: &'a mut [f32],
    d_v: &'a mut [f32],
}

/// One panel of queries.
struct Panel<'a> {
    queries: Range<usize>,
    width: usize,
    per_query: PerQuery,
    buffers: PanelBuffers<'a>,
}

struct PanelBuffers<'a> {
    /// `[width, padded(head_dim)]`, or two queries a row where they share a register
    q_rows: &'a mut [f32],
    /// `[head_dim, width]`
    q: &'a mut [f32],
    /// As `q_rows`
    d_out_rows: &'a mut [f32],
    /// `[head_dim, width]`
    d_out: &'a mut [f32],
    /// `[head_dim, width]`
    d_q: &'a mut [f32],
}

impl<'a> Panel<'a> {
    fn load(
        problem: &Problem<'_>,
        saved: &Saved<'_>,
        head: usize,
        queries: Range<usize>,
        buffers: PanelBuffers<'a>,
    ) -> Self {
        let head_dim = problem.dims.head_dim;
        let (width, column) = (panel_width(queries.len()), head * head_dim);
        let rows = width * padded(head_dim);
        let PanelBuffers { q_rows, q, d_out_rows, d_out, d_q } = buffers;
        load_panel(&mut q_rows[..rows], problem.q, queries.clone(), column, head_dim);
        to_lanes(q, q_rows, width, head_dim);
        load_panel(&mut d_out_rows[..rows], saved.d_out, queries.clone(), column, head_dim);
        to_lanes(d_out, d_out_rows, width, head_dim);
        d_q[..head_dim * width].fill(0.0);
        let per_query = per_query(problem, saved, head, queries.clone(), d_out_rows);
        if Terms::of(head_dim) == Some(Terms::Pairs) {
            pair_rows(&mut q_rows[..rows]);
            pair_rows(&mut d_out_rows[..rows]);
        }
        let buffers = PanelBuffers { q_rows, q, d_out_rows, d_out, d_q };
        Self { queries, width, per_query, buffers }
    }

    /// Adds what one tile of keys contributes to the gradients.
    fn add_tile(&mut self, problem: &Problem<'_>, head: usize, tile: &mut Tile<'_>) {
        let head_dim = problem.dims.head_dim;
        let (n, width, n_keys) = (self.queries.len(), self.width, tile.keys.len());
        let PanelBuffers { q_rows, q, d_out_rows, d_out, d_q } = &mut self.buffers;
        let probs = &mut tile.probs[..n_keys * width];
        let d_scores = &mut tile.d_scores[..n_keys * width];
        // 1. scores = k·qᵀ, again
        multiply(
            probs,
            width,
            Start::Zero,
            Strided { values: q, stride: width },
            tile.rows.k,
            Scalars::RowPerOutput,
            [n_keys, head_dim, width],
        );
        let queries = self.queries.clone();
        problem.mask_tile(probs, width, head, queries, tile.keys.clone(), &tile.rows.broken);
        // 3. the gradient at the probabilities, v·d_outᵀ
        multiply(
            d_scores,
            width,
            Start::Zero,
            Strided { values: d_out, stride: width },
            tile.rows.v,
            Scalars::RowPerOutput,
            [n_keys, head_dim, width],
        );
        // 2. probabilities, and through the softmax
        let factor = problem.options.scale(problem.dims) * std::f32::consts::LOG2_E;
        let keep = problem.options.dropout.filter(|d| d.rate > 0.0).map(|dropout| {
            let query_keys = dropout_keys(dropout, head, self.queries.clone());
            let keep = &mut tile.keep[..probs.len()];
            keep_factors(keep, width, dropout, &query_keys, tile.keys.start);
            &*keep
        });
        softmax_backward(probs, d_scores, keep, &self.per_query, width, factor);
        // 1. d_q += kᵀ·d_score
        multiply(
            d_q,
            width,
            Start::Add,
            Strided { values: d_scores, stride: width },
            tile.rows.k,
            Scalars::RowPerTerm,
            [head_dim, n_keys, width],
        );
        // 3. d_v += pᵀ·d_out, and 1. d_k += d_scoreᵀ·q
        for (d, rows, scalars) in
            [(&mut *tile.d_v, &**d_out_rows, probs), (&mut *tile.d_k, &**q_rows, d_scores)]
        {
            sum_over_queries(d, rows, scalars, width, n, head_dim);
        }
    }

    /// Leaves the gradient of the queries in `q_rows`.
    fn finish(&mut self, problem: &Problem<'_>) {
        let (head_dim, width) = (problem.dims.head_dim, self.width);
        let scale = problem.options.scale(problem.dims);
        let PanelBuffers { q_rows, d_q, .. } = &mut self.buffers;
        scale_by(&mut d_q[..head_dim * width], scale);
        from_lanes(q_rows, d_q, width, head_dim);
    }
}

/// `d[key] += Σ scalars[key][query] · rows[query]` over `n` queries.
fn sum_over_queries(
    d: &mut [f32],
    rows: &[f32],
    scalars: &mut [f32],
    width: usize,
    n: usize,
    head_dim: usize,
) {
    let stride = padded(head_dim);
    if let Some(terms) = Terms::of(head_dim) {
        let used = if terms == Terms::Pairs { n.div_ceil(2) } else { n };
        if terms == Terms::Pairs && n % 2 == 1 {
            // The last pair has a lane without a query, which is NaN where a key is broken.
            scalars.chunks_exact_mut(width).for_each(|row| row[n] = 0.0);
        }
        add_narrow(d, &rows[..used * stride], scalars, width, terms);
        return;
    }
    multiply(
        d,
        stride,
        Start::Add,
        Strided { values: rows, stride },
        Strided { values: scalars, stride: width },
        Scalars::RowPerOutput,
        [d.len() / stride, n, stride],
    );
}

/// Statistics and `δ` of each query; lanes without a query have probability 0.
fn per_query(
    problem: &Problem<'_>,
    saved: &Saved<'_>,
    head: usize,
    queries: Range<usize>,
    d_out_rows: &[f32],
) -> PerQuery {
    let head_dim = problem.dims.head_dim;
    let mut found = PerQuery { max: [0.0; PANEL], inverse_sum: [0.0; PANEL], delta: [0.0; PANEL] };
    let n = queries.len();
    let of_head = head * problem.dims.seq_q + queries.start;
    found.max[..n].copy_from_slice(&saved.max[of_head..][..n]);
    found.inverse_sum[..n].copy_from_slice(&saved.inverse_sum[of_head..][..n]);
    vectorize(
        #[inline(always)]
        || {
            let d_outs = d_out_rows.chunks_exact(padded(head_dim));
            for ((delta, i), d_out) in found.delta.iter_mut().zip(queries).zip(d_outs) {
                let out = saved.out.get(i, head * head_dim, head_dim);
                let d_out = &d_out[..head_dim];
                *delta = match (d_out.try_into(), out.try_into()) {
                    (Ok(d_out), Ok(out)) => dot_of_half(d_out, out),
                    _ => sum_by(head_dim, |j| d_out[j] * out[j]),
                };
            }
        },
    );
    found
}

/// The same sum as that of `sum_by`, bit for bit, for rows of half a register.
#[expect(clippy::inline_always, reason = "it runs in vectors")]
#[inline(always)]
fn dot_of_half(a: &[f32; LANES / 2], b: &[f32; LANES / 2]) -> f32 {
    let products: [f32; 8] = std::array::from_fn(
        #[inline(always)]
        |i| a[i] * b[i],
    );
    let [a, b, c, d, e, f, g, h] = products;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
