//! Filters of second-order sections as steps: as rows come, or forwards and backwards.

use super::{Sos, SosFilter};
use crate::{Latency, Rows, RowsRef, Stage, Step};

/// A filter at work.
pub(crate) struct Filtering {
    how: How,
    channels: usize,
    rate_hz: Option<f64>,
}

enum How {
    Causal(SosFilter),
    /// With the whole series so far.
    ZeroPhase(Sos, Rows),
}

impl Filtering {
    pub(crate) fn boxed(sos: Sos, zero_phase: bool, input: &Stage) -> Box<dyn Step> {
        let channels = input.channels();
        let how = if zero_phase {
            How::ZeroPhase(sos, Rows::new(channels))
        } else {
            How::Causal(SosFilter::new(&sos, channels))
        };
        Box::new(Self { how, channels, rate_hz: input.rate_hz })
    }
}

impl Step for Filtering {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        match &mut self.how {
            How::Causal(filter) => {
                filter.run(out.extend_copied(rows));
            }
            How::ZeroPhase(_, held) => held.extend(rows),
        }
    }

    fn finish(&mut self, out: &mut Rows) {
        if let How::ZeroPhase(sos, held) = &mut self.how {
            sos.zero_phase(self.channels, held.values_mut());
            out.extend(held.view());
        }
        self.reset();
    }

    fn reset(&mut self) {
        match &mut self.how {
            How::Causal(filter) => filter.reset(),
            How::ZeroPhase(_, held) => held.clear(),
        }
    }

    fn latency(&self) -> Latency {
        match self.how {
            How::Causal(_) => Latency::Rows(0),
            How::ZeroPhase(..) => Latency::WholeSeries,
        }
    }

    fn out_channels(&self) -> usize {
        self.channels
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}
