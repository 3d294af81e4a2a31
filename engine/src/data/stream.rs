//! A table that never ends: which cell of a line plays which part, read as the cells of files are.

use std::fmt::Write;
use std::path::Path;

use anyhow::{bail, ensure};

use super::columns::{Columns, Names, position, require};
use super::config::DataConfig;
use super::number;
use super::reading::TimeUnit;
use super::select::Accepted;
use super::split::Split;
use super::split_by::SplitBy;
use super::time_column::only_named;
use super::times::{self, TimeKind};

/// A cell of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Cell<'a> {
    /// There is none.
    #[default]
    Absent,
    /// Text as it stands in a table.
    Text(&'a [u8]),
    /// A number that is none of text.
    Number(f64),
}

/// One time step of one series. Reused from line to line.
#[derive(Debug, Clone)]
pub struct StreamRow {
    /// What tells series apart: node and series.
    pub key: Vec<u8>,
    /// The name of the series for people; empty without a series column.
    pub series: String,
    /// What the row is for, where a column says it.
    pub split: Split,
    /// The row's time as it stands, in seconds where the column's name says its unit and for dates.
    pub time: Option<f64>,
    /// Whether these are seconds.
    pub in_seconds: bool,
    /// A value for each channel; NaN is a missing one.
    pub values: Vec<f64>,
}

impl Default for StreamRow {
    fn default() -> Self {
        Self {
            key: Vec::new(),
            series: String::new(),
            split: Split::Unmarked,
            time: None,
            in_seconds: false,
            values: Vec::new(),
        }
    }
}

/// What the columns of a stream are for.
#[derive(Debug, Clone)]
pub struct StreamColumns {
    names: Vec<String>,
    values: Vec<usize>,
    series: Vec<usize>,
    node: Option<usize>,
    split: Option<usize>,
    time: Option<usize>,
    unit: Option<TimeUnit>,
    by: Option<SplitBy>,
    only: Vec<(usize, Accepted)>,
}

