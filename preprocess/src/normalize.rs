//! Normalization of one window by its own values.

use crate::WindowMethod;
use crate::stats::{extent, mean_and_std};

/// Normalizes each channel of a `[n_rows, channels]` window in place.
///
/// Missing values are left out of the statistics and stay missing; a constant channel becomes 0.
pub(crate) fn normalize(window: &mut [f32], channels: usize, method: WindowMethod) {
    for channel in 0..channels.min(window.len()) {
        let column = window.iter().skip(channel).step_by(channels).copied();
        let (center, spread) = match method {
            WindowMethod::ZScore => mean_and_std(column),
            WindowMethod::Center => (mean_and_std(column).0, 1.0),
            WindowMethod::MinMax => {
                let (min, max) = extent(column);
                (f64::from(min), f64::from(max) - f64::from(min))
            }
        };
        // Where all values are equal, center is that value and anything may divide the zero.
        let scale = if spread > 0.0 { spread } else { 1.0 };
        for v in window.iter_mut().skip(channel).step_by(channels) {
            let normal = (f64::from(*v) - center) / scale;
            *v = normal.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    fn normal(mut window: Vec<f32>, channels: usize, method: WindowMethod) -> Vec<f32> {
        normalize(&mut window, channels, method);
        window
    }

    #[test]
    fn each_method_by_hand() {
        let window = vec![1.0, 10.0, 3.0, 30.0];
        assert_eq!(normal(window.clone(), 2, WindowMethod::ZScore), [-1.0, -1.0, 1.0, 1.0]);
        assert_eq!(normal(window.clone(), 2, WindowMethod::Center), [-1.0, -10.0, 1.0, 10.0]);
        assert_eq!(normal(window, 2, WindowMethod::MinMax), [0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn a_constant_channel_becomes_zero() {
        for method in [WindowMethod::ZScore, WindowMethod::Center, WindowMethod::MinMax] {
            assert_eq!(normal(vec![0.1; 7], 1, method), [0.0; 7], "{method:?}");
        }
    }

    #[test]
    fn missing_values_stay_missing_and_do_not_count() {
        let window = normal(vec![1.0, f32::NAN, 3.0], 1, WindowMethod::ZScore);
        assert_eq!([window[0], window[2]], [-1.0, 1.0]);
        assert!(window[1].is_nan());
        assert!(normal(vec![f32::NAN; 2], 1, WindowMethod::MinMax).iter().all(|v| v.is_nan()));
        assert!(normal(vec![], 3, WindowMethod::ZScore).is_empty());
    }
}
