//! What is in runs of rows, counted as they pass: nothing of a row is kept.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Serialize;

use super::dataset::{Dataset, Segment};
use super::labels::Labels;
use super::pace::{Pace, Paced};
use super::rate::is_same;
use super::reading::{Clock, Layout, TimeUnit};
use super::run_names::RunNames;
use super::runs::{Rows, Run, Runs};
use super::split::Split;

/// Rows of a segment that are counted at once.
const CHUNK: usize = 4096;

/// Counts over all runs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Runs of rows.
    pub(super) series: usize,
    /// Time steps of all.
    pub(super) steps: usize,
    names: RunNames,
    /// Of each channel.
    pub(super) channels: Vec<ChannelTally>,
    /// Runs and rows by what they are for: to train on, for the test, unmarked.
    pub(super) splits: [Counted; 3],
    /// Labels of each class, by its index while labels were read.
    labels: Vec<usize>,
    pace: Pace,
    /// The file whose times these are, and what was found in those before it.
    paced_file: PathBuf,
    paced: Option<Paced>,
    /// The shortest and the longest of the usual steps of files.
    usual_steps: Option<(f64, f64)>,
    clock: Option<Clock>,
    /// The lowest and the highest rate that files declare.
    rates_hz: Option<(f64, f64)>,
    /// The beginning of the first run.
    pub(super) excerpt: Excerpt,
    open: HashMap<usize, Open>,
    next: usize,
}

/// The first rows of a data set, to be looked at.
#[derive(Debug, Clone, Default)]
pub struct Excerpt {
    /// `[rows, channels]`: at most 2,000 rows of one run, at most the first 6 channels.
    pub values: Vec<f64>,
    /// How many channels there are of them.
    pub n_channels: usize,
    /// What they are called.
    pub names: Vec<String>,
}

impl Excerpt {
    /// Most rows.
    const ROWS: usize = 2000;
    /// Most channels.
    const CHANNELS: usize = 6;

    /// Adds rows of the first run.
    fn add(&mut self, rows: &Rows<'_>) {
        self.n_channels = rows.n_channels.min(Self::CHANNELS);
        let free = Self::ROWS - (self.values.len() / self.n_channels.max(1)).min(Self::ROWS);
        for row in rows.values.chunks_exact(rows.n_channels.max(1)).take(free) {
            self.values.extend(&row[..self.n_channels]);
        }
    }
}

/// Most classes of which it is counted what values go with them.
const MOST_CLASSES: usize = 64;

/// So many runs of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Runs.
    pub series: usize,
    /// Their rows.
    pub steps: usize,
}

/// Counts over one channel.
#[derive(Debug, Clone, Default)]
pub(super) struct ChannelTally {
    /// The smallest and the largest value, if there is one.
    pub(super) range: Option<(f64, f64)>,
    /// Missing values.
    pub(super) missing: usize,
    /// Within runs of time steps: values above the one before.
    pub(super) rises: usize,
    /// Within runs of time steps: whether a value was below the one before.
    pub(super) falls: bool,
    /// The smallest and the largest value, and how many, beside each of the first labels.
    by_label: Vec<Option<(f64, f64, usize)>>,
}

/// What must be known of a run to go on.
#[derive(Debug)]
struct Open {
    split: Split,
    n_rows: usize,
    /// The row from which on it is for the test.
    cut: Option<usize>,
    is_long: bool,
    /// The label of all rows.
    label: Option<u32>,
    clock: Clock,
    last_time: Option<f64>,
    /// The last value of each channel.
    last: Vec<f64>,
}

/// What was found of times and rates.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimesTally {
    /// The times, if there were some.
    pub(super) paced: Option<Paced>,
    /// What they are.
    pub(super) clock: Clock,
    /// What files declare.
    pub(super) rates_hz: Option<(f64, f64)>,
    /// The shortest and the longest of the usual steps of files, where they are not alike.
    pub(super) steps: Option<(f64, f64)>,
}

impl Tally {
    /// The count of a whole data set.
    pub(super) fn of(dataset: &Dataset) -> Self {
        let layouts: HashMap<_, _> =
            dataset.readings.iter().map(|file| (&file.path, &file.reading)).collect();
        let mut tally = Self::default();
        for segment in &dataset.segments {
            let reading = layouts.get(&segment.source);
            let layout = reading.map_or(Layout::Wide, |reading| reading.layout);
            let clock = TimeUnit::clock(reading.and_then(|reading| reading.time_unit));
            tally.add(segment, dataset.channels.len(), layout, clock);
        }
        tally
    }

