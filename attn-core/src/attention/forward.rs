//! The forward pass of one head and one group of query panels.

use std::ops::Range;

use super::keys::TileRows;
use super::options::AttnDropout;
use super::panel::{
    Carver, GROUP, PANEL, TILE, dropout_keys, from_lanes, load_panel, padded, panel_width,
    store_rows, to_lanes,
};
use super::problem::Problem;
use super::rows::RowsMut;
use super::softmax::OnlineSoftmax;
use super::tile::{Scalars, Start, Strided, multiply};
use crate::simd::{multiply_by, vectorize};

/// f32 values of workspace for one group of panels.
pub(crate) fn scratch(head_dim: usize) -> usize {
    Carver::needed(parts(head_dim))
}

/// Queries as rows; of each panel queries as lanes and output; scores, factors of a dropout, keys
/// and values.
fn parts(head_dim: usize) -> [usize; 6] {
    let panel = PANEL * padded(head_dim);
    let panels = GROUP / PANEL * panel;
    let tile = TILE * PANEL;
    [panel, panels, panels, tile, tile, 2 * TILE * padded(head_dim)]
}

/// `max` and `1 / Σ exp(score − max)` of each query: what the backward pass needs to compute its
/// probabilities again.
pub(crate) struct Stats<'a> {
    pub(crate) max: &'a mut [f32],
    pub(crate) inverse_sum: &'a mut [f32],
}

/// Writes `out` (`[queries, head_dim]`) and `stats` of at most [`GROUP`] queries of one head.
pub(crate) fn forward_group(
    problem: &Problem<'_>,
    head: usize,
    queries: Range<usize>,
    mut out: RowsMut<'_>,
    stats: &mut Stats<'_>,
    scratch: &mut [f32],
) {
    let head_dim = problem.dims.head_dim;
    let mut carver = Carver::new(scratch);
    let [rows, q, sums, scores, keep, tile_buffer] = parts(head_dim).map(|n| carver.take(n));
    let factor = problem.options.scale(problem.dims) * std::f32::consts::LOG2_E;
    let mut panels: [Panel<'_>; GROUP / PANEL] = {
        let mut q = q.chunks_exact_mut(PANEL * padded(head_dim));
        let mut sums = sums.chunks_exact_mut(PANEL * padded(head_dim));
        std::array::from_fn(|p| {
            let first = (queries.start + p * PANEL).min(queries.end);
            let queries = first..(first + PANEL).min(queries.end);
            let width = panel_width(queries.len());
            Panel {
                q: q.next().expect("a part for each panel"),
                sums: sums.next().expect("a part for each panel"),
                softmax: OnlineSoftmax::new(width, factor),
                start: Start::Zero,
                queries,
                width,
            }
        })
    };
    let panels = &mut panels[..queries.len().div_ceil(PANEL)];
    for panel in &mut *panels {
        let rows = &mut rows[..panel.width * padded(head_dim)];
        load_panel(rows, problem.q, panel.queries.clone(), head * head_dim, head_dim);
        to_lanes(panel.q, rows, panel.width, head_dim);
    }
    let kv_column = problem.kv_column(head);
    for keys in problem.tiles(queries.clone()) {
        let tile = TileRows::new(problem, keys.clone(), kv_column, panels.len(), &mut *tile_buffer);
        for panel in &mut *panels {
            if problem.sees(panel.queries.clone(), &keys) {
                panel.add_tile(problem, head, &keys, &tile, scores, keep);
            }
        }
    }
    for panel in panels {
        panel.finish(rows, head_dim);
        let first = panel.queries.start - queries.start;
        store_rows(&mut out, first, rows, panel.queries.len(), head_dim);
        let n = panel.queries.len();
        stats.max[first..][..n].copy_from_slice(&panel.softmax.max[..n]);
        stats.inverse_sum[first..][..n].copy_from_slice(&panel.softmax.sum[..n]);
    }
}

/// Some queries, one a lane, and what they have summed so far.
struct Panel<'a> {
    queries: Range<usize>,
    width: usize,
    /// `[head_dim, width]` at the start of the buffer
    q: &'a mut [f32],
    /// `[head_dim, width]` at the start of the buffer
    sums: &'a mut [f32],
    softmax: OnlineSoftmax,
    start: Start,
}

impl Panel<'_> {
    fn add_tile(
        &mut self,
        problem: &Problem<'_>,
        head: usize,
        keys: &Range<usize>,
        tile: &TileRows<'_>,
        scores: &mut [f32],
        keep: &mut [f32],
    ) {
        let (head_dim, width) = (problem.dims.head_dim, self.width);
        let scores = &mut scores[..keys.len() * width];
        // 1. scores = k·qᵀ
        multiply(
            scores,
            width,
            Start::Zero,
            Strided { values: self.q, stride: width },
            tile.k,
            Scalars::RowPerOutput,
            [keys.len(), head_dim, width],
        );
        problem.mask_tile(scores, width, head, self.queries.clone(), keys.clone(), &tile.broken);
        // 2. exp(score − max), and what is summed so far shrinks to the new maximum
        self.softmax.add(scores, &mut self.sums[..head_dim * width], self.start);
        if let Some(dropout) = problem.options.dropout.filter(|d| d.rate > 0.0) {
            let query_keys = dropout_keys(dropout, head, self.queries.clone());
            let keep = &mut keep[..scores.len()];
            keep_factors(keep, width, dropout, &query_keys, keys.start);
            multiply_by(scores, keep);
        }
        // 3. out += vᵀ·exp
        multiply(
            self.sums,
            width,
            self.start,
            Strided { values: scores, stride: width },
            tile.v,
            Scalars::RowPerTerm,
            [head_dim, keys.len(), width],
        );
        self.start = Start::Add;
    }

    /// 4. out /= sum, as `rows` of `padded(head_dim)`.
    fn finish(&mut self, rows: &mut [f32], head_dim: usize) {
        if self.start == Start::Zero {
            self.sums.fill(0.0);
        }
        self.softmax.finish(&mut self.sums[..head_dim * self.width]);
        from_lanes(rows, self.sums, self.width, head_dim);
    }
}

/// What a dropout multiplies the probabilities of a tile with: 0 or `1/(1 − rate)`.
pub(crate) fn keep_factors(
    keep: &mut [f32],
    width: usize,
    dropout: AttnDropout,
    query_keys: &[u32; PANEL],
    first_key: usize,
) {
    let (threshold, scale) = (dropout.threshold(), dropout.scale());
    vectorize(
        #[inline(always)]
        || {
            for (row, key) in keep.chunks_exact_mut(width).zip(first_key as u32..) {
                for (k, &query_key) in row.iter_mut().zip(query_keys) {
                    let kept = AttnDropout::bits(query_key, key) >= threshold;
                    *k = if kept { scale } else { 0.0 };
                }
            }
        },
    );
}
