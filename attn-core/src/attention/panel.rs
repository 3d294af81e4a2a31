//! What both passes share: inputs as strided rows, panels of queries, masks of one tile.

use std::ops::Range;

use faer::MatMut;

use super::options::{AttnDropout, AttnOptions, Mask};
use super::tile::{Strided, transpose};
use crate::dims::AttnDims;
use crate::simd::{LANES, sum_by, vectorize};

/// Queries of one panel: they are the vector lanes of a tile, 4 AVX-512 registers wide.
pub(crate) const PANEL: usize = 64;

/// Keys of one tile: scores of `TILE × PANEL` take 16 KiB and stay in a first-level cache, beside
/// the keys or values they are multiplied with.
pub(crate) const TILE: usize = 64;

/// Most queries whose panels share a tile of keys and values: a tile that was copied together
/// serves several panels, which matters where rows are far apart and keys are many.
pub(crate) const GROUP: usize = 4 * PANEL;

/// Token rows of queries, keys, values or an output gradient: row `t` starts at
/// `values[t * stride]`, its heads side by side.
///
/// One fused buffer serves as all three without a copy:
///
/// ```
/// use attn_core::Rows;
/// let (seq, d_model) = (5, 8);
/// let qkv = vec![0.0; seq * 3 * d_model];
/// let q = Rows::new(&qkv, 3 * d_model);
/// let k = Rows::new(&qkv[d_model..], 3 * d_model);
/// let v = Rows::new(&qkv[2 * d_model..], 3 * d_model);
/// # let _ = (q, k, v);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows that start `stride` values apart.
    ///
    /// # Panics
    /// If `stride` is zero.
    pub fn new(values: &'a [f32], stride: usize) -> Self {
        assert!(stride > 0, "rows: stride is zero");
        Self { values, stride }
    }

    /// # Panics
    /// If the buffer does not hold `rows` rows of `width` values.
    pub(crate) fn check(&self, name: &str, rows: usize, width: usize) {
        let (found, stride) = (self.values.len(), self.stride);
        let needed = (rows - 1).checked_mul(stride).and_then(|n| n.checked_add(width));
        assert!(
            width <= stride && needed.is_some_and(|needed| needed <= found),
            "attention: {name} has {found} values with stride {stride}, {rows} rows of {width} are needed"
        );
    }

    /// `width` values of one row.
    pub(crate) fn get(&self, row: usize, column: usize, width: usize) -> &'a [f32] {
        &self.values[row * self.stride + column..][..width]
    }

    /// The buffer from one element on, as scalars of a product.
    pub(crate) fn from(&self, row: usize, column: usize) -> Strided<'a> {
        Strided { values: &self.values[row * self.stride + column..], stride: self.stride }
    }
}

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
    fn hides_keys(&self) -> bool {
        self.options.mask != Mask::None || self.options.key_mask.is_some()
    }

    /// Puts `−∞` where a query must not see a key, after adding biases; NaN where it sees one that
    /// is not finite.
    ///
    /// `scores`: `[keys, width]`, not yet multiplied with the scale.
    pub(crate) fn mask_tile(
        &self,
        scores: &mut [f32],
        width: usize,
        head: usize,
        queries: Range<usize>,
        keys: Range<usize>,
        tile: &TileRows<'_>,
    ) {
        for (row, _) in scores.chunks_exact_mut(width).zip(tile.broken).filter(|(_, b)| *b) {
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

/// Length of panel rows for so many queries.
pub(crate) fn panel_width(queries: usize) -> usize {
    queries.next_multiple_of(LANES)
}

/// Rows of `natural` are this long: whole vectors.
pub(crate) fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

/// Copies the rows of some queries to `natural` (`[width, padded(head_dim)]`), rows of zeros below.
/// What pads a row stays as it is: no product that is read depends on it.
pub(crate) fn load_panel(
    natural: &mut [f32],
    rows: Rows<'_>,
    queries: Range<usize>,
    column: usize,
    head_dim: usize,
) {
    let stride = padded(head_dim);
    let (filled, rest) = natural.split_at_mut(queries.len() * stride);
    copy_rows(filled, stride, rows, queries, column, head_dim);
    rest.fill(0.0);
}

/// Copies some columns of some rows to rows that start `stride` values apart.
fn copy_rows(
    to: &mut [f32],
    stride: usize,
    from: Rows<'_>,
    rows: Range<usize>,
    column: usize,
    width: usize,
) {
    vectorize(
        #[inline(always)]
        || {
            for (to, row) in to.chunks_exact_mut(stride).zip(rows) {
                copy_short(&mut to[..width], from.get(row, column, width));
            }
        },
    );
}

/// Copies the rows of a panel (`padded(head_dim)` apart) to rows `first..` of a matrix.
pub(crate) fn store_rows(
    to: &mut MatMut<'_, f32>,
    first: usize,
    from: &[f32],
    n: usize,
    head_dim: usize,
) {
    vectorize(
        #[inline(always)]
        || {
            for (i, from) in from.chunks_exact(padded(head_dim)).take(n).enumerate() {
                copy_short(row_mut(to.as_mut(), first + i), &from[..head_dim]);
            }
        },
    );
}

/// One row of a matrix as a slice.
///
/// # Panics
/// If the matrix is not row-major.
#[inline]
pub(crate) fn row_mut(matrix: MatMut<'_, f32>, row: usize) -> &mut [f32] {
    matrix
        .row_mut(row)
        .try_as_row_major_mut()
        .expect("attention: outputs must be row-major matrices")
        .as_slice_mut()
}

/// Copies a row of a head: too short for the library's copy to pay.
#[expect(clippy::inline_always, reason = "it runs in vectors")]
#[inline(always)]
fn copy_short(to: &mut [f32], from: &[f32]) {
    let (to_vectors, to_rest) = to.as_chunks_mut::<LANES>();
    let (from_vectors, from_rest) = from.as_chunks::<LANES>();
    for (to, from) in to_vectors.iter_mut().zip(from_vectors) {
        *to = *from;
    }
    let (to_quads, to_rest) = to_rest.as_chunks_mut::<4>();
    let (from_quads, from_rest) = from_rest.as_chunks::<4>();
    for (to, from) in to_quads.iter_mut().zip(from_quads) {
        *to = *from;
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = *from;
    }
}

/// Keys and values of one tile: copied together where more than two panels read them (fewer do not
/// pay for the copy), else in place.
pub(crate) struct TileRows<'a> {
    pub(crate) k: Strided<'a>,
    pub(crate) v: Strided<'a>,
    /// Keys that hold a NaN or an infinity, as value or key, where not every query sees every key.
    /// Their copies are zeros: a probability of 0 times NaN would reach queries that must not see
    /// them.
    broken: [bool; TILE],
}

impl<'a> TileRows<'a> {
    /// `buffer`: two tiles of `TILE * padded(head_dim)`.
    pub(crate) fn new(
        problem: &Problem<'a>,
        keys: Range<usize>,
        kv_column: usize,
        n_panels: usize,
        buffer: &'a mut [f32],
    ) -> Self {
        let (k, v, head_dim) = (problem.k, problem.v, problem.dims.head_dim);
        let mut broken = [false; TILE];
        let mut is_broken = false;
        if problem.hides_keys() {
            for (broken, key) in broken.iter_mut().zip(keys.clone()) {
                let row = |rows: Rows<'a>| rows.get(key, kv_column, head_dim);
                *broken = !(all_finite(row(k)) && all_finite(row(v)));
                is_broken |= *broken;
            }
        }
        if n_panels <= 2 && !is_broken {
            let (k, v) = (k.from(keys.start, kv_column), v.from(keys.start, kv_column));
            return Self { k, v, broken };
        }
        let stride = padded(head_dim);
        let (k_copy, v_copy) = buffer.split_at_mut(TILE * stride);
        for (copy, rows) in [(&mut *k_copy, k), (&mut *v_copy, v)] {
            let copy = &mut copy[..keys.len() * stride];
            copy_rows(copy, stride, rows, keys.clone(), kv_column, head_dim);
            for (row, _) in copy.chunks_exact_mut(stride).zip(broken).filter(|(_, b)| *b) {
                row.fill(0.0);
            }
        }
        Self {
            k: Strided { values: k_copy, stride },
            v: Strided { values: v_copy, stride },
            broken,
        }
    }
}

/// Whether no value is NaN or infinite: 0 times any other number is 0.
fn all_finite(row: &[f32]) -> bool {
    vectorize(
        #[inline(always)]
        || sum_by(row.len(), |i| row[i] * 0.0).abs() <= 0.0,
    )
}

/// `[width, padded(head_dim)]` to `[head_dim, width]`, in which queries are lanes.
pub(crate) fn to_lanes(lanes: &mut [f32], natural: &[f32], width: usize, head_dim: usize) {
    let columns = head_dim.next_multiple_of(4);
    transpose(lanes, width, natural, padded(head_dim), [width, columns]);
}

/// `[head_dim, width]` back to `[width, padded(head_dim)]`; what pads a row is left as it is.
pub(crate) fn from_lanes(natural: &mut [f32], lanes: &[f32], width: usize, head_dim: usize) {
    let rows = head_dim.next_multiple_of(4);
    transpose(natural, padded(head_dim), lanes, width, [rows, width]);
}

/// Keys of the random bits of a panel of queries.
pub(crate) fn dropout_keys(
    dropout: AttnDropout,
    head: usize,
    queries: Range<usize>,
) -> [u32; PANEL] {
    let mut keys = [0; PANEL];
    for (key, i) in keys.iter_mut().zip(queries) {
        *key = dropout.query_key(head, i);
    }
    keys
}

/// A workspace cut into parts that start at cache lines, since vectors that cross a line cost two
/// loads.
pub(crate) struct Carver<'a> {
    rest: &'a mut [f32],
}

/// f32 values in a cache line.
const LINE: usize = LANES;

impl<'a> Carver<'a> {
    pub(crate) fn new(scratch: &'a mut [f32]) -> Self {
        // A slice that cannot be aligned (never on real machines) is used as it is.
        let skip = scratch.as_ptr().align_offset(4 * LINE).min(LINE - 1);
        Self { rest: &mut scratch[skip..] }
    }

    pub(crate) fn take(&mut self, n: usize) -> &'a mut [f32] {
        let (part, rest) = std::mem::take(&mut self.rest).split_at_mut(n.next_multiple_of(LINE));
        self.rest = rest;
        &mut part[..n]
    }

    /// Values needed for parts of these sizes.
    pub(crate) fn needed<const N: usize>(parts: [usize; N]) -> usize {
        LINE + parts.iter().map(|n| n.next_multiple_of(LINE)).sum::<usize>()
    }
}