    fn add(&mut self, segment: &Segment, n_channels: usize, layout: Layout, clock: Clock) {
        let run = self.begin(&Run {
            source: &segment.source,
            layout,
            node: segment.node.as_deref(),
            series: &segment.series,
            split: segment.split,
            first_line: segment.first_line,
            label: if let Labels::One(class) = segment.labels { Some(class) } else { None },
            rate_hz: segment.rate_hz,
            clock,
        });
        let mut labels = Vec::new();
        for (chunk, values) in segment.values.chunks(CHUNK * n_channels.max(1)).enumerate() {
            let rows = Rows { values, n_channels, times: None, labels: None };
            let range = chunk * CHUNK..chunk * CHUNK + rows.n_rows();
            let times = segment.times.as_ref().map(|times| &times[range.clone()]);
            labels.clear();
            labels.extend(range.map(|row| segment.labels.at(row)));
            self.rows(run, &Rows { times, labels: Some(&labels), ..rows });
        }
        self.end(&[run]);
    }

    fn count(&mut self, label: Option<u32>, n: usize) {
        let Some(class) = label.map(|class| class as usize) else { return };
        if self.labels.len() <= class {
            self.labels.resize(class + 1, 0);
        }
        self.labels[class] += n;
    }

    /// Ends the runs that are open: of a file that could not be read to its end.
    pub(super) fn end_all(&mut self) {
        let mut open: Vec<usize> = self.open.keys().copied().collect();
        open.sort_unstable();
        self.end(&open);
    }

    /// How many labels there were of each class, the class that had index `i` being at `places[i]`.
    pub(super) fn labels(&self, places: &[u32]) -> Vec<usize> {
        let mut counts = vec![0; places.len()];
        for (count, place) in self.labels.iter().zip(places) {
            counts[*place as usize] = *count;
        }
        counts
    }

    /// The times of a file are over: what they are like is added to what those of others are.
    fn end_pace(&mut self) {
        let Some(found) = std::mem::take(&mut self.pace).finish() else { return };
        if let Some(step) = found.step {
            let (low, high) = self.usual_steps.unwrap_or((step, step));
            self.usual_steps = Some((low.min(step), high.max(step)));
        }
        self.paced = Some(self.paced.map_or(found, |others| Paced {
            first: others.first.min(found.first),
            last: others.last.max(found.last),
            step: None,
            gaps: others.gaps + found.gaps,
        }));
    }

    /// How many series there are, where a row is a time step.
    pub(super) fn distinct_series(&self) -> usize {
        self.names.n_series()
    }

    /// How many nodes they are of.
    pub(super) fn n_nodes(&self) -> usize {
        self.names.n_nodes()
    }

    /// What was found of times.
    pub(super) fn times(&mut self) -> TimesTally {
        self.end_pace();
        let steps = self.usual_steps.filter(|&(low, high)| !is_same(low, high));
        let paced = self.paced.map(|paced| Paced {
            step: self.usual_steps.filter(|_| steps.is_none()).map(|(low, _)| low),
            ..paced
        });
        TimesTally {
            paced,
            steps,
            clock: self.clock.unwrap_or(Clock::Numbers),
            rates_hz: self.rates_hz,
        }
    }
}

impl Runs for Tally {
    fn begin(&mut self, run: &Run<'_>) -> usize {
        self.series += 1;
        self.names.add(run);
        if self.paced_file != run.source {
            self.end_pace();
            run.source.clone_into(&mut self.paced_file);
        }
        let is_long = matches!(run.layout, Layout::Long | Layout::Recording);
        if !is_long {
            self.count(run.label, 1);
        }
        if let Some(rate) = run.rate_hz {
            let (low, high) = self.rates_hz.unwrap_or((rate, rate));
            self.rates_hz = Some((low.min(rate), high.max(rate)));
        }
        let open = Open {
            split: run.split,
            n_rows: 0,
            cut: None,
            is_long,
            label: run.label,
            clock: run.clock,
            last_time: None,
            last: Vec::new(),
        };
        self.open.insert(self.next, open);
        self.next += 1;
        self.next - 1
    }

