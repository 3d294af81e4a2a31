//! One series while it runs: its rows through the steps, and the windows cut from them as `predict` cuts them.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use preprocess::{Pipeline, Streamer};

use super::quality::{Follows, Inspector, Quality};
use super::thin::Thin;
use crate::checkpoint::Meta;
use crate::data::{Split, StreamRow};
use crate::windows::rounded;

/// How series are cut and scaled: what is the same for all of them.
#[derive(Debug, Clone)]
pub struct Plan {
    pipeline: Arc<Pipeline>,
    /// Rows of a window, as the steps leave them, and from one to the next.
    len: usize,
    stride: usize,
    rate_hz: Option<f64>,
    /// Steps of the usual length that are no gap, and whether a series begins again behind a gap.
    gap: Option<f64>,
    restarts: bool,
    /// Between which values each channel usually is, where that is known.
    ranges: Arc<[(f64, f64)]>,
}

/// A longer step, in usual ones, is a gap where nothing else is said.
pub const GAP: f64 = 5.0;

/// Nothing for so many usual steps is no signal where nothing else is said.
pub const SILENCE: f64 = 10.0;

impl Plan {
    /// How a model's series are cut. With `restarts`, one begins again behind a step that is longer than `gap` usual
    /// ones, and where time runs backwards; without, as a file is read, it does not.
    ///
    /// # Errors
    /// If the model cannot answer on a stream; the message names what to do instead.
    pub fn of(meta: &Meta, gap: Option<f64>, restarts: bool) -> anyhow::Result<Self> {
        let window = meta.run.window();
        let Some(len) = window.len else {
            bail!(
                "the model answers whole series, whose end a stream does not tell: answer files with `edgectl \
                 predict`, or train with [window] len"
            )
        };
        let pipeline = &meta.preprocess;
        if !pipeline.is_fitted() {
            bail!(
                "a step with fit = \"node\" has no values in this model: run the one that `edgectl train` wrote on \
                 this node, or fit = \"shared\""
            );
        }
        Streamer::new(pipeline).context("the model cannot answer on a stream")?;
        let stride = window.stride.unwrap_or(len);
        ensure!(len > 0 && stride > 0, "windows of {len} steps, one every {stride}");
        let rate_hz = pipeline.input().rate_hz;
        let ranges = meta.monitor.iter().flat_map(|profile| &profile.ranges).map(widened).collect();
        let pipeline = Arc::new(pipeline.clone());
        Ok(Self { pipeline, len, stride, rate_hz, gap, restarts, ranges })
    }

    /// Values of a window.
    pub fn width(&self) -> usize {
        self.len * self.pipeline.output().channels()
    }

    /// Rows of a window, as they come in.
    pub fn rows(&self) -> usize {
        match (self.rate_hz, self.pipeline.output().rate_hz) {
            (Some(before), Some(after)) => (self.len as f64 * before / after).round() as usize,
            _ => self.len,
        }
    }
}

/// A range and as much as it is long on both sides: what is beyond is no person.
fn widened(&(least, most): &(f64, f64)) -> (f64, f64) {
    (least - (most - least), most + (most - least))
}

/// A window as it is cut.
#[derive(Debug)]
pub struct Cut<'a> {
    /// `[len, channels]`, scaled for the model.
    pub values: &'a [f64],
    /// What is wrong with its rows.
    pub quality: Quality,
    /// The time of its last row.
    pub t: Option<f64>,
    /// The time of its first row.
    pub from: Option<f64>,
    /// Whether it shares no row with the last of its series of which this is so.
    pub is_fresh: bool,
}

impl Cut<'_> {
    /// The values as the model takes them; says whether all are finite.
    pub fn fill(&self, values: &mut Vec<f32>) -> bool {
        values.clear();
        values.extend(self.values.iter().map(|&value| rounded(value)));
        self.values.iter().all(|value| value.is_finite())
    }
}

/// One series.
#[derive(Debug)]
pub struct Track {
    plan: Plan,
    /// Its name, for answers.
    name: Arc<str>,
    split: Split,
    streamer: Streamer,
    inspector: Inspector,
    cutter: Cutter,
    /// Rows that went in.
    n_in: u64,
    /// The time of the last one.
    t: Option<f64>,
}

/// Cuts windows from the rows that come out of the steps.
#[derive(Debug)]
struct Cutter {
    /// The last rows, a ring of a window's length.
    rows: Vec<f64>,
    /// Rows that came out.
    n_out: u64,
    /// Rows that came out before the first that no fresh window has.
    fresh: u64,
    window: Vec<f64>,
    /// Which windows are due, if not all, with the number of the first: series take turns.
    thin: Option<(Arc<Thin>, u64)>,
}

