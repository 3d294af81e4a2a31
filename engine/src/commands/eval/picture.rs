//! A picture of answers: curves of windows, and behind them what their answers are owed to.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::{DrawingArea, DrawingBackend, RGBColor, WHITE};
use plotters::style::Color;

use super::choose::MOST_WINDOWS;
use crate::explain::Explained;
use crate::output::shown;
use crate::plot::{COLOURS, Draw, FONT, short};

/// Most channels that are shown.
const MOST_CHANNELS: usize = 6;

/// Width of a window with its names, of the names, and of the room at its right.
const WIDTH: (i32, i32, i32) = (410, 80, 14);

/// Height of the lines above all, of those above a window, of the attention, and of the line below.
const HEIGHT: (i32, i32, i32, i32) = (44, 36, 28, 30);

/// Height of a line of text, and the width of a letter.
const LETTER: (i32, i32) = (13, 6);

/// Frames, curves and attention.
const GREYS: [RGBColor; 3] =
    [RGBColor(210, 210, 210), RGBColor(30, 30, 30), RGBColor(120, 120, 120)];

/// A window with its answer.
pub(super) struct Card {
    /// Its class, and the answer with its probability.
    pub(super) title: String,
    /// Where it is.
    pub(super) place: String,
    pub(super) explained: Explained,
}

/// Windows of classes.
pub(super) struct Picture {
    /// Names of all channels.
    channels: Vec<String>,
    /// Those that are shown.
    shown: Vec<usize>,
    /// A line of windows for each class.
    lines: Vec<Vec<Card>>,
    /// What is not shown.
    note: String,
}

impl Picture {
    /// A picture of windows with these channels, at most six of them: those that answers are owed to most.
    pub(super) fn new(channels: &[String], lines: Vec<Vec<Card>>, mut note: String) -> Self {
        let n = channels.len();
        let mut sums = vec![0.0; n];
        for card in lines.iter().flatten() {
            for row in card.explained.relevance.chunks_exact(n) {
                sums.iter_mut().zip(row).for_each(|(sum, r)| *sum += f64::from(r.abs()));
            }
        }
        let mut shown: Vec<usize> = (0..n).collect();
        if n > MOST_CHANNELS {
            shown.sort_by(|a, b| sums[*b].total_cmp(&sums[*a]));
            shown.truncate(MOST_CHANNELS);
            shown.sort_unstable();
            note += &format!("; of {n} channels the {MOST_CHANNELS} that answers are owed to most");
        }
        Self { channels: channels.to_vec(), shown, lines, note }
    }

    /// Height of a channel.
    fn strip(&self) -> i32 {
        (216 / whole(self.shown.len().max(1))).clamp(60, 108)
    }

    /// Height of a window.
    fn card(&self) -> i32 {
        let (_, above, attention, below) = HEIGHT;
        above + self.strip() * whole(self.shown.len()) + attention + below
    }
}

impl Draw for Picture {
    fn size(&self) -> (u32, u32) {
        let height = HEIGHT.0 + self.card() * whole(self.lines.len());
        ((WIDTH.0 * whole(MOST_WINDOWS)).unsigned_abs(), height.unsigned_abs())
    }

    fn draw<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> anyhow::Result<()> {
        root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        let legend = "Curves: values as the model sees them. Behind them what the answer is owed to (integrated gradients): up for the answer, down against it.";
        text(root, legend, (8, 6))?;
        let note =
            format!("Bars below: how much attention reaches the step (rollout){}", self.note);
        text(root, &note, (8, 6 + LETTER.0 + 3))?;
        for (line, cards) in self.lines.iter().enumerate() {
            for (column, card) in cards.iter().enumerate() {
                let left = whole(column) * WIDTH.0;
                self.draw_card(root, card, (left, HEIGHT.0 + whole(line) * self.card()))?;
            }
        }
        root.present().map_err(|error| anyhow!("{error}"))
    }
}