    fn rows(&mut self, run: usize, rows: &Rows<'_>) {
        let n = rows.n_channels;
        self.steps += rows.n_rows();
        let Some(open) = self.open.get_mut(&run) else { return };
        open.n_rows += rows.n_rows();
        if run == 0 {
            self.excerpt.add(rows);
        }
        self.channels.resize(n, ChannelTally::default());
        open.last.resize(n, f64::NAN);
        for row in rows.values.chunks_exact(n.max(1)) {
            for ((channel, last), &value) in self.channels.iter_mut().zip(&mut open.last).zip(row) {
                channel.add(value, if open.is_long { Some(last) } else { None });
            }
        }
        if let Some(times) = rows.times {
            // What is known of all is what is known of each.
            self.clock = Some(self.clock.map_or(open.clock, |clock| clock.min(open.clock)));
            self.pace.add(open.last_time, times);
            open.last_time = times.last().copied().or(open.last_time);
        }
        if open.is_long {
            if let Some(labels) = rows.labels {
                for (row, label) in rows.values.chunks_exact(n.max(1)).zip(labels) {
                    let Some(label) = label.map(|label| label as usize) else { continue };
                    if label < MOST_CLASSES {
                        let channels = self.channels.iter_mut().zip(row);
                        channels.for_each(|(channel, &value)| channel.beside(label, value));
                    }
                }
            }
            let of_all = open.label;
            match rows.labels {
                Some(labels) => labels.iter().for_each(|label| self.count(*label, 1)),
                None => self.count(of_all, rows.n_rows()),
            }
        }
    }

    fn cut(&mut self, run: usize, row: usize, _: usize) {
        if let Some(open) = self.open.get_mut(&run) {
            open.cut = Some(row);
        }
    }

    fn end(&mut self, runs: &[usize]) {
        for run in runs {
            let Some(Open { split, n_rows, cut, .. }) = self.open.remove(run) else { continue };
            let parts = match cut {
                Some(row) => vec![(Split::Train, row), (Split::Test, n_rows.saturating_sub(row))],
                None => vec![(split, n_rows)],
            };
            let parts = parts.iter().filter(|(_, steps)| cut.is_none() || *steps > 0);
            self.series -= 1;
            for &(split, steps) in parts {
                self.series += 1;
                let counted = &mut self.splits[split as usize];
                counted.series += 1;
                counted.steps += steps;
            }
        }
    }
}

impl ChannelTally {
    /// Counts a value beside a label.
    fn beside(&mut self, label: usize, value: f64) {
        if value.is_nan() {
            return;
        }
        if self.by_label.len() <= label {
            self.by_label.resize(label + 1, None);
        }
        let (min, max, n) = self.by_label[label].unwrap_or((value, value, 0));
        self.by_label[label] = Some((min.min(value), max.max(value), n + 1));
    }

    /// A label all of whose values, `at_least` of them, are one that no other label comes near.
    pub(super) fn giveaway(&self, at_least: usize) -> Option<(usize, f64)> {
        let found = self.by_label.iter().enumerate().filter_map(|(l, of)| of.map(|of| (l, of)));
        let found: Vec<_> = found.collect();
        let alone = |&&(label, (min, max, n)): &&(usize, (f64, f64, usize))| {
            let others = || found.iter().filter(|(other, _)| *other != label);
            min.total_cmp(&max).is_eq()
                && n >= at_least
                && others().next().is_some()
                && others().all(|(_, (low, high, _))| *low > max || *high < min)
        };
        found.iter().find(alone).map(|&(label, (value, ..))| (label, value))
    }

    /// Whether there are no two different values, of several.
    pub(super) fn is_constant(&self) -> bool {
        self.range.is_some_and(|(min, max)| min.total_cmp(&max).is_eq())
    }

    /// Counts a value; with `last`, against the one before it in its run.
    fn add(&mut self, value: f64, last: Option<&mut f64>) {
        if value.is_nan() {
            self.missing += 1;
            return;
        }
        let (min, max) = self.range.unwrap_or((value, value));
        self.range = Some((min.min(value), max.max(value)));
        if let Some(last) = last {
            self.rises += usize::from(value > *last);
            self.falls |= value < *last;
            *last = value;
        }
    }
}
