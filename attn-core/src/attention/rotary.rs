//! Rotary positions: queries and keys turn by an angle that grows with their position.

use crate::simd::vectorize;

/// Base of the angles' wavelengths; the paper's.
const BASE: f64 = 10_000.0;

/// Sines and cosines of rotary positions ([arXiv 2104.09864](https://arxiv.org/abs/2104.09864)).
///
/// Columns `j` and `j + head_dim/2` of each head form a pair, which turns by
/// `position · 10000^(−2j/head_dim)` (the halves of GPT-NeoX and Llama, not the neighbours of the
/// paper: the same up to an order of columns). Scores then depend on distances alone.
///
/// ```
/// let table = attn_core::Rotary::new(8, 2);
/// let mut x = [1.0, 0.0];
/// table.rotate(&mut x, 2, 1, 3);
/// assert!((x[0] - 3_f32.cos()).abs() < 1e-6 && (x[1] - 3_f32.sin()).abs() < 1e-6);
/// table.rotate_back(&mut x, 2, 1, 3);
/// assert!((x[0] - 1.0).abs() < 1e-6);
/// ```
#[derive(Debug, Clone)]
pub struct Rotary {
    /// `[positions, head_dim/2]`
    cosines: Vec<f32>,
    sines: Vec<f32>,
    half: usize,
}

impl Rotary {
    /// A table for positions below `positions`.
    ///
    /// # Panics
    /// If `head_dim` is odd or zero.
    pub fn new(positions: usize, head_dim: usize) -> Self {
        assert!(head_dim > 0 && head_dim.is_multiple_of(2), "rotary: head_dim {head_dim} is odd");
        let half = head_dim / 2;
        let mut table =
            Self { cosines: vec![0.0; positions * half], sines: vec![0.0; positions * half], half };
        for position in 0..positions {
            let row = position * half..(position + 1) * half;
            fill_row(position, &mut table.cosines[row.clone()], &mut table.sines[row]);
        }
        table
    }

    /// Replaces what the table holds at `slot` by the angles of any position: a stream is longer
    /// than every table.
    pub(crate) fn set(&mut self, slot: usize, position: usize) {
        let row = slot * self.half..(slot + 1) * self.half;
        fill_row(position, &mut self.cosines[row.clone()], &mut self.sines[row]);
    }

    /// Turns the first `n_heads` heads of rows that start `stride` values apart; the first row
    /// stands at position `first`.
    ///
    /// # Panics
    /// If a row is shorter than the heads, or a position lies outside the table.
    pub fn rotate(&self, rows: &mut [f32], stride: usize, n_heads: usize, first: usize) {
        self.turn(rows, stride, n_heads, first, 1.0);
    }

    /// The inverse of [`Rotary::rotate`], which is also its backward pass.
    ///
    /// # Panics
    /// As [`Rotary::rotate`].
    pub fn rotate_back(&self, rows: &mut [f32], stride: usize, n_heads: usize, first: usize) {
        self.turn(rows, stride, n_heads, first, -1.0);
    }

    fn turn(&self, rows: &mut [f32], stride: usize, n_heads: usize, first: usize, sign: f32) {
        let half = self.half;
        vectorize(
            #[inline(always)]
            || {
                for (t, row) in rows.chunks_mut(stride).enumerate() {
                    let cosines = &self.cosines[(first + t) * half..][..half];
                    let sines = &self.sines[(first + t) * half..][..half];
                    for head in row[..n_heads * 2 * half].chunks_exact_mut(2 * half) {
                        let (a, b) = head.split_at_mut(half);
                        for (((a, b), &c), &s) in a.iter_mut().zip(b).zip(cosines).zip(sines) {
                            let s = sign * s;
                            (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
                        }
                    }
                }
            },
        );
    }
}

/// Angles are computed in f64: an f32 position times a frequency loses digits after some thousand.
fn fill_row(position: usize, cosines: &mut [f32], sines: &mut [f32]) {
    let half = cosines.len();
    for (j, (c, s)) in cosines.iter_mut().zip(sines).enumerate() {
        let angle = position as f64 * BASE.powf(-(j as f64) / half as f64);
        (*c, *s) = (angle.cos() as f32, angle.sin() as f32);
    }
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, sequence};

    use super::*;

    #[test]
    fn scores_depend_on_the_distance_alone() {
        let table = Rotary::new(60, 8);
        let (q, k) = (sequence(1, 8), sequence(2, 8));
        let score = |i: usize, j: usize| -> f32 {
            let (mut q, mut k) = (q.clone(), k.clone());
            table.rotate(&mut q, 8, 1, i);
            table.rotate(&mut k, 8, 1, j);
            q.iter().zip(&k).map(|(q, k)| q * k).sum()
        };
        let expected = vec![score(7, 3); 50];
        let found: Vec<f32> = (0..50).map(|i| score(i + 4, i)).collect();
        assert_close("scores", &found, &expected, 1e-4, 1e-5);
        assert!((score(7, 3) - score(9, 3)).abs() > 1e-3);
    }

    #[test]
    fn equals_pytorch() {
        let file = testkit::golden("tests/golden/rotary.safetensors");
        for case in ["a", "b", "c"] {
            let tensor = |name: &str| file[&format!("{case}/{name}")].values.clone();
            let dims: Vec<usize> = tensor("dims").iter().map(|&v| v as usize).collect();
            let (seq, n_heads, head_dim) = (dims[0], dims[1], dims[2]);
            let first = file.get(&format!("{case}/start")).map_or(0, |t| t.values[0] as usize);
            let table = Rotary::new(first + seq, head_dim);
            let mut x = tensor("x");
            table.rotate(&mut x, n_heads * head_dim, n_heads, first);
            assert_close("y", &x, &tensor("y"), 1e-6, 1e-6);
            let mut d = tensor("d_y");
            table.rotate_back(&mut d, n_heads * head_dim, n_heads, first);
            assert_close("d_x", &d, &tensor("d_x"), 1e-6, 1e-6);
        }
    }

    #[test]
    fn back_is_the_inverse_and_other_columns_stay() {
        let table = Rotary::new(9, 6);
        let before = sequence(3, 9 * 20);
        let mut x = before.clone();
        table.rotate(&mut x, 20, 2, 0);
        assert!(x.chunks(20).zip(before.chunks(20)).all(|(a, b)| a[12..] == b[12..]));
        assert!((x[20] - before[20]).abs() > 1e-3);
        table.rotate_back(&mut x, 20, 2, 0);
        assert_close("back", &x, &before, 1e-5, 1e-6);
    }
}
