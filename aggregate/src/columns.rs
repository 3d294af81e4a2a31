//! Rules that work on each coordinate alone: the values of all updates are sorted.

use crate::dispatch::vectorized;
use crate::rows::Element;

/// Coordinates that are sorted side by side: enough for the vector units, few enough that the
/// values of many updates stay in the first-level cache.
pub(crate) const TILE: usize = 64;

/// What becomes of the sorted values of a coordinate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    /// The middle one, or the mean of the middle two.
    Median,
    /// The mean without so many at each end.
    Trimmed { n_cut: usize },
    /// The mean of so many nearest the median.
    Nearest { n_kept: usize },
}

/// A rule for a given number of values, with the comparisons it takes to sort them.
#[derive(Debug, Clone)]
pub(crate) struct Sorter {
    rule: Rule,
    n: usize,
    comparisons: Vec<(usize, usize)>,
}

impl Sorter {
    pub(crate) fn new(rule: Rule, n: usize) -> Self {
        let needed: Vec<bool> = (0..n)
            .map(|i| match rule {
                Rule::Median => i == n / 2 || i == (n - 1) / 2,
                Rule::Trimmed { n_cut } => (n_cut..n - n_cut).contains(&i),
                Rule::Nearest { .. } => true,
            })
            .collect();
        Self { rule, n, comparisons: needed_only(odd_even_merge_sort(n), needed) }
    }

    /// Writes the rule's value of each coordinate of a tile to `out`, any value where one is NaN; `values` has the updates'
    /// keys, `[n, TILE]`, and is left in disorder.
    ///
    /// # Panics
    /// If `values` is not `n` tiles, or `out` is longer than one.
    pub(crate) fn reduce<E: Element>(&self, values: &mut [E::Key], out: &mut [f64]) {
        assert_eq!(values.len(), self.n * TILE, "{} rows of {TILE}", self.n);
        vectorized(
            #[inline(always)]
            || self.reduce_here::<E>(values, out),
        );
    }

    #[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
    #[inline(always)]
    fn reduce_here<E: Element>(&self, values: &mut [E::Key], out: &mut [f64]) {
        let rows = values.as_chunks_mut::<TILE>().0;
        for &(a, b) in &self.comparisons {
            let (before, after) = rows.split_at_mut(b);
            compare(&mut before[a], &mut after[0]);
        }
        let row = |i: usize| -> [f64; TILE] { rows[i].map(|key| E::of_key(key).into()) };
        let mut result = [0.0; TILE];
        match self.rule {
            Rule::Median => {
                let (low, high) = (row((self.n - 1) / 2), row(self.n / 2));
                for ((r, low), high) in result.iter_mut().zip(low).zip(high) {
                    *r = middle::<E>(low, high);
                }
            }
            Rule::Trimmed { n_cut } => {
                let (first, last) = (row(n_cut), row(self.n - n_cut - 1));
                // From the first on, so that equal values come back as they are.
                let share = 1.0 / (self.n - 2 * n_cut) as f64;
                for i in n_cut + 1..self.n - n_cut {
                    for ((r, value), first) in result.iter_mut().zip(row(i)).zip(first) {
                        *r += if E::WIDE { share * value - share * first } else { value - first };
                    }
                }
                let share = if E::WIDE { 1.0 } else { share };
                for ((r, first), last) in result.iter_mut().zip(first).zip(last) {
                    *r = if first >= last {
                        first
                    } else {
                        bounded(first + *r * share, first, last)
                    };
                }
            }
            Rule::Nearest { n_kept } => self.nearest::<E>(n_kept, row, &mut result),
        }
        out.copy_from_slice(&result[..out.len()]);
    }

