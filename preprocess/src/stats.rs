//! What steps are fitted on: statistics of each channel's present values, in f64, that merge.

pub(crate) use crate::channel_stats::ChannelStats;
use crate::covariance::Covariance;
use crate::moments;
use crate::quantiles::Quantiles;
use crate::{Error, Rows, Stage};

/// What a step must know of the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// Counts, means, deviations and ranges.
    Moments,
    /// Those, and quantiles.
    Quantiles,
    /// How channels vary together, and nothing of each alone.
    Covariance,
}

/// Statistics of the training rows, channel by channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stats {
    /// One for each channel.
    pub(crate) channels: Vec<ChannelStats>,
    /// How they vary together, where that is needed.
    pub(crate) covariance: Option<Covariance>,
}

impl Stats {
    /// Statistics of all rows of all series.
    pub(crate) fn of(needs: Needs, channels: usize, series: &[Rows]) -> Self {
        if needs == Needs::Covariance {
            let covariance = Some(Covariance::of(channels, series));
            return Self { channels: Vec::new(), covariance };
        }
        let mut merged = vec![ChannelStats::empty(); channels];
        for rows in series {
            let of_rows = moments::of(rows.view());
            merged.iter_mut().zip(&of_rows).for_each(|(all, one)| all.merge(one));
        }
        let channels = merged.into_iter().enumerate().map(|(channel, mut all)| {
            if needs == Needs::Quantiles {
                let column = |rows: &'_ Rows| {
                    let values = rows.values().iter().skip(channel).step_by(rows.channels());
                    values.copied().filter(|v| !v.is_nan()).collect::<Vec<_>>()
                };
                all.quantiles = Quantiles::exact(series.iter().flat_map(column).collect());
            }
            all
        });
        Self { channels: channels.collect(), covariance: None }
    }

    /// `f` of each channel's statistics; `step` is named if a channel has no value.
    pub(crate) fn per_channel<T>(
        &self,
        input: &Stage,
        step: &'static str,
        f: impl Fn(&ChannelStats) -> T,
    ) -> Result<Vec<T>, Error> {
        let one = |(channel, stats): (usize, &ChannelStats)| match stats.count {
            0 => Err(Error::AllMissing { channel: input.names[channel].clone(), step }),
            _ => Ok(f(stats)),
        };
        self.channels.iter().enumerate().map(one).collect()
    }
}

/// Mean and population standard deviation of values that are not NaN; both NaN without any.
pub(crate) fn mean_and_std(rows: &[f64], channels: usize, channel: usize) -> (f64, f64) {
    let values = || rows.iter().skip(channel).step_by(channels).copied().filter(|v| !v.is_nan());
    let Some(first) = values().next() else { return (f64::NAN, f64::NAN) };
    let (n, sum) = values().fold((0_u64, 0.0), |(n, sum), v| (n + 1, sum + (v - first)));
    let shift = sum / n as f64;
    let squares: f64 = values().map(|v| ((v - first) - shift).powi(2)).sum();
    (first + shift, (squares / n as f64).sqrt())
}

/// Smallest and largest value that is not NaN; both NaN without any.
pub(crate) fn extent(rows: &[f64], channels: usize, channel: usize) -> (f64, f64) {
    let values = rows.iter().skip(channel).step_by(channels);
    values.fold((f64::NAN, f64::NAN), |(min, max), &v| (min.min(v), max.max(v)))
}

/// A spread to divide by: 1 where the channel does not vary.
pub(crate) fn scale_or_one(spread: f64) -> f64 {
    if spread > 0.0 { spread } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(values: &[f64]) -> ChannelStats {
        let rows = Rows::of_series(1, None, values.to_vec());
        Stats::of(Needs::Quantiles, 1, &[rows]).channels[0].clone()
    }

    #[test]
    fn moments_of_known_values() {
        let found = stats(&[2.0, f64::NAN, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((found.count, found.missing), (8, 1));
        testkit::assert_close(
            "mean, std, min, max, quartiles",
            &[
                found.mean,
                found.std(),
                found.min,
                found.max,
                found.quantile(0.25),
                found.quantile(0.75),
            ],
            &[5.0, 2.0, 2.0, 9.0, 4.0, 5.5],
            1e-15,
            0.0,
        );
    }

    #[test]
    fn equal_values_have_no_spread_whatever_their_rounding() {
        for value in [0.1, 1e300, 5_411_237.3, -7e-300] {
            let found = stats(&vec![value; 1001]);
            testkit::assert_same_bits("mean", &[found.mean, found.m2], &[value, 0.0]);
            let (mean, std) = mean_and_std(&[value; 7], 1, 0);
            testkit::assert_same_bits("window", &[mean, std], &[value, 0.0]);
        }
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let values: Vec<f64> =
            testkit::sequence(3, 4000).iter().map(|&v| 1e6 + f64::from(v)).collect();
        let whole = stats(&values);
        let mut parts = ChannelStats::empty();
        for part in values.chunks(137) {
            parts.merge(&stats(part));
        }
        let numbers = |s: &ChannelStats| [s.count as f64, s.mean, s.m2, s.min, s.max];
        testkit::assert_close("merged", &numbers(&parts), &numbers(&whole), 1e-12, 0.0);
    }
}
