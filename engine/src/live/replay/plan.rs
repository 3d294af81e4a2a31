//! Which row is due when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::Write;

use anyhow::{Context, ensure};

use super::how::Play;
use crate::data::{Dataset, Segment, Split};

/// What is due next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Playing {
    /// A row.
    Row {
        /// Seconds from the start.
        due_s: f64,
        /// Of which segment of the data.
        segment: usize,
        /// Which row of that.
        row: usize,
        /// Its time, as its column has it.
        t: Option<f64>,
    },
    /// The class of rows.
    Label {
        /// Seconds from the start.
        due_s: f64,
        /// Of which segment of the data.
        segment: usize,
        /// The class.
        class: u32,
        /// The time of the first of them.
        from: f64,
        /// The time of the last.
        to: f64,
    },
}

impl Playing {
    /// Seconds from the start.
    pub fn due_s(&self) -> f64 {
        match self {
            Self::Row { due_s, .. } | Self::Label { due_s, .. } => *due_s,
        }
    }

    /// Of which segment of the data it is.
    pub fn segment(&self) -> usize {
        match self {
            Self::Row { segment, .. } | Self::Label { segment, .. } => *segment,
        }
    }
}

/// When all rows are due.
#[derive(Debug)]
pub struct Timetable<'a> {
    data: &'a Dataset,
    how: &'a Play,
    parts: Vec<Part>,
    /// Parts by when their next row is due, in whole nanoseconds.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// Labels that wait, the soonest last.
    labels: Vec<Playing>,
    /// Seconds of all of it, after which it begins again.
    lap_s: f64,
}

/// A segment that is played.
#[derive(Debug)]
struct Part {
    segment: usize,
    /// Seconds from the start to its first row, and from row to row where times do not say.
    begins_s: f64,
    step_s: f64,
    n_rows: usize,
    /// The row that is next.
    row: usize,
    lap: u32,
    /// Seconds of a unit of its times, and units by which times are later in each lap.
    unit_s: f64,
    lap_t: f64,
}

impl<'a> Timetable<'a> {
    /// Of recordings that are played so.
    ///
    /// # Errors
    /// If there is no such series, nothing says how fast rows come, or classes are asked for where rows have no
    /// times.
    pub fn new(data: &'a Dataset, how: &'a Play) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        // Seconds so far, and those of each series.
        let (mut all_s, mut of_series) = (0.0_f64, HashMap::new());
        let mut longest_s = 0.0_f64;
        for (index, segment) in data.segments.iter().enumerate() {
            if how.series.as_ref().is_some_and(|name| *name != segment.series) {
                continue;
            }
            ensure!(
                how.labels.is_none() || segment.times.is_some(),
                "{}: --labels needs rows with times, by which they are told",
                segment.place()
            );
            let key = (&segment.source, &segment.node, &segment.series);
            let begins_s = if how.together { *of_series.entry(key).or_insert(0.0) } else { all_s };
            let part = Part::new(data, index, begins_s, how)?;
            let s = part.len_s(segment);
            of_series.insert(key, begins_s + s);
            all_s += s;
            longest_s = longest_s.max(begins_s + s);
            parts.push(part);
        }
        if let Some(name) = &how.series {
            ensure!(!parts.is_empty(), "there is no series {name:?} in the data");
        }
        // All parts of a series go on in the next lap where the last of them ended.
        let mut span: HashMap<_, [f64; 2]> = HashMap::new();
        for part in &parts {
            let segment = &data.segments[part.segment];
            let Some(times) = segment.times.as_ref().filter(|times| !times.is_empty()) else {
                continue;
            };
            let [first, last] = [times[0], times[times.len() - 1] + usual(segment)];
            let key = (&segment.source, &segment.node, &segment.series);
            let span = span.entry(key).or_insert([first, last]);
            *span = [span[0].min(first), span[1].max(last)];
        }
        for part in &mut parts {
            let segment = &data.segments[part.segment];
            let span = span.get(&(&segment.source, &segment.node, &segment.series));
            part.lap_t = span.map_or(0.0, |[first, last]| last - first);
        }
        let next = parts.iter().enumerate().filter(|(_, part)| part.n_rows > 0);
        let next = next.map(|(at, part)| Reverse((nanos(part.begins_s), at))).collect();
        Ok(Self { data, how, parts, next, labels: Vec::new(), lap_s: longest_s })
    }

    /// What is due next; nothing at the end.
    #[expect(
        clippy::should_implement_trait,
        reason = "who plays also asks for what is to be written"
    )]
    pub fn next(&mut self) -> Option<Playing> {
        let row = self.next.peek().map(|Reverse((due, at))| (*due, *at));
        let label_first = self
            .labels
            .last()
            .filter(|label| row.is_none_or(|(due, _)| nanos(label.due_s()) < due));
        if label_first.is_some() {
            return self.labels.pop();
        }
        let (_, at) = row?;
        self.next.pop();
        let part = &mut self.parts[at];
        let segment = &self.data.segments[part.segment];
        let playing = Playing::Row {
            due_s: part.due_s(segment, self.lap_s),
            segment: part.segment,
            row: part.row,
            t: part.t(segment, part.row),
        };
        let label = self.how.labels.and_then(|delay| {
            let class = segment.labels.at(part.row)?;
            let is_last =
                part.row + 1 == part.n_rows || segment.labels.at(part.row + 1) != Some(class);
            let first =
                (0..part.row).rev().take_while(|&row| segment.labels.at(row) == Some(class));
            let first = first.last().unwrap_or(part.row);
            is_last.then_some(Playing::Label {
                due_s: playing.due_s() + delay.as_secs_f64(),
                segment: part.segment,
                class,
                from: part.t(segment, first)?,
                to: part.t(segment, part.row)?,
            })
        });
        part.row += 1;
        if part.row == part.n_rows && self.how.again {
            (part.row, part.lap) = (0, part.lap + 1);
        }
        if part.row < part.n_rows {
            self.next.push(Reverse((nanos(part.due_s(segment, self.lap_s)), at)));
        }
        if let Some(label) = label {
            let place = self.labels.partition_point(|other| other.due_s() > label.due_s());
            self.labels.insert(place, label);
        }
        Some(playing)
    }

    /// The name of a segment's series.
    pub fn series(&self, segment: usize) -> &'a str {
        &self.data.segments[segment].series
    }

    /// Writes a row as an object.
    pub fn write_row(&self, segment: usize, t: Option<f64>, values: &[f64], line: &mut Vec<u8>) {
        let roles = self.roles(segment);
        let segment = &self.data.segments[segment];
        line.push(b'{');
        text(line, roles.and_then(|roles| roles.series.as_deref()).unwrap_or("series"));
        line.push(b':');
        text(line, &segment.series);
        if let Some(t) = t {
            line.push(b',');
            text(line, self.time_name(segment));
            line.push(b':');
            number(line, t);
        }
        let split = match segment.split {
            Split::Train => Some("train"),
            Split::Test => Some("test"),
            Split::Unmarked => None,
        };
        if let Some((split, name)) = split.zip(roles.and_then(|roles| roles.split.as_deref())) {
            line.push(b',');
            text(line, name);
            line.push(b':');
            text(line, split);
        }
        for (name, &value) in self.data.channels.iter().zip(values) {
            line.push(b',');
            text(line, name);
            line.push(b':');
            number(line, value);
        }
        line.push(b'}');
    }

    /// Writes what class rows are of.
    pub fn write_label(
        &self,
        segment: usize,
        class: u32,
        (from, to): (f64, f64),
        line: &mut Vec<u8>,
    ) {
        line.extend_from_slice(b"{\"label\":");
        text(line, &self.data.classes[class as usize]);
        line.extend_from_slice(b",\"series\":");
        text(line, &self.data.segments[segment].series);
        line.extend_from_slice(b",\"from\":");
        number(line, from);
        line.extend_from_slice(b",\"to\":");
        number(line, to);
        line.push(b'}');
    }

    fn roles(&self, segment: usize) -> Option<&'a crate::data::Roles> {
        let source = &self.data.segments[segment].source;
        let read = self.data.readings.iter().find(|read| read.path == *source);
        read.map(|read| &read.reading.roles)
    }

    fn time_name(&self, segment: &Segment) -> &'a str {
        let read = self.data.readings.iter().find(|read| read.path == segment.source);
        read.and_then(|read| read.reading.roles.time.as_deref()).unwrap_or("t")
    }
}

