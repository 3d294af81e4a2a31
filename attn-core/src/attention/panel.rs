//! Panels of queries and tiles of keys: their sizes, and how their rows get into and out of them.

use std::ops::Range;

use super::options::AttnDropout;
use super::rows::{Rows, RowsMut};
use super::tile::transpose;
use crate::simd::{LANES, vectorize};

/// Queries of one panel: they are the vector lanes of a tile, 4 AVX-512 registers wide.
pub(crate) const PANEL: usize = 64;

/// Keys of one tile: scores of `TILE × PANEL` take 16 KiB and stay in a first-level cache, beside
/// the keys or values they are multiplied with.
pub(crate) const TILE: usize = 64;

/// Most queries whose panels share a tile of keys and values: a tile that was copied together
/// serves several panels, which matters where rows are far apart and keys are many.
pub(crate) const GROUP: usize = 4 * PANEL;

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
pub(crate) fn copy_rows(
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

/// Copies the rows of a panel (`padded(head_dim)` apart) to rows `first..` of `to`.
pub(crate) fn store_rows(
    to: &mut RowsMut<'_>,
    first: usize,
    from: &[f32],
    n: usize,
    head_dim: usize,
) {
    vectorize(
        #[inline(always)]
        || {
            for (i, from) in from.chunks_exact(padded(head_dim)).take(n).enumerate() {
                copy_short(to.row_mut(first + i), &from[..head_dim]);
            }
        },
    );
}

/// Copies a row of a head: too short for the library's copy to pay.
#[expect(clippy::inline_always, reason = "it runs in vectors")]
#[inline(always)]
pub(crate) fn copy_short(to: &mut [f32], from: &[f32]) {
    if let (Ok(to), Ok(from)) =
        (<&mut [f32; LANES / 2]>::try_from(&mut *to), <&[f32; LANES / 2]>::try_from(from))
    {
        *to = *from;
        return;
    }
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
