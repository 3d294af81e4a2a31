//! Statistics of one channel's present values, in f64.

use crate::Error;

/// `f` of the present values of each channel; `step` is named if a channel has none.
pub(crate) fn per_channel<T>(
    series: &[Vec<f32>],
    channels: usize,
    step: &'static str,
    f: impl Fn(&mut [f32]) -> T,
) -> Result<Vec<T>, Error> {
    let mut column = Vec::new();
    (0..channels)
        .map(|channel| {
            column.clear();
            for values in series {
                let present = values.iter().skip(channel).step_by(channels);
                column.extend(present.filter(|v| !v.is_nan()));
            }
            if column.is_empty() {
                return Err(Error::AllMissing { channel, step });
            }
            Ok(f(&mut column))
        })
        .collect()
}

/// Smallest and largest value; NaN is skipped, and without any value both are NaN.
pub(crate) fn extent(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.fold((f32::NAN, f32::NAN), |(min, max), v| (min.min(v), max.max(v)))
}

/// Mean and population standard deviation (over `n`) of the values that are not NaN.
///
/// Two passes, so that a large offset costs no digits. Equal values give themselves and exactly 0:
/// their sum may round, and the tiny deviation left over would later be divided by.
pub(crate) fn mean_and_std(values: impl Iterator<Item = f32> + Clone) -> (f64, f64) {
    let (min, max) = extent(values.clone());
    if min.to_bits() == max.to_bits() {
        return (min.into(), 0.0);
    }
    let present = values.filter(|v| !v.is_nan()).map(f64::from);
    let (n, sum) = present.clone().fold((0_u64, 0.0), |(n, sum), v| (n + 1, sum + v));
    let mean = sum / n as f64;
    let squares: f64 = present.map(|v| (v - mean) * (v - mean)).sum();
    (mean, (squares / n as f64).sqrt())
}

/// Median and interquartile range; sorts `values`, which must not be empty.
pub(crate) fn median_and_iqr(values: &mut [f32]) -> (f64, f64) {
    values.sort_unstable_by(f32::total_cmp);
    (quantile(values, 0.5), quantile(values, 0.75) - quantile(values, 0.25))
}

/// Quantile of sorted values, linear between neighbours (`numpy.quantile`'s default).
fn quantile(sorted: &[f32], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    let low = f64::from(sorted[below]);
    let high = f64::from(sorted[sorted.len().min(below + 2) - 1]);
    low + (high - low) * share
}

/// A spread to divide by: 1 where the channel does not vary.
pub(crate) fn scale_or_one(spread: f64) -> f32 {
    // An interquartile range may exceed the largest f32, a spread of subnormals may round to 0.
    let spread = spread.min(f32::MAX.into()) as f32;
    if spread > 0.0 { spread } else { 1.0 }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    #[test]
    fn nan_is_skipped() {
        let values = [f32::NAN, 1.0, 3.0, f32::NAN];
        assert_eq!(mean_and_std(values.into_iter()), (2.0, 1.0));
        assert_eq!(extent(values.into_iter()), (1.0, 3.0));
        assert!(extent([f32::NAN].into_iter()).0.is_nan());
    }

    #[test]
    fn equal_values_have_no_deviation_whatever_their_sum_rounds_to() {
        let values = vec![0.1_f32; 1_000_003];
        assert_eq!(mean_and_std(values.into_iter()), (f64::from(0.1_f32), 0.0));
    }

    #[test]
    fn a_large_offset_costs_no_digits() {
        let values = [1_000_000.0_f32, 1_000_001.0, 1_000_002.0];
        let (mean, std) = mean_and_std(values.into_iter());
        assert_eq!(mean, 1_000_001.0);
        assert!((std - (2.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([1, 2, 4, 8], [.25, .5, .75]) is [1.75, 3, 5].
        assert_eq!(median_and_iqr(&mut [8.0, 1.0, 4.0, 2.0]), (3.0, 3.25));
        assert_eq!(median_and_iqr(&mut [5.0]), (5.0, 0.0));
        assert_eq!(median_and_iqr(&mut [3.0, 1.0, 2.0]), (2.0, 1.0));
    }

    #[test]
    fn a_scale_is_always_positive_and_finite() {
        assert_eq!(scale_or_one(0.0), 1.0);
        assert_eq!(scale_or_one(1e-60), 1.0);
        assert_eq!(scale_or_one(6e38), f32::MAX);
        assert_eq!(scale_or_one(2.5), 2.5);
    }

    #[test]
    fn a_channel_without_values_is_named() {
        let series = [vec![1.0, f32::NAN, 2.0, f32::NAN], vec![3.0, f32::NAN]];
        let message = per_channel(&series, 2, "z-score", |v| v.len()).unwrap_err().to_string();
        assert!(message.starts_with("channel 1 has no value in the training rows"), "{message}");
        assert_eq!(per_channel(&series[..0], 0, "z-score", |v| v.len()), Ok(vec![]));
    }
}