impl Track {
    /// A series before its first row.
    pub fn new(plan: &Plan, name: &str) -> Self {
        let channels = plan.pipeline.input().channels();
        let gap = plan.gap.unwrap_or(f64::INFINITY);
        let mut inspector = Inspector::new(channels, plan.rows(), gap);
        inspector.know_ranges(&plan.ranges);
        Self {
            name: name.into(),
            split: Split::Unmarked,
            streamer: Streamer::over_series(&plan.pipeline),
            inspector,
            cutter: Cutter {
                rows: vec![0.0; plan.width()],
                n_out: 0,
                fresh: 0,
                window: Vec::with_capacity(plan.width()),
                thin: None,
            },
            n_in: 0,
            t: None,
            plan: plan.clone(),
        }
    }

    /// Of its windows only some are due; the first counts as the one of this number.
    #[must_use]
    pub fn thinned(mut self, thin: &Arc<Thin>, first: u64) -> Self {
        self.cutter.thin = Some((Arc::clone(thin), first));
        self
    }

    /// Its name, for answers.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Takes a row, and hands on the windows that are due by it. Where the split changes, the rows before it end first.
    ///
    /// # Errors
    /// If the row cannot be taken: it does not count.
    pub fn push(
        &mut self,
        row: &StreamRow,
        due: &mut dyn FnMut(&Arc<str>, Cut<'_>),
    ) -> Result<Follows, String> {
        if self.plan.rate_hz.is_some() && row.in_seconds && row.time.is_none() {
            return Err("the row has no time".to_owned());
        }
        if self.n_in > 0 && row.split != self.split {
            self.end(due);
        }
        self.split = row.split;
        let follows = row.time.map_or(Follows::Well, |time| self.inspector.follows(time));
        if follows == Follows::Backwards || follows == Follows::Gap && self.plan.restarts {
            self.restart();
        }
        if let (0, true, Some(rate_hz)) = (self.n_in, row.in_seconds, self.plan.rate_hz) {
            self.inspector.know_step(1.0 / rate_hz);
        }
        let time = match row.time {
            Some(time) if row.in_seconds => time,
            _ => self.n_in as f64 / self.plan.rate_hz.unwrap_or(1.0),
        };
        self.inspector.row(row.time, &row.values, follows);
        (self.n_in, self.t) = (self.n_in + 1, row.time);
        let Self { plan, name, streamer, inspector, cutter, t, .. } = self;
        let rows = streamer.push(time, &row.values).map_err(|error| error.to_string())?;
        // A step may hand on several rows, or none.
        for (_, row) in rows.iter() {
            if let Some((values, is_fresh)) = cutter.push(plan, row) {
                let (quality, from) = (inspector.quality(), inspector.first_time());
                due(name, Cut { values, quality, t: *t, from, is_fresh });
            }
        }
        Ok(follows)
    }

    /// Ends the series: hands on the windows that the steps held back. The next row begins it again.
    pub fn end(&mut self, due: &mut dyn FnMut(&Arc<str>, Cut<'_>)) {
        if self.n_in == 0 {
            return;
        }
        let Self { plan, name, streamer, inspector, cutter, t, .. } = self;
        for (_, row) in streamer.finish().iter() {
            if let Some((values, is_fresh)) = cutter.push(plan, row) {
                let (quality, from) = (inspector.quality(), inspector.first_time());
                due(name, Cut { values, quality, t: *t, from, is_fresh });
            }
        }
        self.restart();
    }

    /// Forgets all rows.
    fn restart(&mut self) {
        self.streamer.reset();
        self.inspector.reset();
        self.n_in = 0;
        (self.cutter.n_out, self.cutter.fresh) = (0, 0);
    }
}

impl Cutter {
    /// Takes a row, and gives the window that is due by it, if one is, and whether it is fresh.
    fn push(&mut self, plan: &Plan, row: &[f64]) -> Option<(&[f64], bool)> {
        let (len, stride) = (plan.len as u64, plan.stride as u64);
        let end = ((self.n_out % len) as usize + 1) * row.len();
        self.rows[end - row.len()..end].copy_from_slice(row);
        self.n_out += 1;
        if self.n_out < len || !(self.n_out - len).is_multiple_of(stride) {
            return None;
        }
        if let Some((thin, first)) = &self.thin
            && !thin.takes(first + (self.n_out - len) / stride)
        {
            return None;
        }
        let (newest, oldest) = self.rows.split_at(end);
        self.window.clear();
        self.window.extend_from_slice(oldest);
        self.window.extend_from_slice(newest);
        plan.pipeline.apply_window(&mut self.window);
        let is_fresh = self.n_out - len >= self.fresh;
        if is_fresh {
            self.fresh = self.n_out;
        }
        Some((&self.window, is_fresh))
    }
}