impl StreamColumns {
    /// What the columns of a table with this header are for, to a model with these channels.
    ///
    /// # Errors
    /// If a channel is missing, or the model was made on tables that were joined or have numbers in groups.
    pub fn of_header(
        names: Vec<String>,
        config: &DataConfig,
        channels: &[String],
        source: &Path,
    ) -> anyhow::Result<Self> {
        check(config)?;
        let mut columns = Columns::find(source, &names, config, (channels, &[]), true)?;
        let values = channels
            .iter()
            .map(|name| require(source, &names, name, "the model reads it"))
            .collect::<anyhow::Result<Vec<_>>>()?;
        if columns.time.is_none() && config.time.is_none() {
            let taken: Vec<usize> = columns.parts().chain(values.iter().copied()).collect();
            if let Some(column) = only_named(&names, &taken) {
                columns.take_time(column);
            }
        }
        let only = config.only.iter().map(|(name, accepted)| {
            Ok((require(source, &names, name, "data.where names it")?, accepted.clone()))
        });
        let only = only.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            unit: columns.time.and_then(|column| TimeUnit::of_name(&names[column])),
            series: columns.series,
            node: columns.node,
            split: columns.split,
            time: columns.time,
            by: config.split.clone(),
            names,
            values,
            only,
        })
    }

    /// The same for lines that name their cells: all names that such a line may have.
    ///
    /// # Errors
    /// As [`of_header`](Self::of_header).
    pub fn of_names(config: &DataConfig, channels: &[String]) -> anyhow::Result<Self> {
        let parts = Names::of(config, channels);
        let mut names = channels.to_vec();
        let series = config.series.as_ref().map(|by| by.columns().to_vec());
        let series = series.unwrap_or_else(|| parts.series.into_iter().collect());
        let others = [parts.time, parts.split, parts.node].into_iter().flatten();
        for name in series.into_iter().chain(others).chain(config.only.keys().cloned()) {
            if position(&names, &name).is_none() {
                names.push(name);
            }
        }
        Self::of_header(names, config, channels, Path::new("the stream"))
    }

    /// The columns' names, in the order of the cells of a row.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The places of the channels.
    pub fn channels(&self) -> &[usize] {
        &self.values
    }

    /// Reads the cells of a line; says whether its row is one of those that are read.
    ///
    /// # Errors
    /// If the cells are no row: the message says which cell is wrong.
    pub fn read<'a>(
        &self,
        cell: impl Fn(usize) -> Cell<'a>,
        row: &mut StreamRow,
    ) -> Result<bool, String> {
        for (column, accepted) in &self.only {
            let has = match cell(*column) {
                Cell::Absent => false,
                Cell::Text(text) => accepted.has(text),
                Cell::Number(number) => accepted.has_number(number),
            };
            if !has {
                return Ok(false);
            }
        }
        row.split = match self.split.map(&cell) {
            None | Some(Cell::Absent) => Split::Unmarked,
            Some(cell) => match self.split_of(cell)? {
                Some(split) => split,
                None => return Ok(false),
            },
        };
        self.name(&cell, row)?;
        (row.time, row.in_seconds) = match self.time {
            None => (None, false),
            Some(column) => self.time_of(cell(column), &self.names[column])?,
        };
        row.values.clear();
        for &column in &self.values {
            let value = match cell(column) {
                Cell::Absent => Ok(f64::NAN),
                Cell::Text(text) => number::parse(text),
                Cell::Number(number) if (number as f32).is_infinite() => {
                    Err(format!("expected a finite number within ±3.4e38, found {number:e}"))
                }
                Cell::Number(number) => Ok(number),
            };
            row.values.push(value.map_err(|why| format!("{}: {why}", self.names[column]))?);
        }
        Ok(true)
    }

    /// What a cell says the row is for; nothing if such rows are left out.
    fn split_of(&self, cell: Cell<'_>) -> Result<Option<Split>, String> {
        let text;
        let cell = match cell {
            Cell::Text(text) => text,
            Cell::Absent => b"",
            Cell::Number(number) => {
                text = number.to_string();
                text.as_bytes()
            }
        };
        match &self.by {
            Some(SplitBy::Cells { test, .. }) if test.has(cell) => Ok(Some(Split::Test)),
            Some(SplitBy::Cells { train: Some(train), .. }) if !train.has(cell) => Ok(None),
            Some(SplitBy::Cells { .. }) => Ok(Some(Split::Train)),
            _ => Split::of_cell(cell).map(Some).ok_or_else(|| {
                format!("expected train, test or unmarked, found {}", number::quoted(cell))
            }),
        }
    }

    /// Puts together what tells series apart.
    fn name<'a>(
        &self,
        cell: impl Fn(usize) -> Cell<'a>,
        row: &mut StreamRow,
    ) -> Result<(), String> {
        row.key.clear();
        row.series.clear();
        let columns = self.node.iter().chain(&self.series);
        for (i, &column) in columns.enumerate() {
            let of_series = i >= usize::from(self.node.is_some());
            if of_series && !row.series.is_empty() {
                row.series.push('/');
            }
            let start = row.series.len();
            match cell(column) {
                Cell::Text(text) if !text.is_empty() => {
                    let text = std::str::from_utf8(text)
                        .map_err(|_| format!("{}: not UTF-8 text", self.names[column]))?;
                    row.series.push_str(text);
                }
                Cell::Number(number) => {
                    // Writing to a text cannot fail.
                    let _ = write!(row.series, "{number}");
                }
                // Of a line that names its cells: it has no such part.
                Cell::Absent => {}
                Cell::Text(_) => {
                    return Err(format!("{}: the cell is empty", self.names[column]));
                }
            }
            let part = &row.series.as_bytes()[start..];
            row.key.extend_from_slice(&part.len().to_le_bytes());
            row.key.extend_from_slice(part);
            if !of_series {
                row.series.clear();
            }
        }
        Ok(())
    }

    /// A cell as a time, and whether it is in seconds.
    fn time_of(&self, cell: Cell<'_>, name: &str) -> Result<(Option<f64>, bool), String> {
        let (kind, time) = match cell {
            Cell::Absent => return Ok((None, false)),
            Cell::Number(number) => (TimeKind::Number, number),
            Cell::Text(text) => match times::parse(text) {
                Some(found) => found,
                None => return Ok((None, false)),
            },
        };
        match (kind, self.unit) {
            (TimeKind::Text, _) => Err(format!("{name}: the time is {}", kind.noun())),
            (TimeKind::Date | TimeKind::OffsetDate, _) => Ok((Some(time), true)),
            (TimeKind::Number, Some(unit)) => Ok((Some(time * unit.seconds()), true)),
            (TimeKind::Number, None) => Ok((Some(time), false)),
        }
    }
}

