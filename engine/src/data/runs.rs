//! Runs of rows: what sinks make of blocks, for whatever becomes of them.

use std::path::Path;

use super::reading::{Clock, Layout};
use super::split::Split;

/// A run of rows begins, of one series and one split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'r> {
    /// The file.
    pub(super) source: &'r Path,
    /// How its rows are laid out: whether one row, or the whole run, has a label.
    pub(super) layout: Layout,
    /// What the node column says.
    pub(super) node: Option<&'r str>,
    /// The series.
    pub(super) series: &'r str,
    /// What the rows are for.
    pub(super) split: Split,
    /// The place of the first row.
    pub(super) first_line: usize,
    /// The label of all rows, where the run is a sample.
    pub(super) label: Option<u32>,
    /// Samples a second, where the file declares it.
    pub(super) rate_hz: Option<f64>,
    /// What its times are.
    pub(super) clock: Clock,
}

/// The next rows of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'r> {
    /// `[n_rows, n_channels]`, row by row; NaN is a missing value.
    pub(super) values: &'r [f64],
    /// How many channels there are.
    pub(super) n_channels: usize,
    /// Each row's time, if there are times.
    pub(super) times: Option<&'r [f64]>,
    /// Each row's label, if rows have labels.
    pub(super) labels: Option<&'r [Option<u32>]>,
}

impl Rows<'_> {
    /// How many there are.
    pub(super) fn n_rows(&self) -> usize {
        self.values.len() / self.n_channels.max(1)
    }
}

/// What becomes of runs.
pub(super) trait Runs {
    /// A run begins; its number, by which its rows are added. Several may be open at once.
    fn begin(&mut self, run: &Run<'_>) -> usize;

    /// The next rows of a run.
    fn rows(&mut self, run: usize, rows: &Rows<'_>);

    /// The rows of a run from `row` on are for the test, and the place of the first of them is `place`;
    /// those before are to train on.
    fn cut(&mut self, run: usize, row: usize, place: usize);

    /// These runs are whole, and come in this order. All that were begun are ended by the end of their
    /// file; their numbers may then be given again.
    fn end(&mut self, runs: &[usize]);
}
