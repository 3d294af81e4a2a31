//! What a reader of a format is, and what takes the rows that it reads.

use std::path::Path;

use super::block::{Block, Need};
use super::config::{DataConfig, Thousands};
use super::source::Source;

/// One format.
///
/// A reader knows how cells are written; what its columns mean, and what becomes of their rows, is the
/// sink's. All readers are in [`READERS`](super::readers::READERS).
pub(super) trait Reader: Sync {
    /// The word for the format.
    fn name(&self) -> &'static str;

    /// How the names of its files end, without the dot.
    fn extensions(&self) -> &'static [&'static str];

    /// Whether its rows are those of a table, which may be time steps or whole samples; else the format
    /// says itself where a sample begins.
    fn is_table(&self) -> bool;

    /// Whether a file is one recording, whose rows are time steps. Tables beside such files in a folder
    /// tell of them, and are no data.
    fn is_recording(&self) -> bool {
        false
    }

    /// Whether the files of a folder are one series, and the folder is what is read.
    fn reads_folders(&self) -> bool {
        false
    }

    /// Whether a file is of this format, by its name (without `.gz` and `.zst`) or its first bytes.
    fn claims(&self, name: &Path, head: &[u8]) -> bool {
        let _ = head;
        self.extensions().iter().any(|extension| has_extension(name, extension))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is not of the format, and what the sink refuses. Rows before the bad one
    /// have been handed over.
    fn read(
        &self,
        source: Source<'_>,
        config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()>;
}

/// Takes what a reader reads, in pieces.
pub(super) trait Sink {
    /// Once, before the first row: what the columns are called. Says of each what it needs.
    fn columns(&mut self, header: &Header<'_>) -> anyhow::Result<Needs>;

    /// A series begins, whose rows follow: only in formats whose files hold samples or recordings.
    fn begin(&mut self, series: &Series<'_>) -> anyhow::Result<()>;

    /// The next rows.
    fn rows(&mut self, block: &Block) -> anyhow::Result<()>;

    /// What the reader found out about the file.
    fn note(&mut self, note: Note);
}

/// What is known of a file before its first row.
#[derive(Debug)]
pub(super) struct Header<'h> {
    /// Names of the columns, in the order of the file.
    pub(super) names: &'h [String],
    /// What places are called in messages: `line`, `record`, `frame`.
    pub(super) unit: &'static str,
    /// What separates the cells of a table.
    pub(super) delimiter: Option<u8>,
    /// The first rows of a table, every column as text, to judge by.
    pub(super) sample: Option<&'h Block>,
    /// Classes that the file declares, whether or not a sample has them.
    pub(super) classes: &'h [String],
    /// Where rows of a sample have labels: the column, which is no channel and behind the channels.
    pub(super) label: Option<usize>,
    /// Where rows of a sample have names: the same.
    pub(super) frame: Option<usize>,
}

/// What a sink needs of a file.
#[derive(Debug)]
pub(super) struct Needs {
    /// Of each column.
    pub(super) columns: Vec<Need>,
    /// Whether labels of samples have a use.
    pub(super) labels: bool,
    /// What stands between the thousands of its numbers.
    pub(super) thousands: Option<Thousands>,
}

/// A sample or recording.
#[derive(Debug)]
pub(super) struct Series<'s> {
    /// The line, record or frame where it begins.
    pub(super) place: usize,
    /// Its class, as it is written.
    pub(super) label: Option<&'s [u8]>,
    /// Samples a second, where the file says so.
    pub(super) rate_hz: Option<f64>,
}

/// What a reader finds out about a file as it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// The sign before the decimals of its numbers, where it is not a point.
    Decimal(char),
}

/// What the channel of a file without channel names is called.
pub(super) fn channel_name(index: usize) -> String {
    format!("dim_{index}")
}

/// Whether the file's name ends in `.extension`, in any case.
pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// An error at a cell.
pub(super) fn at_cell(
    path: &Path,
    (unit, place): (&str, usize),
    column: &str,
    reason: &str,
) -> anyhow::Error {
    anyhow::anyhow!("{}: {unit} {place}, column {column:?}: {reason}", path.display())
}