impl Part {
    fn new(data: &Dataset, index: usize, begins_s: f64, how: &Play) -> anyhow::Result<Self> {
        let segment = &data.segments[index];
        let by_times = segment.in_seconds && segment.times.is_some() && how.hz.is_none();
        let hz = how.hz.or(segment.rate_hz);
        let hz = if by_times || how.speed.is_none() { hz.or(Some(1.0)) } else { hz };
        let hz = hz.with_context(|| {
            format!(
                "{}: nothing says how fast its rows come, as its times have no unit: give rows a second as --hz",
                segment.place()
            )
        })?;
        let read = data.readings.iter().find(|read| read.path == segment.source);
        let name = read.and_then(|read| read.reading.roles.time.as_deref());
        let unit_s = name.filter(|_| segment.in_seconds).map_or(1.0, crate::data::seconds_of);
        Ok(Self {
            segment: index,
            begins_s,
            step_s: if by_times { 0.0 } else { 1.0 / hz },
            n_rows: segment.n_rows(data.channels.len()),
            row: 0,
            lap: 0,
            unit_s,
            lap_t: 0.0,
        })
    }

    /// Seconds from its first row to that of what comes behind it.
    fn len_s(&self, segment: &Segment) -> f64 {
        match &segment.times {
            Some(times) if self.step_s == 0.0 && !times.is_empty() => {
                times[times.len() - 1] - times[0] + usual(segment)
            }
            _ => self.n_rows as f64 * self.step_s,
        }
    }

    fn due_s(&self, segment: &Segment, lap_s: f64) -> f64 {
        let within = match &segment.times {
            Some(times) if self.step_s == 0.0 => times[self.row] - times[0],
            _ => self.row as f64 * self.step_s,
        };
        self.begins_s + within + f64::from(self.lap) * lap_s
    }

    fn t(&self, segment: &Segment, row: usize) -> Option<f64> {
        let t = segment.times.as_ref()?[row];
        let t = if self.lap == 0 { t } else { t + f64::from(self.lap) * self.lap_t };
        // Nothing changes in seconds.
        Some(t / self.unit_s)
    }
}

/// The mean step of its segment's times.
fn usual(segment: &Segment) -> f64 {
    let Some(times) = segment.times.as_ref().filter(|times| times.len() > 1) else {
        return 1.0;
    };
    (times[times.len() - 1] - times[0]) / (times.len() - 1) as f64
}

/// Times in an order.
fn nanos(s: f64) -> u64 {
    (s.max(0.0) * 1e9) as u64
}

fn number(line: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        // Writing to memory cannot fail. As many digits as tell it from all other numbers.
        let _ = write!(line, "{value}");
    } else {
        line.extend_from_slice(b"null");
    }
}

fn text(line: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(line, text);
}