impl Picture {
    fn draw_card<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        card: &Card,
        (left, top): (i32, i32),
    ) -> anyhow::Result<()> {
        let Explained { values, relevance, attention } = &card.explained;
        let (n, steps) = (self.channels.len(), attention.len());
        text(root, &fitting(&card.title, WIDTH.0 - 16), (left + 8, top))?;
        text(root, &fitting(&card.place, WIDTH.0 - 16), (left + 8, top + LETTER.0 + 2))?;
        let frame = Frame {
            left: left + WIDTH.1,
            width: WIDTH.0 - WIDTH.1 - WIDTH.2,
            top: top + HEIGHT.1,
            height: self.strip() - 6,
        };
        let n_bins = steps.min(frame.width.unsigned_abs() as usize);
        let of_channel = |all: &[f32], channel: usize| -> Vec<f32> {
            all.iter().skip(channel).step_by(n).copied().collect()
        };
        let owed: Vec<Vec<f32>> =
            self.shown.iter().map(|c| summed(&of_channel(relevance, *c), n_bins)).collect();
        let most = largest(owed.iter().flatten());
        let mut at = frame;
        for (&channel, owed) in self.shown.iter().zip(&owed) {
            at.bars(root, owed, most, true)?;
            let values = of_channel(values, channel);
            at.curve(root, &values)?;
            let name = fitting(&shown(&self.channels[channel]), WIDTH.1 - 12);
            let range = range(&values);
            let middle = at.top + at.height / 2 - LETTER.0 / 2;
            text(root, &short(range.1.into()), (left + 8, at.top - 2))?;
            text(root, &name, (left + 8, middle))?;
            text(root, &short(range.0.into()), (left + 8, at.top + at.height - LETTER.0 + 1))?;
            at.top += self.strip();
        }
        at.height = HEIGHT.2 - 6;
        let attention = summed(attention, n_bins);
        at.bars(root, &attention, largest(attention.iter()), false)?;
        text(root, "attention", (left + 8, at.top + 4))?;
        let end = format!("step {steps}");
        let right = at.left + at.width - LETTER.1 * whole(end.len());
        text(root, "1", (at.left, at.top + at.height + 2))?;
        text(root, &end, (right, at.top + at.height + 2))
    }
}

/// Where something is drawn, in pixels.
#[derive(Clone, Copy)]
struct Frame {
    left: i32,
    width: i32,
    top: i32,
    height: i32,
}

impl Frame {
    /// Bars for numbers, up to as large as `most`: from the middle up and down, or from the bottom.
    fn bars<B: DrawingBackend>(
        self,
        root: &DrawingArea<B, Shift>,
        numbers: &[f32],
        most: f32,
        from_middle: bool,
    ) -> anyhow::Result<()> {
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        let base = if from_middle { self.top + self.height / 2 } else { bottom };
        let room = f64::from(base - self.top - 1);
        let width = self.width.unsigned_abs() as usize;
        for (i, number) in numbers.iter().enumerate() {
            let edge = |i: usize| self.left + whole(i * width / numbers.len());
            let tall = (room * f64::from(number.abs() / most)).round() as i32;
            let (end, colour) = match (from_middle, *number < 0.0) {
                (true, true) => (base + tall, COLOURS[1].mix(0.45)),
                (true, false) => (base - tall, COLOURS[0].mix(0.35)),
                (false, _) => (base - tall, GREYS[2].mix(0.8)),
            };
            if tall > 0 {
                // The right edge belongs to the bar beside it.
                let corners = [(edge(i), base), ((edge(i + 1) - 1).max(edge(i)), end)];
                put(root, &Rectangle::new(corners, colour.filled()))?;
            }
        }
        if from_middle {
            put(root, &PathElement::new([(self.left, base), (right, base)], GREYS[0]))?;
        }
        put(root, &Rectangle::new([(self.left, self.top), (right, bottom)], GREYS[0]))
    }

    /// A curve over the whole width, from the smallest to the largest of its values.
    fn curve<B: DrawingBackend>(
        self,
        root: &DrawingArea<B, Shift>,
        values: &[f32],
    ) -> anyhow::Result<()> {
        let (low, high) = range(values);
        let spread = f64::from(high) - f64::from(low);
        let point = |(i, value): (usize, &f32)| {
            let x = (i as f64 + 0.5) / values.len() as f64 * f64::from(self.width);
            let share =
                if spread > 0.0 { (f64::from(*value) - f64::from(low)) / spread } else { 0.5 };
            let y = f64::from(self.height - 4) * (1.0 - share);
            (self.left + x.round() as i32, self.top + 2 + y.round() as i32)
        };
        let mut points: Vec<(i32, i32)> = values.iter().enumerate().map(point).collect();
        // Many steps share a column of pixels: the same place twice shows nothing.
        points.dedup();
        put(root, &PathElement::new(points, GREYS[1]))
    }
}

