//! Lines through values: what every scaling is, and how it runs and is undone.

use crate::dispatch::vectorized;
use crate::{Latency, Rows, RowsRef, Stage, Step};

/// The map `low + span·(x − center)/scale` of one channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) center: f64,
    pub(crate) scale: f64,
    pub(crate) span: f64,
    pub(crate) low: f64,
}

impl Line {
    /// `(x − center)/scale` for each pair.
    pub(crate) fn plain(centers: &[f64], scales: &[f64]) -> Vec<Self> {
        let pairs = centers.iter().zip(scales);
        pairs.map(|(&center, &scale)| Self { center, scale, span: 1.0, low: 0.0 }).collect()
    }

    /// The map of one value.
    pub(crate) fn forward(self, x: f64) -> f64 {
        self.map().run(x)
    }

    /// Ready to run: dividing takes eight times as long as multiplying. A scale that has no reciprocal is
    /// taken for the largest.
    fn map(self) -> Map {
        let factor = (1.0 / self.scale).clamp(-f64::MAX, f64::MAX);
        Map { center: self.center, factor, span: self.span, low: self.low }
    }

    /// Undoes [`forward`](Self::forward), up to rounding.
    pub(crate) fn inverse(self, y: f64) -> f64 {
        (y - self.low) / self.span * self.scale + self.center
    }
}

/// A line at work: `low + span·(x − center)·factor`.
#[derive(Debug, Clone, Copy)]
struct Map {
    center: f64,
    factor: f64,
    span: f64,
    low: f64,
}

impl Map {
    /// A NaN stays NaN.
    #[inline]
    fn run(self, x: f64) -> f64 {
        (x - self.center) * self.factor * self.span + self.low
    }
}

/// How a value goes back to what it was before a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Back {
    /// Along a line.
    Line(Line),
    /// `sign(y)·(exp(|y|) − 1)`.
    Expm1,
}

impl Back {
    /// The value stays.
    pub(crate) const SAME: Self = Self::Line(Line { center: 0.0, scale: 1.0, span: 1.0, low: 0.0 });

    pub(crate) fn value(self, y: f64) -> f64 {
        match self {
            Self::Line(line) => line.inverse(y),
            Self::Expm1 => y.abs().exp_m1().copysign(y),
        }
    }
}

/// What undoes a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Undo {
    /// Nothing has to: values are in the units they came in, as after smoothing.
    Nothing,
    /// A map for each channel.
    Values(Vec<Back>),
    /// Nothing can.
    Impossible,
}

/// Channels whose lines lie side by side, one register wide where registers are wide.
const LANES: usize = 8;

/// Rows that are scaled at once, so that what is written to stays in the nearest cache.
const PIECE: usize = 128;

/// A scaling at work: every value is mapped by its channel's line.
pub(crate) struct Scaling {
    maps: Vec<Map>,
    /// The same where eight values in a row always have the same eight channels.
    eight: Option<Eight>,
    rate_hz: Option<f64>,
}

/// The lines of eight values that lie side by side.
struct Eight {
    center: [f64; LANES],
    factor: [f64; LANES],
    /// `span` and `low`, where they change anything.
    rest: Option<([f64; LANES], [f64; LANES])>,
}

impl Eight {
    /// Of channels of which a whole number makes eight.
    fn new(lines: &[Line]) -> Option<Self> {
        if lines.is_empty() || !LANES.is_multiple_of(lines.len()) {
            return None;
        }
        let of = |f: fn(&Line) -> f64| std::array::from_fn(|i| f(&lines[i % lines.len()]));
        // 0 is added, as that makes 0 of −0; 1 is no factor.
        let is_plain = lines.iter().all(|line| line.span.to_bits() == 1.0_f64.to_bits());
        let is_plain = is_plain && lines.iter().all(|line| line.low.abs() <= 0.0);
        let rest = (!is_plain).then(|| (of(|line| line.span), of(|line| line.low)));
        Some(Self { center: of(|line| line.center), factor: of(|line| line.map().factor), rest })
    }

    /// Maps every eight values, and those that are left.
    fn run(&self, values: &mut [f64]) {
        let Self { center, factor, rest } = self;
        let (eights, others) = values.as_chunks_mut::<LANES>();
        vectorized(
            #[inline(always)]
            || match rest {
                None => {
                    for x in eights {
                        for i in 0..LANES {
                            x[i] = (x[i] - center[i]) * factor[i] + 0.0;
                        }
                    }
                    for (i, x) in others.iter_mut().enumerate() {
                        *x = (*x - center[i]) * factor[i] + 0.0;
                    }
                }
                Some((span, low)) => {
                    for x in eights {
                        for i in 0..LANES {
                            x[i] = (x[i] - center[i]) * factor[i] * span[i] + low[i];
                        }
                    }
                    for (i, x) in others.iter_mut().enumerate() {
                        *x = (*x - center[i]) * factor[i] * span[i] + low[i];
                    }
                }
            },
        );
    }
}

impl Scaling {
    pub(crate) fn boxed(lines: &[Line], input: &Stage) -> Box<dyn Step> {
        let maps = lines.iter().map(|line| line.map()).collect();
        Box::new(Self { eight: Eight::new(lines), maps, rate_hz: input.rate_hz })
    }
}

impl Step for Scaling {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        if let Some(eight) = &self.eight {
            for start in (0..rows.len()).step_by(PIECE) {
                let piece = rows.slice(start..rows.len().min(start + PIECE));
                eight.run(out.extend_copied(piece));
            }
            return;
        }
        let scaled = out.extend_zeroed(rows.times());
        let channels = self.maps.len();
        let rows = rows.values().chunks_exact(channels);
        vectorized(
            #[inline(always)]
            || {
                for (to, from) in scaled.chunks_exact_mut(channels).zip(rows) {
                    for ((to, &from), map) in to.iter_mut().zip(from).zip(&self.maps) {
                        *to = map.run(from);
                    }
                }
            },
        );
    }

    fn finish(&mut self, _out: &mut Rows) {}

    fn reset(&mut self) {}

    fn latency(&self) -> Latency {
        Latency::Rows(0)
    }

    fn out_channels(&self) -> usize {
        self.maps.len()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::assert_same_bits;

    #[test]
    fn eight_side_by_side_are_what_each_is_alone() {
        for channels in [1, 2, 3, 4, 5, 8, 9] {
            for (span, low) in [(1.0, 0.0), (2.0, -1.0)] {
                let line = |i: usize| Line {
                    center: i as f64 * 1.5,
                    scale: 1.0 / (i + 1) as f64,
                    span,
                    low,
                };
                let lines: Vec<Line> = (0..channels).map(line).collect();
                let mut values: Vec<f64> =
                    testkit::sequence(3, 13 * channels).into_iter().map(f64::from).collect();
                (values[0], values[channels]) = (0.0, f64::NAN);
                let expected: Vec<f64> = values
                    .iter()
                    .zip(lines.iter().cycle())
                    .map(|(v, line)| line.forward(*v))
                    .collect();
                let rows = Rows::of_series(channels, None, values);
                let mut out = Rows::new(channels);
                let mut step = Scaling::boxed(&lines, &Stage::unnamed(channels));
                step.push(rows.view().slice(0..6), &mut out);
                step.push(rows.view().slice(6..13), &mut out);
                assert_same_bits("scaled", out.values(), &expected);
            }
        }
    }
}
