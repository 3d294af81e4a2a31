//! A picture of data: signals raw and cleaned, their spectra, and the balance of the classes.

mod spectrum;

use anyhow::{Context, anyhow};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, WHITE};

use spectrum::spectrum;

use crate::data::Understood;
use crate::output::shown;
use crate::plot::{Bars, Curve, Draw, Panel};

/// Most channels that are shown.
pub(super) const MOST_CHANNELS: usize = 6;

/// Most rows that are shown.
pub(super) const MOST_ROWS: usize = 2000;

/// Most classes that are shown.
const MOST_CLASSES: usize = 12;

/// Width of a panel, height of one, and of the line of a class, in pixels.
const SIZE: (u32, u32, u32) = (420, 170, 22);

/// Rows of one series, before or after the steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Signal {
    /// Names of the channels.
    pub(super) names: Vec<String>,
    /// The values of each.
    pub(super) channels: Vec<Vec<f64>>,
    /// Rows a second, where that is known.
    pub(super) rate_hz: Option<f64>,
}

impl Signal {
    /// The first rows and channels of `[rows, channels]`.
    pub(super) fn of(names: &[String], values: &[f64], rate_hz: Option<f64>) -> Self {
        let n = names.len();
        let n_rows = (values.len() / n.max(1)).min(MOST_ROWS);
        let column = |channel: usize| (0..n_rows).map(|row| values[row * n + channel]).collect();
        let kept = n.min(MOST_CHANNELS);
        Self { names: names[..kept].to_vec(), channels: (0..kept).map(column).collect(), rate_hz }
    }

    /// A channel as a curve over seconds, or rows where no rate is known.
    fn curve(&self, channel: usize) -> Option<Curve> {
        let values = self.channels.get(channel)?;
        let step = self.rate_hz.map_or(1.0, |rate| 1.0 / rate);
        Some(values.iter().enumerate().map(|(row, value)| (row as f64 * step, *value)).collect())
    }

    fn spectrum(&self, channel: usize) -> Option<Curve> {
        Some(spectrum(self.channels.get(channel)?, self.rate_hz.unwrap_or(1.0)))
    }
}

/// A picture of a data set: a line of panels for each channel of its first series, with the signal as it is,
/// after the steps if there are some, and the spectra of both; below, the classes with their rows.
pub(super) struct Picture<'a> {
    pub(super) data: &'a Understood,
    pub(super) raw: &'a Signal,
    pub(super) clean: Option<&'a Signal>,
}

impl Picture<'_> {
    fn n_lines(&self) -> usize {
        let of_clean = self.clean.map_or(0, |clean| clean.channels.len());
        self.raw.channels.len().max(of_clean)
    }

    fn n_panels(&self) -> u32 {
        if self.clean.is_some() { 3 } else { 2 }
    }
}

impl Draw for Picture<'_> {
    fn size(&self) -> (u32, u32) {
        let n_classes = self.data.classes.len().min(MOST_CLASSES) as u32;
        let bars = if n_classes > 0 { 50 + SIZE.2 * n_classes } else { 0 };
        (SIZE.0 * self.n_panels(), (SIZE.1 * self.n_lines() as u32 + bars).max(60))
    }

    fn draw<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> anyhow::Result<()> {
        root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        let (n_lines, n_panels) = (self.n_lines(), self.n_panels() as usize);
        let (lines, below) = root.split_vertically(SIZE.1 * n_lines as u32);
        if n_lines > 0 {
            let panels = lines.split_evenly((n_lines, n_panels));
            for (channel, panels) in panels.chunks(n_panels).enumerate() {
                line(panels, channel, self.raw, self.clean)
                    .with_context(|| format!("channel {channel}"))?;
            }
        }
        let n = self.data.classes.len();
        if n > 0 {
            let classes = self.data.classes.iter().take(MOST_CLASSES);
            let bars = classes.map(|class| (shown(&class.name).into_owned(), class.rows));
            let more = if n > MOST_CLASSES { format!(", the first of {n}") } else { String::new() };
            let title = format!("rows of each class{more}");
            Bars { title, bars: bars.collect() }.draw(&below)?;
        }
        root.present().map_err(|error| anyhow!("{error}"))
    }
}

/// The panels of a channel.
fn line<B: DrawingBackend>(
    panels: &[DrawingArea<B, Shift>],
    channel: usize,
    raw: &Signal,
    clean: Option<&Signal>,
) -> anyhow::Result<()> {
    let name = |signal: &Signal| signal.names.get(channel).map(|name| shown(name).into_owned());
    let unit = |signal: &Signal| if signal.rate_hz.is_some() { "seconds" } else { "rows" };
    let hertz = if raw.rate_hz.is_some() { "Hz" } else { "a row" };
    let signal = |signal: &Signal, what: &str| {
        let (name, curve) = (name(signal)?, signal.curve(channel)?);
        Some(Panel {
            title: format!("{name}, {what}"),
            x: unit(signal).to_owned(),
            curves: vec![(what.to_owned(), curve)],
        })
    };
    let spectra = [("raw", Some(raw)), ("cleaned", clean)];
    let curves = spectra
        .into_iter()
        .filter_map(|(what, signal)| Some((what.to_owned(), signal?.spectrum(channel)?)));
    let of_spectra = Panel {
        title: format!(
            "{}, spectrum in dB",
            name(raw).or(clean.and_then(name)).unwrap_or_default()
        ),
        x: hertz.to_owned(),
        curves: curves.collect(),
    };
    let cleaned = clean.map(|clean| signal(clean, "cleaned"));
    let all = std::iter::once(signal(raw, "raw")).chain(cleaned).chain([Some(of_spectra)]);
    panels.iter().zip(all).try_for_each(|(area, panel)| match panel {
        Some(panel) => panel.draw(area),
        None => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_the_first_rows_and_channels() {
        let names: Vec<String> = (0..8).map(|i| format!("c{i}")).collect();
        let values: Vec<f64> = (0..8 * 2500).map(f64::from).collect();
        let signal = Signal::of(&names, &values, Some(2.0));
        assert_eq!((signal.names.len(), signal.channels.len()), (6, 6));
        assert_eq!(
            (signal.channels[5].len(), signal.channels[5][1].to_bits()),
            (2000, 13f64.to_bits())
        );
        let curve = signal.curve(0).unwrap();
        assert_eq!((curve[3].0.to_bits(), signal.curve(6)), (1.5f64.to_bits(), None));
        assert_eq!(Signal::of(&[], &[], None), Signal::default());
    }
}