/// A number of pixels; pictures are far smaller than the most there are.
fn whole(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// The smallest and the largest.
fn range(values: &[f32]) -> (f32, f32) {
    let ends = (f32::INFINITY, f32::NEG_INFINITY);
    values.iter().fold(ends, |(low, high), &v| (low.min(v), high.max(v)))
}

/// The largest length, or 1 where all are zero.
fn largest<'a>(numbers: impl Iterator<Item = &'a f32>) -> f32 {
    let most = numbers.fold(0.0, |most: f32, number| most.max(number.abs()));
    if most > 0.0 { most } else { 1.0 }
}

/// Sums of as many parts of equal length, up to one.
fn summed(numbers: &[f32], n_bins: usize) -> Vec<f32> {
    let edge = |bin: usize| bin * numbers.len() / n_bins;
    (0..n_bins).map(|bin| numbers[edge(bin)..edge(bin + 1)].iter().sum()).collect()
}

/// As much of a text as fits a width.
fn fitting(text: &str, width: i32) -> String {
    let n = (width / LETTER.1).max(1).unsigned_abs() as usize;
    if text.chars().count() <= n {
        return text.to_owned();
    }
    text.chars().take(n - 1).chain(['~']).collect()
}

fn text<B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    text: &str,
    at: (i32, i32),
) -> anyhow::Result<()> {
    put(root, &Text::new(text.to_owned(), at, FONT))
}

fn put<'a, B, E>(root: &DrawingArea<B, Shift>, element: &'a E) -> anyhow::Result<()>
where
    B: DrawingBackend,
    &'a E: plotters::element::PointCollection<'a, (i32, i32)>,
    E: plotters::element::Drawable<B>,
{
    root.draw(element).map_err(|error| anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::bytes;

    fn card(steps: usize, channels: usize, factor: f32) -> Card {
        let wave: Vec<f32> =
            (0..steps * channels).map(|i| factor * (i as f32 / 5.0).sin()).collect();
        let explained =
            Explained { values: wave.clone(), relevance: wave, attention: vec![0.1; steps] };
        Card { title: "a".to_owned(), place: "b".to_owned(), explained }
    }

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("c{i}")).collect()
    }

    #[test]
    fn windows_of_any_size_are_drawn() {
        for (steps, channels) in [(1, 1), (7, 3), (3000, 8)] {
            for factor in [0.0, 1.0, 1e30] {
                let lines = vec![vec![card(steps, channels, factor)], Vec::new()];
                let picture = Picture::new(&names(channels), lines, String::new());
                let svg = bytes(&picture, false).unwrap();
                assert!(String::from_utf8(svg).unwrap().contains("step"));
                assert!(bytes(&picture, true).unwrap().starts_with(b"\x89PNG"));
            }
        }
    }

    #[test]
    fn of_many_channels_those_with_most_relevance_are_shown() {
        let mut one = card(4, 8, 0.0);
        for channel in [7, 2] {
            one.explained.relevance[channel] = -1.0;
        }
        let picture = Picture::new(&names(8), vec![vec![one]], String::new());
        assert_eq!((picture.shown.len(), picture.shown[5]), (6, 7));
        assert!(picture.shown.contains(&2) && picture.note.contains("of 8 channels"));
    }

    #[test]
    fn what_does_not_fit_is_cut_and_what_is_many_is_summed() {
        assert_eq!(
            (fitting("abcdef", 36), fitting("abcdef", 30)),
            ("abcdef".into(), "abcd~".into())
        );
        assert_eq!(summed(&[1.0, 2.0, 3.0, 4.0, 5.0], 2), [3.0, 12.0]);
        assert_eq!((range(&[2.0, -1.0]), largest([0.0].iter())), ((-1.0, 2.0), 1.0));
    }
}
