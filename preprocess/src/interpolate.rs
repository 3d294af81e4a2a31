//! Linear interpolation over the gaps of one series.

/// Fills each channel's missing values on the line between their present neighbours.
///
/// A gap at an end holds the nearest present value; a channel without any takes `fallback`.
pub(crate) fn interpolate(values: &mut [f32], fallback: &[f32]) {
    let channels = fallback.len();
    for (channel, &fallback) in fallback.iter().enumerate() {
        let at = |row: usize| row * channels + channel;
        let n_rows = values.len() / channels;
        let mut before: Option<usize> = None;
        for row in 0..n_rows {
            if values[at(row)].is_nan() {
                continue;
            }
            let gap = before.map_or(0, |b| b + 1)..row;
            let end = f64::from(values[at(row)]);
            // Before the first present value the line is flat.
            let start = before.map_or(end, |b| f64::from(values[at(b)]));
            let origin = before.unwrap_or(0);
            for missing in gap {
                let share = (missing - origin) as f64 / (row - origin) as f64;
                values[at(missing)] = (start + (end - start) * share) as f32;
            }
            before = Some(row);
        }
        let last = before.map_or(fallback, |b| values[at(b)]);
        for row in before.map_or(0, |b| b + 1)..n_rows {
            values[at(row)] = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: f32 = f32::NAN;

    fn filled(mut values: Vec<f32>) -> Vec<f32> {
        interpolate(&mut values, &[9.0]);
        values
    }

    #[test]
    fn inner_gaps_lie_on_the_line() {
        assert_eq!(filled(vec![1.0, GAP, GAP, GAP, 3.0]), [1.0, 1.5, 2.0, 2.5, 3.0]);
        assert_eq!(filled(vec![1.0, GAP, 2.0, GAP, 0.0]), [1.0, 1.5, 2.0, 1.0, 0.0]);
    }

    #[test]
    fn ends_hold_the_nearest_value() {
        assert_eq!(filled(vec![GAP, GAP, 2.0, GAP, GAP]), [2.0; 5]);
    }

    #[test]
    fn a_channel_without_values_takes_the_fallback() {
        assert_eq!(filled(vec![GAP; 3]), [9.0; 3]);
        assert_eq!(filled(vec![]), [0.0; 0]);
    }

    #[test]
    fn channels_do_not_mix() {
        let mut values = vec![0.0, 5.0, GAP, GAP, 4.0, GAP];
        interpolate(&mut values, &[9.0, 9.0]);
        assert_eq!(values, [0.0, 5.0, 2.0, 5.0, 4.0, 5.0]);
    }

    #[test]
    fn opposite_extremes_do_not_overflow() {
        assert_eq!(filled(vec![f32::MIN, GAP, f32::MAX]), [f32::MIN, 0.0, f32::MAX]);
    }
}
