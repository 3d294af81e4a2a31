//! Normalization of one window by its own values.

use serde::{Deserialize, Serialize};

use crate::spec::Plain;
use crate::stats::{extent, mean_and_std, scale_or_one};
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// How [`WindowNormalize`] treats each channel of one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowMethod {
    /// `(x − mean)/std` of the window, the standard deviation over `n`.
    #[default]
    ZScore,
    /// `x − mean` of the window.
    Center,
    /// `(x − min)/(max − min)` of the window, so 0 to 1.
    MinMax,
}

/// Normalizes each channel of each window by the window's own values; a constant channel becomes 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowNormalize {
    /// How.
    #[serde(default)]
    pub method: WindowMethod,
}

impl Plain for WindowNormalize {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let held = Rows::new(input.channels());
        Box::new(OneWindow { method: self.method, held, rate_hz: input.rate_hz })
    }
}

/// A window as a series of its own.
struct OneWindow {
    method: WindowMethod,
    held: Rows,
    rate_hz: Option<f64>,
}

impl Step for OneWindow {
    fn push(&mut self, rows: RowsRef<'_>, _out: &mut Rows) {
        self.held.extend(rows);
    }

    fn finish(&mut self, out: &mut Rows) {
        let channels = self.held.channels();
        normalize(self.held.values_mut(), channels, self.method, |_, _, _| {});
        out.extend(self.held.view());
        self.held.clear();
    }

    fn reset(&mut self) {
        self.held.clear();
    }

    fn latency(&self) -> Latency {
        Latency::WholeSeries
    }

    fn out_channels(&self) -> usize {
        self.held.channels()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

/// Normalizes each channel of a `[n_rows, channels]` window in place, and says what center was taken
/// off each channel and what it was divided by.
///
/// Missing values are left out of the statistics and stay missing; a constant channel becomes 0.
pub(crate) fn normalize(
    window: &mut [f64],
    channels: usize,
    method: WindowMethod,
    mut removed: impl FnMut(usize, f64, f64),
) {
    for channel in 0..channels.min(window.len()) {
        let (center, spread) = match method {
            WindowMethod::ZScore => mean_and_std(window, channels, channel),
            WindowMethod::Center => (mean_and_std(window, channels, channel).0, 1.0),
            WindowMethod::MinMax => {
                let (min, max) = extent(window, channels, channel);
                (min, max - min)
            }
        };
        // Where all values are equal, center is that value and anything may divide the zero.
        let scale = scale_or_one(spread);
        for v in window.iter_mut().skip(channel).step_by(channels) {
            *v = (*v - center) / scale;
        }
        removed(channel, center, scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(method: WindowMethod, window: &[f64]) -> Vec<f64> {
        let mut window = window.to_vec();
        normalize(&mut window, 2, method, |_, _, _| {});
        window
    }

    #[test]
    fn each_channel_by_its_own_values() {
        let window = [1.0, 5.0, f64::NAN, 5.0, 3.0, 5.0];
        let z = normal(WindowMethod::ZScore, &window);
        assert!(z[2].is_nan());
        testkit::assert_same_bits(
            "z",
            &[z[0], z[1], z[3], z[4], z[5]],
            &[-1.0, 0.0, 0.0, 1.0, 0.0],
        );
        let m = normal(WindowMethod::MinMax, &window);
        testkit::assert_same_bits("min-max", &[m[0], m[1], m[4]], &[0.0, 0.0, 1.0]);
        let c = normal(WindowMethod::Center, &window);
        testkit::assert_same_bits("center", &[c[0], c[1], c[4]], &[-1.0, 0.0, 1.0]);
    }

    #[test]
    fn what_was_removed_is_told() {
        let mut told = Vec::new();
        let mut window = [1.0, 5.0, 3.0, 5.0];
        normalize(&mut window, 2, WindowMethod::ZScore, |c, center, scale| {
            told.push((c, center, scale));
        });
        assert_eq!(told, [(0, 2.0, 1.0), (1, 5.0, 1.0)]);
    }
}
