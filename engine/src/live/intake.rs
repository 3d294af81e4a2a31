//! From lines to windows: reads a row, adds it to its series, and lets windows that are due wait for their answers.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::anyhow;
use serde_json::json;

use super::cells::Cells;
use super::counters::add;
use super::quality::Follows;
use super::reply::Reply;
use super::tracks::{MOST, Placed, Tracks};
use super::truth::Truth;
use super::ways::Ways;
use crate::checkpoint::Meta;
use crate::data::{Cell, DataConfig, Split, StreamColumns, StreamRow};

/// Signs between the cells of a table.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// Bytes of the longest name of a series, which each of them keeps.
const LONGEST_NAME: usize = 1024;

/// Signs of a reason that are told.
const MOST_SIGNS: usize = 300;

/// How lines are written.
#[derive(Debug)]
enum Format {
    /// A table, after its first line, which begins each of several tables behind one another.
    Table { delimiter: u8, header: Vec<u8> },
    /// Objects that name their cells.
    Json,
}

/// Reads lines of one source, a table or objects; their series are among those of all sources.
#[derive(Debug)]
pub struct Intake<'a> {
    ways: Ways<'a>,
    tracks: &'a Mutex<Tracks>,
    source: Arc<str>,
    /// What its series are called where rows do not say.
    series: String,
    config: DataConfig,
    channels: Vec<String>,
    format: Option<(Format, StreamColumns)>,
    cells: Cells,
    row: StreamRow,
    key: Vec<u8>,
    line: u64,
    /// Rows and labels that were taken.
    taken: u64,
    is_old: bool,
    /// Set once nobody answers any more.
    ended: bool,
    /// Rows of the source.
    rows: Arc<AtomicU64>,
    /// Who waits for what becomes of the lines, beside those who read all answers.
    reply: Option<Arc<Reply>>,
}

impl<'a> Intake<'a> {
    /// For a model's rows from a source.
    pub fn new(meta: &Meta, source: &str, tracks: &'a Mutex<Tracks>, ways: Ways<'a>) -> Self {
        Self {
            ways,
            tracks,
            source: source.into(),
            series: String::new(),
            config: meta.run.data().clone(),
            channels: meta.channels.clone(),
            format: None,
            cells: Cells::default(),
            row: StreamRow::default(),
            key: Vec::new(),
            line: 0,
            taken: 0,
            is_old: false,
            ended: false,
            rows: ways.counters.rows_of(source),
            reply: None,
        }
    }

    /// Also puts what becomes of the lines there.
    #[must_use]
    pub fn reply_to(self, reply: Arc<Reply>) -> Self {
        Self { reply: Some(reply), ..self }
    }

    /// Names the series of rows that do not say theirs; of others they are told apart by it.
    #[must_use]
    pub fn of_series(self, series: &str) -> Self {
        Self { series: series.to_owned(), ..self }
    }

