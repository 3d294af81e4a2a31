//! How channels vary together: means and co-moments of the rows that miss nothing, which merge.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, MatMut, MatRef, Par};

use crate::dispatch::vectorized;
use crate::scale::Line;
use crate::stats::two_sum;
use crate::{Rows, RowsRef};

/// Rows of one product: with 64 channels they stay in the second-level cache.
const BLOCK: usize = 512;

/// Means and co-moments of all channels over the complete rows: those without a missing value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Covariance {
    /// How many rows are complete.
    pub(crate) count: u64,
    /// How many are not, and count nowhere.
    pub(crate) incomplete: u64,
    /// Mean of each channel.
    pub(crate) mean: Vec<f64>,
    /// What each mean is more than the number that `mean` holds; see
    /// [`ChannelStats`](crate::stats::ChannelStats).
    pub(crate) mean_rest: Vec<f64>,
    /// `Σ (x − mean)(x − mean)ᵀ`, `[channels, channels]`, symmetric to the bit.
    pub(crate) comoment: Vec<f64>,
}

impl Covariance {
    /// Nothing is known yet.
    pub(crate) fn empty(channels: usize) -> Self {
        Self {
            count: 0,
            incomplete: 0,
            mean: vec![0.0; channels],
            mean_rest: vec![0.0; channels],
            comoment: vec![0.0; channels * channels],
        }
    }

    /// That of all rows of all series.
    pub(crate) fn of(channels: usize, series: &[Rows]) -> Self {
        let mut all = Self::empty(channels);
        for rows in series {
            all.merge(&Self::of_one(rows.view()));
        }
        all
    }

    /// Everything is counted from the first complete row, so that a large offset costs no digits; each
    /// block is centered on its own mean, and the blocks are merged.
    fn of_one(rows: RowsRef<'_>) -> Self {
        let channels = rows.channels();
        let mut found = Self::empty(channels);
        let is_complete = |row: &[f64]| !row.iter().fold(false, |any, v| any | v.is_nan());
        let Some(first) = (0..rows.len()).find(|&row| is_complete(rows.row(row))) else {
            found.incomplete = rows.len() as u64;
            return found;
        };
        let origin = rows.row(first);
        let mut block = vec![0.0; BLOCK.min(rows.len()) * channels];
        // The mean so far and that of a block, both from the origin.
        let (mut mean, mut shift) = (vec![0.0; channels], vec![0.0; channels]);
        let mut delta = vec![0.0; channels];
        let mut at = 0;
        while at < rows.len() {
            let mut n = 0;
            vectorized(
                #[inline(always)]
                || {
                    shift.fill(0.0);
                    while at < rows.len() && n < BLOCK {
                        let row = rows.row(at);
                        at += 1;
                        if !is_complete(row) {
                            found.incomplete += 1;
                            continue;
                        }
                        let to = &mut block[n * channels..(n + 1) * channels];
                        n += 1;
                        for (((to, v), origin), sum) in
                            to.iter_mut().zip(row).zip(origin).zip(&mut shift)
                        {
                            *to = v - origin;
                            *sum += *to;
                        }
                    }
                    let per_row = 1.0 / n.max(1) as f64;
                    for sum in &mut shift {
                        *sum *= per_row;
                    }
                    for row in block[..n * channels].chunks_exact_mut(channels) {
                        row.iter_mut().zip(&shift).for_each(|(v, shift)| *v -= shift);
                    }
                },
            );
            if n == 0 {
                continue;
            }
            let centered = MatRef::from_row_major_slice(&block[..n * channels], n, channels);
            matmul(
                MatMut::from_row_major_slice_mut(&mut found.comoment, channels, channels),
                BlockStructure::TriangularLower,
                Accum::Add,
                centered.transpose(),
                BlockStructure::Rectangular,
                centered,
                BlockStructure::Rectangular,
                1.0,
                Par::Seq,
            );
            let (a, b) = (found.count as f64, n as f64);
            for ((delta, mean), shift) in delta.iter_mut().zip(&mut mean).zip(&shift) {
                *delta = shift - *mean;
                *mean += *delta * (b / (a + b));
            }
            found.add_square(&delta, a * b / (a + b));
            found.count += n as u64;
        }
        for row in 0..channels {
            for column in 0..row {
                found.comoment[column * channels + row] = found.comoment[row * channels + column];
            }
        }
        let both = found.mean.iter_mut().zip(&mut found.mean_rest).zip(origin.iter().zip(&mean));
        both.for_each(|((mean, rest), (&origin, &shift))| {
            (*mean, *rest) = two_sum(origin, shift);
        });
        found
    }

