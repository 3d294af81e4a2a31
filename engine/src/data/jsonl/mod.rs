//! The reader of JSON lines: one object a line, one row of a table.

mod row;

use std::io::{BufRead, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail};

use super::block::{Block, Need};
use super::config::DataConfig;
use super::lines::{TOO_LONG, skip_bom};
use super::reader::{Header, Reader, Sink};
use super::source::{MAX_ROW, Source};
use super::typed::{Typed, push_sample};
use row::{Layout, Row};

/// Most lines whose keys make the columns, and about how many bytes of them.
const FIRST: (usize, usize) = (1000, 1 << 24);

/// One object a line; objects in it and arrays of numbers are columns of their own, `acc.x` and `acc.0`.
///
/// The keys of the first 1,000 lines are the columns, in the order in which they appear; a key that a
/// line lacks is a missing value.
pub(super) struct JsonLines;

impl Reader for JsonLines {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["jsonl", "ndjson"]
    }

    fn is_table(&self) -> bool {
        true
    }

    fn read(
        &self,
        source: Source<'_>,
        _config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let mut lines = Lines::open(source)?;
        let path = lines.path;
        let (mut layout, mut row) = (Layout::default(), Row::default());
        let (first, end) = lines.first(&mut layout, &mut row);
        if first.is_empty() || layout.names().is_empty() {
            end?;
            bail!("{}: no lines with values; expected one JSON object a line", path.display());
        }
        layout.close();
        let n_columns = layout.names().len();
        let mut sample = Block::new(&vec![Need::Text; n_columns]);
        for (line, text) in &first {
            if sample.is_full() {
                break;
            }
            layout.read(*line, text, &mut row).map_err(|reason| at_line(path, *line, &reason))?;
            (0..n_columns).for_each(|column| push_sample(&mut sample, column, row.cell(column)));
            sample.end_row(*line);
        }
        let (unit, names) = ("line", layout.names());
        let header = Header {
            names,
            unit,
            delimiter: None,
            sample: Some(&sample),
            classes: &[],
            label: None,
            frame: None,
        };
        let needs = sink.columns(&header)?;
        let mut typed = Typed::new(path, unit, names.to_vec(), needs);
        let read = first.into_iter().try_for_each(|(line, text)| {
            layout.read(line, &text, &mut row).map_err(|reason| at_line(path, line, &reason))?;
            push(&mut typed, line, &row, sink)
        });
        let read = match read.and(end) {
            Ok(true) => lines.rest(|line, text| {
                layout.read(line, text, &mut row).map_err(|reason| at_line(path, line, &reason))?;
                push(&mut typed, line, &row, sink)
            }),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        // Rows before a bad one come first: what is wrong with them is to be told first.
        typed.hand_over(sink)?;
        read
    }
}

fn push(typed: &mut Typed<'_>, line: usize, row: &Row, sink: &mut dyn Sink) -> anyhow::Result<()> {
    (0..typed.needs().len()).try_for_each(|column| typed.push(line, column, row.cell(column)))?;
    typed.end_row(line, sink)
}

fn at_line(path: &Path, line: usize, reason: &str) -> anyhow::Error {
    anyhow!("{}: line {line}: {reason}", path.display())
}

/// A line that is kept, with its number.
type Kept = (usize, Vec<u8>);

/// The lines of a file that are not empty.
struct Lines<'s> {
    path: &'s Path,
    input: Box<dyn BufRead + 's>,
    buffer: Vec<u8>,
    line: usize,
}

impl<'s> Lines<'s> {
    fn open(source: Source<'s>) -> anyhow::Result<Self> {
        let Source { path, mut input } = source;
        skip_bom(&mut input).with_context(|| unreadable(path))?;
        Ok(Self { path, input, buffer: Vec::new(), line: 0 })
    }

