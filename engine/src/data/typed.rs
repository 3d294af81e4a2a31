//! Cells of formats that know types, on their way into blocks.

use std::path::Path;

use super::block::{Block, Need};
use super::number;
use super::reader::{Needs, Sink, at_cell};
use super::times::{self, FirstTime, TimeKind};

/// A cell as a format that knows types has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'c> {
    /// Nothing.
    Missing,
    /// A number; NaN is a missing one.
    Number(f64),
    /// A whole number, which may be the name of a series or a class.
    Whole(i128),
    /// False or true: 0 or 1 where a number is needed.
    Flag(bool),
    /// Seconds since 1970.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "JSON has no dates"))]
    Date(f64),
    /// Text; no number, whatever it holds.
    Text(&'c [u8]),
}

impl Cell<'_> {
    /// As a value.
    pub(super) fn number(self) -> Result<f64, String> {
        match self {
            Self::Missing => Ok(f64::NAN),
            Self::Number(number) | Self::Date(number) => number::in_range(number),
            Self::Whole(number) => Ok(number as f64),
            Self::Flag(flag) => Ok(f64::from(u8::from(flag))),
            Self::Text(text) => Err(format!(
                "expected a number, found the text {}; write numbers as numbers, or leave the column \
                 out with data.channels",
                number::quoted(text)
            )),
        }
    }

    /// As a time and how it is written; nothing for a missing one.
    fn time(self) -> Option<(TimeKind, f64)> {
        match self {
            Self::Missing => None,
            Self::Number(number) if number.is_nan() => None,
            Self::Number(number) => Some((TimeKind::Number, number)),
            Self::Whole(number) => Some((TimeKind::Number, number as f64)),
            Self::Flag(_) => Some((TimeKind::Text, f64::NAN)),
            Self::Date(seconds) => Some((TimeKind::Date, seconds)),
            Self::Text(text) => times::parse(text),
        }
    }

    /// As text.
    pub(super) fn with_text<T>(self, take: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Missing => take(b""),
            Self::Number(number) if number.is_nan() => take(b""),
            Self::Number(number) => take(number.to_string().as_bytes()),
            Self::Whole(number) => take(number.to_string().as_bytes()),
            Self::Flag(flag) => take(flag.to_string().as_bytes()),
            Self::Date(seconds) => take(times::shown_date(seconds).as_bytes()),
            Self::Text(text) => take(text.trim_ascii()),
        }
    }
}

/// Typed cells on their way to the sink.
pub(super) struct Typed<'p> {
    path: &'p Path,
    unit: &'static str,
    names: Vec<String>,
    needs: Vec<Need>,
    first_time: FirstTime,
    /// The rows at hand.
    pub(super) block: Block,
}

impl<'p> Typed<'p> {
    /// Of a file with such columns, of which that is needed.
    pub(super) fn new(
        path: &'p Path,
        unit: &'static str,
        names: Vec<String>,
        needs: Needs,
    ) -> Self {
        let block = Block::new(&needs.columns);
        let first_time = FirstTime::default();
        Self { path, unit, names, needs: needs.columns, first_time, block }
    }

    /// What is needed of each column.
    pub(super) fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// Adds a cell of the row at hand.
    ///
    /// # Errors
    /// If it is not what is needed.
    pub(super) fn push(
        &mut self,
        place: usize,
        column: usize,
        cell: Cell<'_>,
    ) -> anyhow::Result<()> {
        match self.needs[column] {
            Need::Number => {
                let number = cell.number().map_err(|reason| self.error(place, column, &reason))?;
                self.block.push_number(column, number);
            }
            Need::Time => {
                let read = self.first_time.take(cell.time(), self.unit, place);
                let (kind, time) = read.map_err(|reason| self.error(place, column, &reason))?;
                self.block.time_kind = Some(kind);
                self.block.push_number(column, time);
            }
            Need::Text => cell.with_text(|text| self.block.push_text(column, text)),
            Need::Skip => {}
        }
        Ok(())
    }

    /// Ends the row at hand; hands the block over if it is full.
    #[cfg(feature = "jsonl")]
    pub(super) fn end_row(&mut self, place: usize, sink: &mut dyn Sink) -> anyhow::Result<()> {
        self.block.end_row(place);
        if self.block.is_full() { self.hand_over(sink) } else { Ok(()) }
    }

    /// Hands the rows over that were ended.
    pub(super) fn hand_over(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        self.block.drop_unfinished();
        let taken = if self.block.n_rows() > 0 { sink.rows(&self.block) } else { Ok(()) };
        // What was refused is not handed over again.
        self.block.clear();
        taken
    }

    /// An error at a cell.
    pub(super) fn error(&self, place: usize, column: usize, reason: &str) -> anyhow::Error {
        at_cell(self.path, (self.unit, place), &self.names[column], reason)
    }
}

/// Adds cells to a block whose columns are all text: the first rows, to judge by.
pub(super) fn push_sample(sample: &mut Block, column: usize, cell: Cell<'_>) {
    cell.with_text(|text| sample.push_text(column, text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers_times_and_text() {
        for (cell, number, text) in [
            (Cell::Number(1.5), 1.5, "1.5"),
            (Cell::Number(2.0), 2.0, "2"),
            (Cell::Whole(-9_007_199_254_740_993), -9_007_199_254_740_992.0, "-9007199254740993"),
            (Cell::Flag(true), 1.0, "true"),
            (Cell::Date(86_400.0), 86_400.0, "1970-01-02T00:00:00"),
        ] {
            assert_eq!(cell.number(), Ok(number));
            assert_eq!(cell.with_text(<[u8]>::to_vec), text.as_bytes());
        }
        assert!(Cell::Missing.number().unwrap().is_nan());
        assert!(Cell::Text(b"1.5").number().unwrap_err().contains("found the text \"1.5\""));
        assert!(Cell::Number(f64::INFINITY).number().unwrap_err().contains("finite number"));
        assert_eq!(Cell::Date(5.0).time(), Some((TimeKind::Date, 5.0)));
        assert_eq!(Cell::Text(b" 1970-01-01 00:00:05 ").time(), Some((TimeKind::Date, 5.0)));
        assert_eq!((Cell::Missing.time(), Cell::Number(f64::NAN).time()), (None, None));
    }
}
