//! Keys and values of one tile, as the products read them.

use std::ops::Range;

use super::panel::{TILE, copy_rows, padded};
use super::problem::Problem;
use super::rows::Rows;
use super::tile::Strided;
use crate::simd::{sum_by, vectorize};

/// Rows of a tile that start fewer values apart than this stay in a first-level cache where they are;
/// others push each other out, as few of its sets take them all.
const NEAR: usize = 512;

/// Keys and values of one tile: copied together where more than three panels read them (fewer do not
/// pay for the copy) and they lie far apart, else in place.
pub(crate) struct TileRows<'a> {
    pub(crate) k: Strided<'a>,
    pub(crate) v: Strided<'a>,
    /// Keys that hold a NaN or an infinity, as value or key, where not every query sees every key.
    /// Their copies are zeros: a probability of 0 times NaN would reach queries that must not see
    /// them.
    pub(crate) broken: [bool; TILE],
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
        let in_place =
            Self { k: k.from(keys.start, kv_column), v: v.from(keys.start, kv_column), broken };
        let near = in_place.k.stride < NEAR && in_place.v.stride < NEAR;
        if (n_panels <= 3 || near) && !is_broken {
            return in_place;
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
