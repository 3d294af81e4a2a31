//! From lines to windows: reads a row, adds it to its series, and lets windows that are due wait for their answers.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::json;

use super::answer::{Answer, Status};
use super::cells::Cells;
use super::counters::{Counters, add};
use super::events::Events;
use super::outbox::{Outbox, Reserved};
use super::quality::Follows;
use super::queue::{Pushed, Queue};
use super::reply::Reply;
use super::tap::Truths;
use super::track::Cut;
use super::tracks::{Placed, Tracks};
use super::truth::Truth;
use crate::checkpoint::Meta;
use crate::data::{Cell, DataConfig, StreamColumns, StreamRow};

/// Signs between the cells of a table.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// Where windows and what is said of them go.
#[derive(Debug, Clone, Copy)]
pub struct Ways<'a> {
    /// Windows that wait for their answers.
    pub queue: &'a Queue,
    /// Places of answers.
    pub outbox: &'a Outbox,
    /// What is counted.
    pub counters: &'a Counters,
    /// What is told.
    pub events: &'a Events,
    /// Where classes go that are told later.
    pub truths: &'a Truths,
}

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
    fn is_truth(&self, line: &[u8]) -> bool {
        // The key must be there: most lines are rows.
        let may_be =
            line.first() == Some(&b'{') && memchr::memmem::find(line, b"\"label\"").is_some();
        let Some(truth) = may_be.then(|| Truth::of_line(line)).flatten() else { return false };
        if !self.ways.truths.tell(truth) {
            add(&self.ways.counters.labels_lost, 1);
        }
        true
    }

    /// Tells of a line that is no row.
    pub fn bad(&mut self, reason: &str) {
        let n = 1 + self.ways.counters.bad_lines.fetch_add(1, Ordering::Relaxed);
        self.ways.events.bad_line(self.line, n, reason);
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
        let columns = StreamColumns::of_header(names, &self.config, &self.channels, source)?;
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
        self.key.clear();
        for part in [self.source.as_bytes(), self.series.as_bytes()] {
            self.key.extend_from_slice(&part.len().to_le_bytes());
            self.key.extend_from_slice(part);
        }
        self.key.extend_from_slice(&self.row.key);
        let mut tracks = self.tracks();
        let Self { ways, source, series, key, row, line, ended, rows, reply, .. } = self;
        let name = if row.series.is_empty() { series } else { &row.series };
        let taken = tracks.push(&Placed { source, key, name, row }, &mut |number, series, cut| {
            *ended |= !ways.due(number, series, &cut, arrived, reply.as_ref());
        });
        drop(tracks);
        match taken {
            Ok((follows, name)) => {
                add(&ways.counters.rows, 1);
                add(rows, 1);
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

impl Ways<'_> {
    /// A window is due: it gets a number, and waits for its answer, which is also put into the reply, if there is one.
    /// Says whether anybody answers.
    pub fn due(
        &self,
        track: usize,
        series: &Arc<str>,
        cut: &Cut<'_>,
        arrived: Instant,
        reply: Option<&Arc<Reply>>,
    ) -> bool {
        let id = match self.outbox.reserve() {
            Reserved::Closed => return false,
            Reserved::Place(id) => id,
            Reserved::Lost(id) => {
                add(&self.counters.due, 1);
                if let Some(reply) = reply {
                    reply.expect();
                    reply.put(&Answer::without_model(id, series, Status::Dropped));
                }
                let n = self.counters.lost();
                if n.is_power_of_two() {
                    self.events.tell(json!({ "event": "output-blocked", "dropped": n }));
                }
                return true;
            }
        };
        add(&self.counters.due, 1);
        let mut due = self.queue.blank(series);
        (due.id, due.track, due.arrived) = (id, track, arrived);
        (due.t, due.from, due.quality) = (cut.t, cut.from, cut.quality);
        due.is_fresh = cut.is_fresh;
        due.is_whole = cut.fill(&mut due.values);
        due.reply = reply.cloned();
        if let Some(reply) = reply {
            reply.expect();
        }
        let (dropped, answered) = match self.queue.push(due) {
            Pushed::Waits => return true,
            Pushed::Instead(older) => (older, true),
            Pushed::Closed(due) => (due, false),
        };
        let answer = Answer::of(&dropped, Status::Dropped, Instant::now());
        self.counters.answered(&answer);
        if let Some(reply) = &dropped.reply {
            reply.put(&answer);
        }
        self.outbox.put(answer);
        self.queue.give_back(dropped);
        answered
    }
}
