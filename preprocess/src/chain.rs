//! Steps one after the other: the loop that batch and stream share.

use crate::{Latency, Rows, RowsRef, Step};

/// Steps at work, each on what the one before it hands on.
pub(crate) struct Chain {
    links: Vec<Link>,
}

struct Link {
    step: Box<dyn Step>,
    /// What it handed on, for the next one.
    out: Rows,
}

impl Chain {
    pub(crate) fn new(steps: impl Iterator<Item = Box<dyn Step>>) -> Self {
        let link = |step: Box<dyn Step>| Link { out: Rows::new(step.out_channels()), step };
        Self { links: steps.map(link).collect() }
    }

    /// Sends rows through all steps.
    pub(crate) fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        Self::send(&mut self.links, rows, out);
    }

    /// Ends the series, step by step.
    pub(crate) fn finish(&mut self, out: &mut Rows) {
        let mut links = &mut self.links[..];
        while let [link, rest @ ..] = links {
            link.out.clear();
            link.step.finish(&mut link.out);
            Self::send(rest, link.out.view(), out);
            links = rest;
        }
    }

    /// Begins another series.
    pub(crate) fn reset(&mut self) {
        self.links.iter_mut().for_each(|link| link.step.reset());
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = &dyn Step> {
        self.links.iter().map(|link| &*link.step)
    }

    /// How far what comes out lies behind what goes in at `rate_hz`, in rows that go in.
    pub(crate) fn latency(&self, rate_hz: Option<f64>) -> Latency {
        let (mut held, mut rows_of_one) = (0.0, 1.0);
        let mut rate_hz = rate_hz;
        for step in self.steps() {
            let Latency::Rows(rows) = step.latency() else { return Latency::WholeSeries };
            held += rows as f64 * rows_of_one;
            if let (Some(before), Some(after)) = (rate_hz, step.out_rate_hz()) {
                rows_of_one *= before / after;
            }
            rate_hz = step.out_rate_hz();
        }
        Latency::Rows(held.ceil() as usize)
    }

    fn send(links: &mut [Link], rows: RowsRef<'_>, out: &mut Rows) {
        match links {
            [] => out.extend(rows),
            [last] => last.step.push(rows, out),
            [first, rest @ ..] => {
                first.out.clear();
                first.step.push(rows, &mut first.out);
                Self::send(rest, first.out.view(), out);
            }
        }
    }
}
