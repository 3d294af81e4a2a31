//! A filter forwards and backwards, so that nothing is delayed.

use super::{Sos, SosFilter};

impl Sos {
    /// Filters a whole series `[n_rows, channels]` forwards and then backwards in place: no delay, twice
    /// the attenuation; as `scipy.signal.sosfiltfilt`.
    ///
    /// Each end is first continued by its own values turned about the end point (odd padding), by as
    /// many as scipy does, or by all there are in a shorter series, which scipy refuses. A
    /// missing value stays missing, and its channel is filtered as if it had not been there.
    ///
    /// # Panics
    /// If there are no channels, or the values are no whole number of rows.
    pub fn zero_phase(&self, channels: usize, values: &mut [f64]) {
        let mut filter = SosFilter::new(self, channels);
        let edge = self.edge();
        let mut padded = vec![f64::NAN; 2 * edge * channels + values.len()];
        let middle = edge * channels..edge * channels + values.len();
        padded[middle.clone()].copy_from_slice(values);
        for channel in 0..channels {
            let present = || {
                let column = values.iter().skip(channel).step_by(channels).copied();
                column.filter(|v| !v.is_nan())
            };
            let to = padded[..middle.start].iter_mut().skip(channel).step_by(channels).rev();
            turned(present(), to);
            let to = padded[middle.end..].iter_mut().skip(channel).step_by(channels);
            turned(present().rev(), to);
        }
        filter.run(&mut padded);
        reverse_rows(&mut padded, channels);
        filter.reset();
        filter.run(&mut padded);
        reverse_rows(&mut padded, channels);
        values.copy_from_slice(&padded[middle]);
    }

    /// Rows that are added at each end: three times the filter's taps.
    fn edge(&self) -> usize {
        let count = |is_short: fn(&super::Section) -> bool| {
            self.sections().iter().filter(|section| is_short(section)).count()
        };
        let short = count(|section| section.b[2] == 0.0).min(count(|section| section.a[1] == 0.0));
        3 * (2 * self.sections().len() + 1 - short)
    }
}

/// Continues values beyond the first one: `2·first − next`, going away from it.
fn turned<'a>(mut present: impl Iterator<Item = f64>, to: impl Iterator<Item = &'a mut f64>) {
    let Some(first) = present.next() else { return };
    to.zip(present).for_each(|(to, next)| *to = 2.0 * first - next);
}

fn reverse_rows(values: &mut [f64], channels: usize) {
    let n_rows = values.len() / channels;
    for row in 0..n_rows / 2 {
        let (front, back) = values.split_at_mut((n_rows - 1 - row) * channels);
        front[row * channels..][..channels].swap_with_slice(&mut back[..channels]);
    }
}
