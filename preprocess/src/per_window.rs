//! The window steps of a pipeline over one window, and the line back.

use crate::Pipeline;
use crate::steps::{FittedKind, normalize};

/// The line back from a normalized window: `x = center + scale·y` for each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowScale {
    /// What 0 stands for.
    pub center: Vec<f64>,
    /// What 1 is more than that.
    pub scale: Vec<f64>,
}

impl Pipeline {
    /// Runs the window steps over one window `[n_rows, channels]` in place; it was cut from a
    /// series after [`apply`](Self::apply).
    ///
    /// # Panics
    /// If the window holds no whole number of rows.
    pub fn apply_window(&self, window: &mut [f64]) {
        self.normalize_window(window, |_, _, _| {});
    }

    /// [`apply_window`](Self::apply_window), and the line back to what the window held before:
    /// `x = center + scale·y` for each channel, as a forecast needs it.
    ///
    /// # Panics
    /// If the window holds no whole number of rows.
    pub fn apply_window_keeping(&self, window: &mut [f64]) -> WindowScale {
        let channels = self.output().channels();
        let mut kept = WindowScale { center: vec![0.0; channels], scale: vec![1.0; channels] };
        self.normalize_window(window, |channel, center, scale| {
            kept.center[channel] += center * kept.scale[channel];
            kept.scale[channel] *= scale;
        });
        kept
    }

    fn normalize_window(&self, window: &mut [f64], mut removed: impl FnMut(usize, f64, f64)) {
        let channels = self.output().channels();
        assert!(
            window.len().is_multiple_of(channels),
            "{} values, {channels} channels",
            window.len()
        );
        for step in self.steps() {
            let FittedKind::WindowNormalize(spec) = &step.kind else { continue };
            match &step.channels {
                None => normalize(window, channels, spec.method, &mut removed),
                Some(places) => {
                    for &place in places {
                        let column = window.iter().skip(place).step_by(channels);
                        let mut column: Vec<f64> = column.copied().collect();
                        normalize(&mut column, 1, spec.method, |_, c, s| removed(place, c, s));
                        let to = window.iter_mut().skip(place).step_by(channels);
                        to.zip(column).for_each(|(to, v)| *to = v);
                    }
                }
            }
        }
    }
}
