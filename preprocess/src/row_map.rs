//! Steps that make each row of one row, and remember nothing.

use crate::{Latency, Rows, RowsRef, Stage, Step};

/// A function from the values of a row to those of another, at work.
pub(crate) struct RowMap<F> {
    map: F,
    channels: usize,
    rate_hz: Option<f64>,
}

impl<F: FnMut(&[f64], &mut [f64]) + Send + 'static> RowMap<F> {
    /// `map` gets a row, and fills one of so many channels, which holds zeros.
    pub(crate) fn boxed(input: &Stage, channels: usize, map: F) -> Box<dyn Step> {
        Box::new(Self { map, channels, rate_hz: input.rate_hz })
    }
}

impl<F: FnMut(&[f64], &mut [f64]) + Send> Step for RowMap<F> {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        let made = out.extend_zeroed(rows.times());
        for (to, (_, row)) in made.chunks_exact_mut(self.channels).zip(rows.iter()) {
            (self.map)(row, to);
        }
    }

    fn finish(&mut self, _out: &mut Rows) {}

    fn reset(&mut self) {}

    fn latency(&self) -> Latency {
        Latency::Rows(0)
    }

    fn out_channels(&self) -> usize {
        self.channels
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}