    fn tracks(&self) -> MutexGuard<'a, Tracks> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line that came at this moment; whatever is wrong with it is told and counted. Says whether more are
    /// wanted.
    ///
    /// # Errors
    /// If the first line is the header of a table without the channels that the model reads.
    pub fn line(&mut self, line: &[u8], arrived: Instant) -> anyhow::Result<bool> {
        self.line += 1;
        let line =
            if self.line == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(!self.ended);
        }
        if self.is_truth(line) {
            return Ok(!self.ended);
        }
        if self.format.is_none() {
            self.begin(line)?;
            if matches!(self.format, Some((Format::Table { .. }, _))) {
                // Series of other lines of the source go on.
                return Ok(!self.ended);
            }
        }
        if let Some((Format::Table { header, .. }, _)) = &self.format
            && header == line
        {
            // Another table begins, whose series are others.
            self.end();
            return Ok(!self.ended);
        }
        match self.read(line) {
            Ok(true) => self.take_row(arrived),
            Ok(false) => add(&self.ways.counters.not_wanted, 1),
            Err(reason) => self.bad(&reason),
        }
        Ok(!self.ended)
    }

    /// Hands on the class of windows that were answered before, if the line tells one.
    fn is_truth(&mut self, line: &[u8]) -> bool {
        let Some(truth) = Truth::of_line(line, |name| self.is_channel(name)) else { return false };
        match truth {
            Ok(truth) => {
                self.taken += 1;
                if !self.ways.truths.tell(truth) {
                    add(&self.ways.counters.labels_lost, 1);
                }
            }
            Err(reason) => self.bad(&reason),
        }
        true
    }

    /// Whether a cell of this name makes a line a row.
    fn is_channel(&self, name: &str) -> bool {
        name == "x" || self.channels.iter().any(|channel| channel == name)
    }

    /// Rows and labels that were taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Tells of a line that is no row.
    pub fn bad(&mut self, reason: &str) {
        let reason = &*shortened(reason);
        let n = 1 + self.ways.counters.bad_lines.fetch_add(1, Ordering::Relaxed);
        self.ways.events.bad_line(self.line, n, reason);
        self.ways.counters.first_bad.get_or_init(|| reason.to_owned());
        if let Some(reply) = &self.reply {
            reply.bad(reason);
        }
    }

    /// Counts a line that cannot be read.
    pub fn unreadable(&mut self, reason: &str) {
        self.line += 1;
        self.bad(reason);
    }

    /// Finds out by the first line how lines are written.
    fn begin(&mut self, line: &[u8]) -> anyhow::Result<()> {
        if line.trim_ascii_start().first() == Some(&b'{') {
            let columns = StreamColumns::of_names(&self.config, &self.channels)?;
            self.format = Some((Format::Json, columns));
            return Ok(());
        }
        let mut names = Vec::new();
        let mut of_delimiter = b',';
        for delimiter in DELIMITERS {
            let found = self.header(line, delimiter);
            let has_all = self.channels.iter().all(|channel| found.contains(channel));
            if names.is_empty() || has_all {
                (names, of_delimiter) = (found, delimiter);
            }
            if has_all {
                break;
            }
        }
        let source = Path::new("the header (line 1)");
        let columns = StreamColumns::of_header(names, &self.config, &self.channels, source);
        // What is no table may have a first line of any length.
        let columns = columns.map_err(|error| anyhow!("{}", shortened(&format!("{error:#}"))))?;
        let header = line.to_vec();
        self.format = Some((Format::Table { delimiter: of_delimiter, header }, columns));
        Ok(())
    }

    /// The names in a header; none if it cannot be cut.
    fn header(&mut self, line: &[u8], delimiter: u8) -> Vec<String> {
        if self.cells.cut(line, delimiter).is_err() {
            return Vec::new();
        }
        let name = |at| match self.cells.get(at) {
            Cell::Text(text) => String::from_utf8_lossy(text).trim().to_owned(),
            _ => String::new(),
        };
        (0..self.cells.len()).map(name).collect()
    }

    /// Reads a line into the row; says whether it is wanted.
    fn read(&mut self, line: &[u8]) -> Result<bool, String> {
        let Some((format, columns)) = &self.format else { return Ok(false) };
        match format {
            Format::Json => self.cells.of_json(line, columns)?,
            Format::Table { delimiter, .. } => {
                self.cells.cut(line, *delimiter)?;
                let (found, expected) = (self.cells.len(), columns.names().len());
                if found != expected {
                    return Err(format!("{found} cells, the header has {expected}"));
                }
            }
        }
        columns.read(|at| self.cells.get(at), &mut self.row)
    }

    /// Adds the row to its series.
    fn take_row(&mut self, arrived: Instant) {
        if self.row.key.len() > LONGEST_NAME {
            let n = self.row.key.len();
            return self
                .bad(&format!("its series' name has {n} bytes; at most {LONGEST_NAME} are taken"));
        }
        self.key.clear();
        for part in [self.source.as_bytes(), self.series.as_bytes()] {
            self.key.extend_from_slice(&part.len().to_le_bytes());
            self.key.extend_from_slice(part);
        }
        self.key.extend_from_slice(&self.row.key);
        let mut tracks = self.tracks();
        let Self {
            ways,
            source,
            series,
            key,
            row,
            line,
            ended,
            rows,
            reply,
            is_old,
            taken: n_taken,
            ..
        } = self;
        let name = if row.series.is_empty() { series } else { &row.series };
        let placed = Placed { source, key, name, row, arrived };
        let is_old = *is_old || tracks.is_old(row.time);
        let ended_before = tracks.ended();
        let taken = tracks.push(&placed, &mut |number, series, cut| {
            if is_old {
                return ways.stale(series, &cut, arrived, reply.as_ref());
            }
            *ended |= !ways.due(number, series, &cut, arrived, reply.as_ref());
        });
        let n_ended = tracks.ended();
        drop(tracks);
        if n_ended > ended_before {
            ways.events.tell_some(n_ended, || {
                let why =
                    format!("more than {MOST} at once: the one that was silent longest ended");
                json!({ "event": "series", "result": "ended", "reason": why, "count": n_ended })
            });
        }
        match taken {
            Ok((follows, name)) => {
                add(&ways.counters.rows, 1);
                add(rows, 1);
                *n_taken += 1;
                if let Some(reply) = reply {
                    reply.row();
                }
                ways.counters.board.row(&name, row.time, &row.values);
                if follows != Follows::Well {
                    let n = 1 + ways.counters.time_faults.fetch_add(1, Ordering::Relaxed);
                    let what = if follows == Follows::Gap { "gap" } else { "backwards" };
                    ways.events.tell_some(n, || {
                        json!({
                            "event": "time", "what": what, "series": *name, "line": line, "t": row.time,
                            "count": n,
                        })
                    });
                }
            }
            Err(reason) => self.bad(&reason),
        }
    }

    /// Whether the rows that follow were old when they came: windows that end with one are not answered.
    pub fn old(&mut self, is_so: bool) {
        self.is_old = is_so;
    }

    /// Takes a row that is no line: a value for each channel of the model. Says whether more are wanted.
    pub fn row(
        &mut self,
        t: Option<f64>,
        values: impl Iterator<Item = f64>,
        arrived: Instant,
    ) -> bool {
        self.line += 1;
        self.row.key.clear();
        self.row.series.clear();
        (self.row.split, self.row.time, self.row.in_seconds) = (Split::Unmarked, t, false);
        self.row.values.clear();
        self.row.values.extend(values);
        self.take_row(arrived);
        !self.ended
    }

    /// The source was lost: each of its series has an answer that says so, and begins again.
    pub fn lost(&mut self) {
        let now = Instant::now();
        self.tracks().lost(&self.source, &mut |silent| self.ways.silent(&silent, now));
        self.end();
    }

    /// All series of the source end: windows that steps held back are due.
    pub fn end(&mut self) {
        let arrived = Instant::now();
        let Self { ways, ended, reply, .. } = self;
        let mut tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        tracks.end(&self.source, &mut |number, series, cut| {
            *ended |= !ways.due(number, series, &cut, arrived, reply.as_ref());
        });
    }
}

/// A reason, which may quote what came: its beginning, where that is long.
fn shortened(reason: &str) -> Cow<'_, str> {
    match reason.char_indices().nth(MOST_SIGNS) {
        Some((end, _)) => format!("{} …", &reason[..end]).into(),
        None => reason.into(),
    }
}