    /// Takes in what is known of other rows: the pairwise formula of Chan et al. (1979), for matrices.
    ///
    /// # Panics
    /// If the other has other channels.
    pub(crate) fn merge(&mut self, other: &Self) {
        assert_eq!(self.mean.len(), other.mean.len(), "covariances of other channels");
        self.incomplete += other.incomplete;
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            let incomplete = self.incomplete;
            *self = Self { incomplete, ..other.clone() };
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let means = self.mean.iter_mut().zip(&mut self.mean_rest);
        let delta: Vec<f64> = means
            .zip(other.mean.iter().zip(&other.mean_rest))
            .map(|((mean, rest), (other_mean, other_rest))| {
                let delta = (other_mean - *mean) + (other_rest - *rest);
                (*mean, *rest) = two_sum(*mean, *rest + delta * (b / (a + b)));
                delta
            })
            .collect();
        self.comoment.iter_mut().zip(&other.comoment).for_each(|(c, other)| *c += other);
        self.add_square(&delta, a * b / (a + b));
        self.count += other.count;
    }

    /// What becomes of them where every channel goes on its line.
    pub(crate) fn mapped(&self, lines: &[Line]) -> Self {
        let slope = |line: &Line| line.span / line.scale;
        let mut mapped = self.clone();
        if self.count == 0 {
            return mapped;
        }
        let means = mapped.mean.iter_mut().zip(&mut mapped.mean_rest);
        for ((mean, rest), line) in means.zip(lines) {
            (*mean, *rest) = two_sum(line.forward(*mean), *rest * slope(line));
        }
        for (row, left) in mapped.comoment.chunks_exact_mut(lines.len()).zip(lines) {
            for (c, right) in row.iter_mut().zip(lines) {
                *c *= slope(left) * slope(right);
            }
        }
        mapped
    }

    /// Those of the channels in these places; none stands for one that is 0 throughout.
    ///
    /// # Panics
    /// If there is no such place.
    pub(crate) fn of_channels(&self, places: &[Option<usize>]) -> Self {
        let channels = self.mean.len();
        let pick = |values: &[f64]| places.iter().map(|p| p.map_or(0.0, |at| values[at])).collect();
        let entry = |a: Option<usize>, b: Option<usize>| {
            a.zip(b).map_or(0.0, |(a, b)| self.comoment[a * channels + b])
        };
        let rows = places.iter().flat_map(|&a| places.iter().map(move |&b| entry(a, b)));
        Self {
            count: self.count,
            incomplete: self.incomplete,
            mean: pick(&self.mean),
            mean_rest: pick(&self.mean_rest),
            comoment: rows.collect(),
        }
    }

    /// Counts them as a share of themselves, of so many rows.
    pub(crate) fn count_as(&mut self, share: f64, rows: u64) {
        if self.count > 0 {
            let count = ((self.count as f64 * share).round() as u64).clamp(1, rows.max(1));
            let share = count as f64 / self.count as f64;
            self.comoment.iter_mut().for_each(|c| *c *= share);
            self.count = count;
        }
        self.incomplete = rows - self.count;
    }

