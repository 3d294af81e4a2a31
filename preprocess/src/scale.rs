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

    /// A NaN stays NaN.
    #[inline]
    pub(crate) fn forward(self, x: f64) -> f64 {
        (x - self.center) / self.scale * self.span + self.low
    }

    /// Undoes [`forward`](Self::forward), up to rounding.
    pub(crate) fn inverse(self, y: f64) -> f64 {
        (y - self.low) / self.span * self.scale + self.center
    }
}

/// A scaling at work: every value is mapped by its channel's line.
pub(crate) struct Scaling {
    lines: Vec<Line>,
    rate_hz: Option<f64>,
}

impl Scaling {
    pub(crate) fn boxed(lines: Vec<Line>, input: &Stage) -> Box<dyn Step> {
        Box::new(Self { lines, rate_hz: input.rate_hz })
    }
}

impl Step for Scaling {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        let scaled = out.extend_zeroed(rows.times());
        let channels = self.lines.len();
        let rows = rows.values().chunks_exact(channels);
        vectorized(
            #[inline(always)]
            || {
                for (to, from) in scaled.chunks_exact_mut(channels).zip(rows) {
                    for ((to, &from), line) in to.iter_mut().zip(from).zip(&self.lines) {
                        *to = line.forward(from);
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
        self.lines.len()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}
