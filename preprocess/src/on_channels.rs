//! A step on some of the channels: the others pass by, and wait for it.

use crate::{Latency, Rows, RowsRef, Step};

/// Runs a step that hands on one row for each on some channels of its rows.
pub(crate) struct OnChannels {
    inner: Box<dyn Step>,
    /// The channels that the step gets.
    on: Vec<usize>,
    /// Where each channel that goes out comes from.
    sources: Vec<Source>,
    /// Rows whose part of the step has not come out yet, after `passed` that have.
    held: Rows,
    passed: usize,
    /// What the step gets, and what it made of it.
    given: Rows,
    made: Rows,
    row: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Source {
    Passes(usize),
    Made(usize),
}

impl OnChannels {
    pub(crate) fn new(inner: Box<dyn Step>, on: &[usize], channels: usize) -> Self {
        let n_made = inner.out_channels();
        let sources = if n_made == on.len() {
            let source = |channel| match on.iter().position(|&place| place == channel) {
                Some(at) => Source::Made(at),
                None => Source::Passes(channel),
            };
            (0..channels).map(source).collect()
        } else {
            let passing = (0..channels).filter(|channel| !on.contains(channel)).map(Source::Passes);
            passing.chain((0..n_made).map(Source::Made)).collect()
        };
        Self {
            on: on.to_vec(),
            sources,
            held: Rows::new(channels),
            passed: 0,
            given: Rows::new(on.len()),
            made: Rows::new(n_made),
            row: Vec::new(),
            inner,
        }
    }

    /// Puts what the step made beside what has waited for it.
    fn join(&mut self, out: &mut Rows) {
        for (time, made) in self.made.view().iter() {
            let held = self.held.view().row(self.passed);
            self.row.clear();
            self.row.extend(self.sources.iter().map(|source| match *source {
                Source::Passes(channel) => held[channel],
                Source::Made(at) => made[at],
            }));
            out.push(time, &self.row);
            self.passed += 1;
        }
        self.made.clear();
        self.held.remove_first(self.passed);
        self.passed = 0;
    }
}

impl Step for OnChannels {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        self.held.extend(rows);
        self.given.clear();
        for (time, row) in rows.iter() {
            self.row.clear();
            self.row.extend(self.on.iter().map(|&channel| row[channel]));
            self.given.push(time, &self.row);
        }
        self.inner.push(self.given.view(), &mut self.made);
        self.join(out);
    }

    fn finish(&mut self, out: &mut Rows) {
        self.inner.finish(&mut self.made);
        self.join(out);
    }

    fn reset(&mut self) {
        self.inner.reset();
        self.held.clear();
        self.made.clear();
    }

    fn latency(&self) -> Latency {
        self.inner.latency()
    }

    fn out_channels(&self) -> usize {
        self.sources.len()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.inner.out_rate_hz()
    }
}