    /// Adds `weight·δδᵀ`.
    fn add_square(&mut self, delta: &[f64], weight: f64) {
        if weight == 0.0 {
            return;
        }
        for (row, left) in self.comoment.chunks_exact_mut(delta.len()).zip(delta) {
            // The product of the deltas comes first, so that the matrix stays symmetric to the bit.
            row.iter_mut().zip(delta).for_each(|(c, right)| *c += (left * right) * weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{assert_close, assert_same_bits};

    fn series(seed: u64, n_rows: usize, offset: f64) -> Vec<f64> {
        let noise = testkit::sequence(seed, 3 * n_rows);
        let value = |(i, v): (usize, &f32)| {
            let shared = f64::from(noise[i / 3 * 3]);
            offset + (1.0 + (i % 3) as f64) * (f64::from(*v) + 0.7 * shared)
        };
        noise.iter().enumerate().map(value).collect()
    }

    fn of(values: &[f64]) -> Covariance {
        Covariance::of(3, &[Rows::of_series(3, None, values.to_vec())])
    }

    /// By the definition, counted from the offset.
    fn plainly(values: &[f64], offset: f64) -> (Vec<f64>, Vec<f64>) {
        let rows: Vec<Vec<f64>> =
            values.chunks(3).map(|row| row.iter().map(|v| v - offset).collect()).collect();
        let rows: Vec<_> = rows.iter().filter(|row| row.iter().all(|v| !v.is_nan())).collect();
        let n = rows.len() as f64;
        let mean: Vec<f64> =
            (0..3).map(|c| rows.iter().map(|row| row[c]).sum::<f64>() / n).collect();
        let entry = |i: usize| {
            let (a, b) = (i / 3, i % 3);
            rows.iter().map(|row| (row[a] - mean[a]) * (row[b] - mean[b])).sum()
        };
        (mean.clone(), (0..9).map(entry).collect())
    }

    #[test]
    fn it_is_the_definition_far_from_zero_and_with_gaps() {
        for (n_rows, offset) in [(5, 0.0), (511, 2.0), (1300, 1024.0), (1300, (1_u64 << 30) as f64)]
        {
            let mut values = series(7, n_rows, offset);
            values.iter_mut().skip(4).step_by(101).for_each(|v| *v = f64::NAN);
            let found = of(&values);
            let n_gaps = (values.len() - 4).div_ceil(101) as u64;
            assert_eq!(found.incomplete, n_gaps);
            assert_eq!(found.count, n_rows as u64 - n_gaps);
            let (mean, comoment) = plainly(&values, offset);
            assert_close("co-moment", &found.comoment, &comoment, 1e-12, 1e-10);
            let from_offset: Vec<f64> = found
                .mean
                .iter()
                .zip(&found.mean_rest)
                .map(|(mean, rest)| (mean - offset) + rest)
                .collect();
            assert_close("mean", &from_offset, &mean, 1e-12, 1e-13);
        }
    }

    #[test]
    fn parts_merge_to_the_whole() {
        for offset in [0.0, 5_411_237.0] {
            let values = series(3, 2000, offset);
            let whole = of(&values);
            let mut parts = Covariance::empty(3);
            for part in values.chunks(3 * 137) {
                parts.merge(&of(part));
            }
            parts.merge(&Covariance::empty(3));
            assert_eq!(parts.count, whole.count);
            assert_close("mean", &parts.mean, &whole.mean, 1e-12, 1e-13);
            assert_close("co-moment", &parts.comoment, &whole.comoment, 1e-12, 0.0);
            let transposed: Vec<f64> = (0..9).map(|i| parts.comoment[i % 3 * 3 + i / 3]).collect();
            assert_same_bits("symmetric", &parts.comoment, &transposed);
        }
    }

    #[test]
    fn rows_that_all_miss_something_count_nowhere() {
        let found = of(&[1.0, f64::NAN, 2.0, f64::NAN, 1.0, 1.0]);
        assert_eq!(found, Covariance { incomplete: 2, ..Covariance::empty(3) });
        let mut both = of(&[1.0, 2.0, 3.0]);
        both.merge(&found);
        assert_eq!((both.count, both.incomplete), (1, 2));
        assert_same_bits("mean", &both.mean, &[1.0, 2.0, 3.0]);
    }
}