    /// The mean of the `n_kept` values nearest the median, which are neighbours once sorted. Of two
    /// as near the lower one counts.
    #[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
    #[inline(always)]
    fn nearest<E: Element>(
        &self,
        n_kept: usize,
        row: impl Fn(usize) -> [f64; TILE],
        result: &mut [f64; TILE],
    ) {
        let (low, high) = (row((self.n - 1) / 2), row(self.n / 2));
        let mut median = [0.0; TILE];
        for ((m, low), high) in median.iter_mut().zip(low).zip(high) {
            *m = middle::<E>(low, high);
        }
        // The window of kept values moves up while the one it would gain is nearer than the one it
        // would lose.
        let mut start = [0i32; TILE];
        for s in 0..self.n - n_kept {
            let (lost, gained) = (row(s), row(s + n_kept));
            for (((start, m), lost), gained) in start.iter_mut().zip(median).zip(lost).zip(gained) {
                *start += i32::from(gained - m < m - lost);
            }
        }
        let share = 1.0 / n_kept as f64;
        let width = i32::try_from(n_kept).unwrap_or(i32::MAX);
        let (mut low, mut high) = ([f64::INFINITY; TILE], [f64::NEG_INFINITY; TILE]);
        for i in 0..self.n {
            let values = row(i);
            let index = i32::try_from(i).unwrap_or(i32::MAX);
            for k in 0..TILE {
                let kept = index >= start[k] && index - start[k] < width;
                // From the median on, so that equal values come back as they are.
                result[k] += if kept { share * (values[k] - median[k]) } else { 0.0 };
                low[k] = if kept { low[k].min(values[k]) } else { low[k] };
                high[k] = if kept { high[k].max(values[k]) } else { high[k] };
            }
        }
        for k in 0..TILE {
            let mean = median[k] + result[k];
            result[k] = if low[k] >= high[k] { low[k] } else { bounded(mean, low[k], high[k]) };
        }
    }
}

/// Not `clamp`, which panics if a bound is NaN: the block of an update that holds one is reduced like
/// any other before it is given up.
#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
fn bounded(value: f64, low: f64, high: f64) -> f64 {
    value.max(low).min(high)
}

#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
fn compare<K: Copy + Ord>(low: &mut [K; TILE], high: &mut [K; TILE]) {
    for (low, high) in low.iter_mut().zip(high) {
        let (a, b) = (*low, *high);
        *low = a.min(b);
        *high = a.max(b);
    }
}

/// The mean of two; of f64 without overflow, which takes branches.
#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
fn middle<E: Element>(low: f64, high: f64) -> f64 {
    if E::WIDE { f64::midpoint(low, high) } else { 0.5 * (low + high) }
}

/// The pairs `(a, b)`, `a < b`, to be put in order one after the other so that `n` values are
/// sorted: Batcher's odd-even merge sort.
fn odd_even_merge_sort(n: usize) -> Vec<(usize, usize)> {
    let mut comparisons = Vec::new();
    let mut p = 1;
    while p < n {
        let mut k = p;
        while k >= 1 {
            for j in (k % p..n.saturating_sub(k)).step_by(2 * k) {
                for i in 0..k.min(n - j - k) {
                    if (i + j) / (2 * p) == (i + j + k) / (2 * p) {
                        comparisons.push((i + j, i + j + k));
                    }
                }
            }
            k /= 2;
        }
        p *= 2;
    }
    comparisons
}

