//! What a call is about: inputs, sizes, options, and which query sees which key.

use std::ops::Range;

use super::options::{AttnOptions, Mask};
use super::panel::{PANEL, TILE};
use super::rows::Rows;
use crate::dims::AttnDims;
use crate::simd::vectorize;

/// Everything that a call passes down unchanged.
#[derive(Clone, Copy)]
pub(crate) struct Problem<'a> {
    pub(crate) q: Rows<'a>,
    pub(crate) k: Rows<'a>,
    pub(crate) v: Rows<'a>,
    pub(crate) dims: AttnDims,
    pub(crate) options: &'a AttnOptions<'a>,
}

impl<'a> Problem<'a> {
    /// # Panics
    /// If the sizes, a buffer or an option do not fit.
    pub(crate) fn new(
        [q, k, v]: [Rows<'a>; 3],
        dims: AttnDims,
        options: &'a AttnOptions<'a>,
    ) -> Self {
        if let Err(error) = dims.validate() {
            panic!("attention: {error}");
        }
        q.check("q", dims.seq_q, dims.q_width());
        k.check("k", dims.seq_kv, dims.kv_width());
        v.check("v", dims.seq_kv, dims.kv_width());
        options.check(dims);
        Self { q, k, v, dims, options }
    }

    /// First column of the key and value head that a query head reads.
    pub(crate) fn kv_column(&self, head: usize) -> usize {
        head / self.dims.group() * self.dims.head_dim
    }

    /// From the first key that one of these queries sees to behind the last.
    fn range_seen(&self, queries: Range<usize>) -> Range<usize> {
        let first = self.options.mask.keys(queries.start, self.dims);
        let last = self.options.mask.keys(queries.end - 1, self.dims);
        // Neither end moves back from query to query; the first query may see nothing.
        let start = if first.is_empty() { 0 } else { first.start.min(last.start) };
        start..last.end
    }

    /// Keys that at least one of these queries sees, as tiles.
    pub(crate) fn tiles(&self, queries: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let Range { start, end } = self.range_seen(queries);
        let start = start / TILE * TILE;
        (start..end).step_by(TILE).map(move |t| t..(t + TILE).min(end))
    }

    /// Whether at least one of these queries may see one of these keys.
    pub(crate) fn sees(&self, queries: Range<usize>, keys: &Range<usize>) -> bool {
        let seen = self.range_seen(queries);
        seen.start < keys.end && keys.start < seen.end
    }

    /// Whether there may be a key that a query does not see.
    pub(crate) fn hides_keys(&self) -> bool {
        self.options.mask != Mask::None || self.options.key_mask.is_some()
    }

    /// Puts `−∞` where a query must not see a key, after adding biases; NaN where it sees one that
    /// is not finite.
    ///
    /// `scores`: `[keys, width]`, not yet multiplied with the scale; `broken`: which keys of the tile
    /// are not finite.
    pub(crate) fn mask_tile(
        &self,
        scores: &mut [f32],
        width: usize,
        head: usize,
        queries: Range<usize>,
        keys: Range<usize>,
        broken: &[bool; TILE],
    ) {
        for (row, _) in scores.chunks_exact_mut(width).zip(broken).filter(|(_, b)| **b) {
            row.fill(f32::NAN);
        }
        let n = queries.len();
        if let Some(slopes) = self.options.alibi {
            let slope = slopes[head] / self.options.scale(self.dims);
            self.add_alibi(scores, width, slope, queries.start, keys.start);
        }
        let (first, last) = (
            self.options.mask.keys(queries.start, self.dims),
            self.options.mask.keys(queries.end - 1, self.dims),
        );
        let all_seen = first.end >= keys.end && last.start <= keys.start && !first.is_empty();
        if !all_seen {
            let mut from = [0_u32; PANEL];
            let mut to = [0_u32; PANEL];
            for (lane, i) in queries.enumerate() {
                let seen = self.options.mask.keys(i, self.dims);
                // Counted from the first key of the tile.
                let place = |key: usize| key.saturating_sub(keys.start).min(TILE) as u32;
                (from[lane], to[lane]) = (place(seen.start), place(seen.end));
            }
            let (from, to) = (&from[..n], &to[..n]);
            vectorize(
                #[inline(always)]
                || {
                    for (row, key) in scores.chunks_exact_mut(width).zip(0_u32..) {
                        for ((s, &from), &to) in row.iter_mut().zip(from).zip(to) {
                            *s = if from <= key && key < to { *s } else { f32::NEG_INFINITY };
                        }
                    }
                },
            );
        }
        if let Some(mask) = self.options.key_mask {
            for (row, &seen) in scores.chunks_exact_mut(width).zip(&mask[keys]) {
                if !seen {
                    row.fill(f32::NEG_INFINITY);
                }
            }
        }
    }

    fn add_alibi(&self, scores: &mut [f32], width: usize, slope: f32, query: usize, key: usize) {
        let offset = query as f32 + self.dims.seq_kv as f32 - self.dims.seq_q as f32;
        vectorize(
            #[inline(always)]
            || {
                for (j, row) in scores.chunks_exact_mut(width).enumerate() {
                    let distance = offset - (key + j) as f32;
                    for (lane, s) in row.iter_mut().enumerate() {
                        *s -= slope * (distance + lane as f32).abs();
                    }
                }
            },
        );
    }
}