    /// Reads the next line into the buffer; false at the end of the file.
    fn advance(&mut self) -> anyhow::Result<bool> {
        loop {
            self.buffer.clear();
            let read = self.input.by_ref().take(MAX_ROW).read_until(b'\n', &mut self.buffer);
            let n_bytes = read.with_context(|| unreadable(self.path))?;
            if n_bytes == 0 {
                return Ok(false);
            }
            self.line += 1;
            if n_bytes as u64 == MAX_ROW {
                return Err(at_line(self.path, self.line, TOO_LONG));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// The first lines, whose keys make the columns, and whether there are more, or why the next one is
    /// none.
    fn first(&mut self, layout: &mut Layout, row: &mut Row) -> (Vec<Kept>, anyhow::Result<bool>) {
        let (mut kept, mut n_bytes) = (Vec::new(), 0);
        while kept.len() < FIRST.0 && n_bytes < FIRST.1 {
            match self.advance() {
                Ok(true) => {}
                end => return (kept, end),
            }
            if let Err(reason) = layout.read(self.line, &self.buffer, row) {
                return (kept, Err(at_line(self.path, self.line, &reason)));
            }
            n_bytes += self.buffer.len();
            kept.push((self.line, self.buffer.clone()));
        }
        (kept, Ok(true))
    }

    /// The other lines.
    fn rest(
        &mut self,
        mut take: impl FnMut(usize, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        while self.advance()? {
            take(self.line, &self.buffer)?;
        }
        Ok(())
    }
}

fn unreadable(path: &Path) -> String {
    format!("{}: cannot read the file", path.display())
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, Dataset, Labels, read_inline};
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Dataset, String> {
        read_inline(&[("x.jsonl", text.as_bytes())], &DataConfig::default(), None)
    }

    #[test]
    fn objects_are_rows_and_nested_ones_columns() {
        let text = "\u{feff}{\"t\": 0, \"acc\": {\"x\": 1, \"y\": [2, 2.5]}, \"label\": \"run\"}\r\n\n\
                    {\"acc\": {\"y\": [null, 4], \"x\": true}, \"t\": 1, \"label\": \"run\"}\n\
                    {\"t\": 2, \"label\": \"run\"}";
        let data = read(text).unwrap();
        assert_eq!(data.channels, ["acc.x", "acc.y.0", "acc.y.1"]);
        let [segment] = &data.segments[..] else { panic!("{data:?}") };
        assert_eq!((&segment.values[..4], segment.values[5]), (&[1., 2., 2.5, 1.][..], 4.));
        assert!(segment.values[4].is_nan() && segment.values[6..].iter().all(|x| x.is_nan()));
        assert_eq!((segment.labels.clone(), segment.first_line), (Labels::One(0), 1));
    }

    #[test]
    fn rows_without_times_are_samples() {
        let data = read("{\"p0\":1,\"p1\":2,\"label\":7}\n{\"p0\":3,\"label\":10}\n").unwrap();
        assert_eq!(
            (data.segments.len(), &data.classes[..]),
            (2, &["7".to_owned(), "10".to_owned()][..])
        );
        let data = read("{\"timestamp\":\"2016-07-01 00:00:00\",\"v\":1}\n{\"timestamp\":\"2016-07-01 01:00:00\",\"v\":2}\n").unwrap();
        assert_eq!((data.segments.len(), &data.segments[0].values[..]), (1, &[1., 2.][..]));
        assert_eq!(data.segments[0].times.as_deref().unwrap()[1..], [1_467_334_800.0]);
    }

    #[test]
    fn damage_names_line_and_column() {
        for (text, reason) in [
            ("", "x.jsonl: no lines with values"),
            ("{}\n{}\n", "x.jsonl: no lines with values"),
            ("[1,2]\n", "line 1: expected an object"),
            ("3\n", "line 1: expected an object"),
            ("{\"t\":0,\"x\":1}\n{\"t\":1,\"x\"\n", "line 2: no JSON object: EOF"),
            ("{\"t\":0,\"x\":1} x\n", "line 1: no JSON object: trailing characters (byte 15)"),
            ("{\"t\":0,\"x\":NaN}\n", "line 1: no JSON object: expected value"),
            (
                "{\"t\":0,\"x\":\"1.5\"}\n",
                "line 1, column \"x\": expected a number, found the text \"1.5\"",
            ),
            ("{\"t\":0,\"x\":1e39}\n", "line 1, column \"x\": expected a finite number"),
            ("{\"t\":0,\"x\":1e999}\n", "line 1: no JSON object: number out of range"),
            ("{\"t\":0,\"x\":1,\"x\":2}\n", "line 1: column \"x\": the line has it twice"),
            (
                "{\"t\":0,\"x.y\":1,\"x\":{\"y\":1}}\n",
                "line 1: column \"x.y\": the line has it twice",
            ),
            (
                "{\"t\":0,\"x\":[1,2]}\n{\"t\":1,\"x\":[1]}\n",
                "line 2: column \"x\": an array of 1, but that of line 1 has 2",
            ),
            ("{\"t\":0,\"x\":1}\n{\"x\":1}\n", "line 2, column \"t\": the cell is empty"),
            ("{\"t\":1,\"x\":1}\n{\"t\":0,\"x\":1}\n", "line 2"),
            ("{\"t\":0,\"x\":\"\\ud800\"}\n", "line 1: no JSON object"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("x.jsonl: ") && error.contains(reason), "{text}: {error}");
        }
        let error =
            read_inline(&[("x.jsonl", b"{\"t\":0,\"\xff\":1}\n")], &DataConfig::default(), None);
        assert!(error.unwrap_err().contains("line 1: no JSON object"));
    }

    #[test]
    fn a_key_that_comes_late_is_named() {
        let mut text = String::new();
        (0..1000).for_each(|t| text.push_str(&format!("{{\"t\":{t},\"x\":1}}\n")));
        assert_eq!(read(&text).unwrap().segments[0].values.len(), 1000);
        text.push_str("{\"t\":1000,\"x\":1,\"y\":2}\n");
        let error = read(&text).unwrap_err();
        assert!(error.contains("line 1001: column \"y\": a channel that appears later"), "{error}");
    }

    #[test]
    fn keys_without_end_are_no_columns() {
        let mut text = String::new();
        for i in 0..70 {
            text.push('{');
            (0..1000).for_each(|k| text.push_str(&format!("\"k{i}_{k}\":1,")));
            text.push_str("\"x\":1}\n");
        }
        let error = read(&text).unwrap_err();
        assert!(error.contains("line 66") && error.contains("different keys"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_returns(text in "[\\[\\]{}\":,.0-9a-c \n]{0,80}") {
            let _ = read(&text);
        }
    }
}
