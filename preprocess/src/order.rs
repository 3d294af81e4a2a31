//! Medians: of sorted values, and of a few values without a branch.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched closure is compiled for the oldest processor"
)]

/// The median of sorted values: the mean of the two in the middle where their number is even, NaN
/// where there are none.
pub(crate) fn median_of_sorted(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => middle(sorted[half - 1], sorted[half]),
        _ => sorted[half],
    }
}

/// The median of how far sorted values lie from their `median`.
pub(crate) fn deviation_of_sorted(sorted: &[f64], median: f64) -> f64 {
    // Values on both sides of the median, each side nearest first, are merged up to the middle.
    let mut right = sorted.partition_point(|&v| v < median);
    let mut left = right;
    let (mut last, mut before) = (f64::NAN, f64::NAN);
    for _ in 0..=sorted.len() / 2 {
        let below = if left > 0 { median - sorted[left - 1] } else { f64::INFINITY };
        let above = sorted.get(right).map_or(f64::INFINITY, |v| v - median);
        before = last;
        if below < above {
            (left, last) = (left - 1, below);
        } else {
            (right, last) = (right + 1, above);
        }
    }
    match sorted.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => middle(before, last),
        _ => last,
    }
}

fn middle(a: f64, b: f64) -> f64 {
    0.5 * a + 0.5 * b
}

/// The median of `N` values, an odd number of at least 3; anything where one is NaN. Without a branch, so
/// that a loop over windows is done for several at once.
///
/// Of a bit more than half of the values neither the smallest nor the largest can be the median: both
/// are forgotten, the next value comes in, and so on until three are left.
#[inline(always)]
pub(crate) fn median_of_few<const N: usize>(mut values: [f64; N]) -> f64 {
    let end = N / 2 + 2;
    for start in 0..end - 2 {
        let n = end - start;
        // Smaller ones to the front, larger ones to the back; then the extremes of each half outwards.
        for i in 0..n / 2 {
            exchange(&mut values, start + i, end - 1 - i);
        }
        for i in 1..n.div_ceil(2) {
            exchange(&mut values, start, start + i);
        }
        for i in 1..n.div_ceil(2) {
            exchange(&mut values, end - 1 - i, end - 1);
        }
        // The last round leaves the middle of three.
        if end + start < N {
            values[end - 1] = values[end + start];
        }
    }
    values[end - 2]
}

/// Puts the smaller one at `a` and the larger one at `b`.
#[inline(always)]
fn exchange<const N: usize>(values: &mut [f64; N], a: usize, b: usize) {
    let (left, right) = (values[a], values[b]);
    values[a] = if left < right { left } else { right };
    values[b] = if left < right { right } else { left };
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::assert_same_bits;

    fn agrees<const N: usize>() {
        for seed in 0..200 {
            // Few different values, so that many are equal.
            let values: Vec<f64> =
                testkit::sequence(seed, N).iter().map(|&v| f64::from((v * 6.0).round())).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            let median = sorted[N / 2];
            let few: [f64; N] = std::array::from_fn(|i| values[i]);
            let found = [median_of_few(few) + 0.0, median_of_sorted(&sorted) + 0.0];
            assert_same_bits("medians", &found, &[median + 0.0; 2]);
            let mut away: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
            away.sort_unstable_by(f64::total_cmp);
            let found = deviation_of_sorted(&sorted, median);
            assert_same_bits("deviation", &[found], &[away[N / 2]]);
        }
    }

    #[test]
    fn medians_agree_with_sorting() {
        agrees::<3>();
        agrees::<5>();
        agrees::<7>();
        agrees::<9>();
        agrees::<11>();
    }

    #[test]
    fn an_even_number_has_the_mean_of_two() {
        let found = [
            median_of_sorted(&[1.0, 2.0, 4.0, 9.0]),
            deviation_of_sorted(&[1.0, 2.0, 4.0, 9.0], 3.0),
            deviation_of_sorted(&[1.0, 3.0], 2.0),
        ];
        assert_same_bits("means of two", &found, &[3.0, 1.5, 1.0]);
        assert!(median_of_sorted(&[]).is_nan() && deviation_of_sorted(&[], f64::NAN).is_nan());
    }
}