/// Drops the comparisons that have no influence on the places that are needed.
fn needed_only(all: Vec<(usize, usize)>, mut needed: Vec<bool>) -> Vec<(usize, usize)> {
    let mut kept: Vec<_> = all
        .into_iter()
        .rev()
        .filter(|&(a, b)| {
            let counts = needed[a] || needed[b];
            needed[a] |= counts;
            needed[b] |= counts;
            counts
        })
        .collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain twin, which is never optimized.
    fn reference(rule: Rule, column: &[f32]) -> f64 {
        let mut sorted: Vec<f64> = column.iter().map(|&v| v.into()).collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let median = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        match rule {
            Rule::Median => median,
            Rule::Trimmed { n_cut } => mean(&sorted[n_cut..n - n_cut]),
            Rule::Nearest { n_kept } => {
                sorted.sort_by(|a, b| {
                    let (a_far, b_far) = ((a - median).abs(), (b - median).abs());
                    a_far.total_cmp(&b_far).then(a.total_cmp(b))
                });
                mean(&sorted[..n_kept])
            }
        }
    }

    fn fast<E: Element>(rule: Rule, rows: &[Vec<E>]) -> Vec<f64> {
        let mut keys = vec![E::Key::default(); rows.len() * TILE];
        for (tile, row) in keys.chunks_exact_mut(TILE).zip(rows) {
            for (key, value) in tile.iter_mut().zip(row) {
                *key = value.key();
            }
        }
        let mut out = vec![0.0; rows[0].len()];
        Sorter::new(rule, rows.len()).reduce::<E>(&mut keys, &mut out);
        out
    }

    proptest! {
        #[test]
        fn sorted_rules_are_their_plain_twins(
            n in 1..40usize,
            width in 1..=TILE,
            seed in any::<u64>(),
            share in 0.0..0.5f64,
            step in prop::sample::select(vec![1e-6f32, 0.25]),
        ) {
            let rows: Vec<Vec<f32>> = (0..n as u64)
                .map(|i| {
                    // Coarse steps make many equal values.
                    let values = testkit::sequence(seed ^ (i << 40), width);
                    values.iter().map(|v| (v / step).round() * step).collect()
                })
                .collect();
            let wide: Vec<Vec<f64>> =
                rows.iter().map(|row| row.iter().map(|&v| v.into()).collect()).collect();
            let n_cut = (share * n as f64) as usize;
            for rule in [
                Rule::Median,
                Rule::Trimmed { n_cut },
                Rule::Nearest { n_kept: n - n_cut },
            ] {
                let found = fast(rule, &rows);
                let found_wide = fast(rule, &wide);
                for (k, (found, found_wide)) in found.iter().zip(&found_wide).enumerate() {
                    let column: Vec<f32> = rows.iter().map(|row| row[k]).collect();
                    let expected = reference(rule, &column);
                    prop_assert!((found - expected).abs() <= 1e-14, "{rule:?} {found} {expected}");
                    prop_assert!((found_wide - expected).abs() <= 1e-14, "{rule:?} {found_wide}");
                }
            }
        }
    }

    #[test]
    fn every_number_of_values_is_sorted() {
        for n in 1..70 {
            let rows: Vec<Vec<f32>> = (0..n).map(|i| testkit::sequence(i, TILE)).collect();
            let n = n as usize;
            for i in 0..n {
                // The i-th of the sorted values, as a trimmed mean of one value.
                let Some(n_cut) = (n % 2 == 1 && i == n / 2).then_some(n / 2) else { continue };
                let found = fast(Rule::Trimmed { n_cut }, &rows);
                let median = fast(Rule::Median, &rows);
                assert_eq!(found, median);
            }
            // A network sorts everything if it sorts zeros and ones.
            let comparisons = odd_even_merge_sort(n);
            for ones in 0..=n {
                let mut values: Vec<usize> =
                    (0..n).map(|i| usize::from((i * 7919) % n < ones)).collect();
                for &(a, b) in &comparisons {
                    if values[a] > values[b] {
                        values.swap(a, b);
                    }
                }
                assert!(values.is_sorted(), "{n} values, {ones} ones");
            }
        }
    }

    #[test]
    fn zeros_of_both_signs_do_not_depend_on_the_order() {
        let forth = fast(Rule::Median, &[vec![0.0f32], vec![-0.0], vec![-0.0]]);
        let back = fast(Rule::Median, &[vec![-0.0f32], vec![-0.0], vec![0.0]]);
        assert_eq!(forth[0].to_bits(), back[0].to_bits());
        assert_eq!(forth[0].to_bits(), (-0.0f64).to_bits());
    }
}
