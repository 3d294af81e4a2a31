//! Steps that map every value by itself.

use crate::dispatch::vectorized;
use crate::{Latency, Rows, RowsRef, Stage, Step};

/// A map of single values at work: of channel `c`, `map(c, x)`.
pub(crate) struct EachValue<F> {
    map: F,
    channels: usize,
    rate_hz: Option<f64>,
}

impl<F: Fn(usize, f64) -> f64 + Send + 'static> EachValue<F> {
    pub(crate) fn boxed(map: F, input: &Stage) -> Box<dyn Step> {
        Box::new(Self { map, channels: input.channels(), rate_hz: input.rate_hz })
    }
}

impl<F: Fn(usize, f64) -> f64 + Send> Step for EachValue<F> {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        let mapped = out.extend_zeroed(rows.times());
        let rows = rows.values().chunks_exact(self.channels);
        vectorized(
            #[inline(always)]
            || {
                for (to, from) in mapped.chunks_exact_mut(self.channels).zip(rows) {
                    for (channel, (to, &from)) in to.iter_mut().zip(from).enumerate() {
                        *to = (self.map)(channel, from);
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
        self.channels
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}