/// Refuses what needs more than one line at a time.
fn check(config: &DataConfig) -> anyhow::Result<()> {
    ensure!(
        config.join.is_empty(),
        "the model was made on tables that are joined by time ([data] join), which a stream is not: join the rows \
         before they are sent, and train on such a table"
    );
    if config.thousands.is_some() {
        bail!("numbers with thousands in groups ([data] thousands) are not read from a stream");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &str, config: &DataConfig) -> StreamColumns {
        let names = header.split(',').map(str::to_owned).collect();
        let channels = ["x", "y"].map(str::to_owned);
        StreamColumns::of_header(names, config, &channels, Path::new("stdin")).expect("a header")
    }

    fn read(columns: &StreamColumns, line: &str) -> Result<Option<StreamRow>, String> {
        let cells: Vec<Cell<'_>> =
            line.split(',').map(|cell| Cell::Text(cell.as_bytes())).collect();
        let mut row = StreamRow::default();
        columns.read(|at| cells[at], &mut row).map(|wanted| wanted.then_some(row))
    }

    #[test]
    fn parts_are_those_of_a_file() {
        let columns = columns("y,series,t_ms,split,x,node", &DataConfig::default());
        let row = read(&columns, "2,s,1500,TEST,?,n").expect("a row").expect("wanted");
        assert_eq!((&*row.series, row.split), ("s", Split::Test));
        assert_eq!((row.time, row.in_seconds), (Some(1.5), true));
        assert!(row.values[0].is_nan() && row.values[1].to_bits() == 2_f64.to_bits());
        let other = read(&columns, "2,s,1500,TEST,?,m").expect("a row").expect("wanted");
        assert_ne!(row.key, other.key, "series of another node");
        for (line, part) in [
            ("2,,0,test,1,n", "series: the cell is empty"),
            ("2,s,0,maybe,1,n", "found \"maybe\""),
            ("2,s,noon,test,1,n", "no time"),
            ("2,s,0,test,1e39,n", "x: expected a finite number"),
            ("two,s,0,test,1,n", "y: expected a number"),
        ] {
            let error = read(&columns, line).expect_err(line);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn rows_that_are_not_wanted_are_none() {
        let config: DataConfig = serde_json::from_value(serde_json::json!({
            "where": { "kind": ["a", 1] },
            "split": { "column": "fold", "test": [4], "train": [0] },
        }))
        .expect("a section");
        let columns = columns("kind,fold,x,y", &config);
        let split = |line: &str| read(&columns, line).expect("a row").map(|row| row.split);
        assert_eq!(split("a,4,1,1"), Some(Split::Test));
        assert_eq!(split("1.0,0,1,1"), Some(Split::Train));
        assert_eq!((split("a,3,1,1"), split("b,4,1,1")), (None, None));
    }

    #[test]
    fn lines_that_name_their_cells_have_the_same_parts() {
        let channels = ["x", "y"].map(str::to_owned);
        let columns = StreamColumns::of_names(&DataConfig::default(), &channels).expect("names");
        assert_eq!(columns.names(), ["x", "y", "series", "t", "split", "node"]);
    }
}
