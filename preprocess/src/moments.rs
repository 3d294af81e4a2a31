//! Counts, means, deviations and ranges of all channels at once, eight side by side.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched closure is compiled for the oldest processor"
)]

use crate::RowsRef;
use crate::channel_stats::ChannelStats;
use crate::dispatch::vectorized;
use crate::two_sum::two_sum;

/// Channels that are counted side by side.
const LANES: usize = 8;

/// Rows that are spread out for the lanes at a time.
const PIECE: usize = 64;

type Lanes = [f64; LANES];

/// Sums over eight channels, of differences from `first`; places without a channel hold NaN.
#[derive(Clone)]
struct Group {
    first: Lanes,
    count: [u64; LANES],
    sum: Lanes,
    min: Lanes,
    max: Lanes,
    /// The mean from `first`, and sums of differences from it and of their squares.
    shift: Lanes,
    rest: Lanes,
    squares: Lanes,
}

/// The moments of each channel's present values.
///
/// Two passes about the first value, so that a large offset costs no digits and equal values give
/// themselves and exactly 0.
pub(crate) fn of(rows: RowsRef<'_>) -> Vec<ChannelStats> {
    let channels = rows.channels();
    if channels == 0 {
        return Vec::new();
    }
    let mut groups = vec![Group::empty(); channels.div_ceil(LANES)];
    for channel in 0..channels {
        let mut column = rows.values().iter().skip(channel).step_by(channels);
        let first = column.find(|v| !v.is_nan()).copied();
        groups[channel / LANES].first[channel % LANES] = first.unwrap_or(f64::NAN);
    }
    pass(
        rows,
        &mut groups,
        #[inline(always)]
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "a path cannot be inlined always"
        )]
        |group, piece| group.count(piece),
    );
    for Group { count, sum, shift, .. } in &mut groups {
        for i in 0..LANES {
            shift[i] = sum[i] / count[i] as f64;
        }
    }
    pass(
        rows,
        &mut groups,
        #[inline(always)]
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "a path cannot be inlined always"
        )]
        |group, piece| group.spread(piece),
    );
    let stats = |channel: usize| groups[channel / LANES].stats(channel % LANES, rows.len() as u64);
    (0..channels).map(stats).collect()
}

/// Shows every group its eight channels of all rows, in pieces.
#[inline(always)]
fn pass(rows: RowsRef<'_>, groups: &mut [Group], f: impl Fn(&mut Group, &[Lanes])) {
    let channels = rows.channels();
    vectorized(
        #[inline(always)]
        || {
            if let (LANES, [group]) = (channels, &mut *groups) {
                return f(group, rows.values().as_chunks().0);
            }
            let mut lanes = [[f64::NAN; LANES]; PIECE];
            for piece in rows.values().chunks(PIECE * channels) {
                for (at, group) in groups.iter_mut().enumerate() {
                    let of_group = at * LANES..channels.min((at + 1) * LANES);
                    for (lanes, row) in lanes.iter_mut().zip(piece.chunks_exact(channels)) {
                        // Lanes without a channel may hold another group's: nobody looks at them.
                        lanes[..of_group.len()].copy_from_slice(&row[of_group.clone()]);
                    }
                    f(group, &lanes[..piece.len() / channels]);
                }
            }
        },
    );
}

impl Group {
    fn empty() -> Self {
        Self {
            first: [f64::NAN; LANES],
            count: [0; LANES],
            sum: [0.0; LANES],
            min: [f64::INFINITY; LANES],
            max: [f64::NEG_INFINITY; LANES],
            shift: [0.0; LANES],
            rest: [0.0; LANES],
            squares: [0.0; LANES],
        }
    }

    #[inline(always)]
    fn count(&mut self, rows: &[Lanes]) {
        let Self { first, mut count, mut sum, mut min, mut max, .. } = self.clone();
        for row in rows {
            for i in 0..LANES {
                let v = row[i];
                sum[i] += if v.is_nan() { 0.0 } else { v - first[i] };
                count[i] += u64::from(!v.is_nan());
                min[i] = if v < min[i] { v } else { min[i] };
                max[i] = if v > max[i] { v } else { max[i] };
            }
        }
        *self = Self { count, sum, min, max, ..self.clone() };
    }

    #[inline(always)]
    fn spread(&mut self, rows: &[Lanes]) {
        let Self { first, shift, mut rest, mut squares, .. } = self.clone();
        for row in rows {
            for i in 0..LANES {
                let d = (row[i] - first[i]) - shift[i];
                let d = if d.is_nan() { 0.0 } else { d };
                squares[i] += d * d;
                rest[i] += d;
            }
        }
        *self = Self { rest, squares, ..self.clone() };
    }

    fn stats(&self, lane: usize, n_rows: u64) -> ChannelStats {
        let count = self.count[lane];
        let mut stats = ChannelStats { count, missing: n_rows - count, ..ChannelStats::empty() };
        if count > 0 {
            (stats.mean, stats.mean_rest) = two_sum(self.first[lane], self.shift[lane]);
            (stats.min, stats.max) = (self.min[lane], self.max[lane]);
            // What the rounded mean leaves over is taken off again (Björck's corrected two-pass).
            let (squares, rest) = (self.squares[lane], self.rest[lane]);
            stats.m2 = (squares - rest * rest / count as f64).max(0.0);
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;
    use testkit::assert_close;

    #[test]
    fn channels_do_not_touch_each_other() {
        for channels in [1, 3, 7, 8, 9, 20] {
            let noise = testkit::sequence(5, 150 * channels);
            let value = |(i, noise): (usize, f32)| {
                if i % 13 == 4 || i / channels < i % channels {
                    f64::NAN
                } else {
                    f64::from(noise) + 1e6
                }
            };
            let values: Vec<f64> = noise.into_iter().enumerate().map(value).collect();
            let rows = Rows::of_series(channels, None, values);
            let together = of(rows.view());
            assert_eq!(together.len(), channels);
            for (channel, found) in together.iter().enumerate() {
                assert_eq!(*found, of(rows.of_channels(&[channel]).view())[0], "{channel}");
                let column: Vec<f64> = rows
                    .view()
                    .iter()
                    .map(|(_, row)| row[channel])
                    .filter(|v| !v.is_nan())
                    .collect();
                assert_eq!(found.count as usize, column.len());
                let from = |v: &f64| v - 1e6;
                let mean = column.iter().map(from).sum::<f64>() / column.len() as f64;
                let m2: f64 = column.iter().map(|v| (from(v) - mean).powi(2)).sum();
                assert_close("m2", &[found.m2], &[m2], 1e-9, 1e-9);
                assert_close("mean", &[found.mean - 1e6 + found.mean_rest], &[mean], 1e-9, 1e-9);
                let max = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                assert!((found.max - max).abs() <= 0.0);
            }
        }
    }

    #[test]
    fn a_channel_without_values_has_none() {
        let rows = Rows::of_series(2, None, vec![1.0, f64::NAN, 3.0, f64::NAN]);
        let found = of(rows.view());
        assert_eq!((found[0].count, found[1].count, found[1].missing), (2, 0, 2));
        assert_eq!(found[1], ChannelStats { missing: 2, ..ChannelStats::empty() });
    }
}
