//! A CSV table: its header, and its rows one at a time with their line numbers.

use std::collections::HashSet;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use csv::ByteRecord;

use super::lines::UniformLineEnds;
use super::pieces;
use super::preamble::{NoTable, Preamble, skip_preamble};
use super::quick::Plan;
use super::reader::{Sink, at_cell};
use super::replay::Replay;
use super::source::MAX_ROW;
use super::style::Style;

/// An open table whose header has been read.
pub(super) struct Table<R> {
    path: PathBuf,
    header: Vec<String>,
    delimiter: u8,
    /// Lines before the header.
    skipped: usize,
    rows: csv::Reader<Replay<UniformLineEnds<R>>>,
    record: ByteRecord,
    n_rows: usize,
}

/// One row of a table.
pub(super) struct Row<'a> {
    /// The line of the file where the row starts; the file's first line is 1.
    pub(super) line: usize,
    /// Counted from 1, without the header and blank lines.
    pub(super) number: usize,
    path: &'a Path,
    header: &'a [String],
    fields: &'a ByteRecord,
}

/// A row that was kept to be looked at again.
pub(super) struct KeptRow {
    line: usize,
    number: usize,
    fields: ByteRecord,
}

impl<R: BufRead> Table<R> {
    /// Reads the header. Fields are separated by what a line `sep=` says, else by what separates most
    /// names in the header: comma, semicolon, tab or bar. Comment lines before it are passed over.
    pub(super) fn open(path: &Path, mut input: R) -> anyhow::Result<Self> {
        let unreadable = || format!("{}: cannot read the file", path.display());
        let Preamble { delimiter, n_lines } = match skip_preamble(&mut input) {
            Ok(preamble) => preamble,
            Err(NoTable::Unreadable(error)) => return Err(error).with_context(unreadable),
            Err(NoTable::IsOther(what)) => bail!("{}: the file is {what}", path.display()),
        };
        let rows = csv_rows(delimiter, Replay::new(UniformLineEnds::new(input)));
        let mut table = Self {
            path: path.to_owned(),
            header: Vec::new(),
            delimiter,
            skipped: n_lines,
            rows,
            record: ByteRecord::new(),
            n_rows: 0,
        };
        table.rows.get_mut().input.allow(MAX_ROW);
        if !table.rows.read_byte_record(&mut table.record).with_context(unreadable)? {
            bail!(
                "{}: the file is empty; expected a header line with column names",
                path.display()
            );
        }
        for field in &table.record {
            match std::str::from_utf8(field) {
                Ok(name) if !name.contains('\0') => table.header.push(name.trim().to_owned()),
                _ => bail!(
                    "{}: the header is not UTF-8 text; convert the file to UTF-8 CSV, or check \
                     that it is a table{}",
                    path.display(),
                    of_a_record(path)
                ),
            }
        }
        check_names(path, &table.header)?;
        Ok(table)
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// What separates the cells.
    pub(super) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The next row; blank lines are passed over. `None` at the end.
    ///
    /// # Errors
    /// A row with more or fewer fields than the header, a file that cannot be read, and an end
    /// without a single row.
    pub(super) fn next_row(&mut self) -> anyhow::Result<Option<Row<'_>>> {
        loop {
            self.rows.get_mut().input.allow(MAX_ROW);
            let more = self
                .rows
                .read_byte_record(&mut self.record)
                .with_context(|| format!("{}: cannot read the file", self.path.display()))?;
            if !more {
                if self.n_rows == 0 {
                    bail!(
                        "{}: only a header, no rows; add data or leave the file out",
                        self.path.display()
                    );
                }
                return Ok(None);
            }
            let blank = self.record.len() == 1
                && self.header.len() > 1
                && self.record[0].trim_ascii().is_empty();
            if !blank {
                break;
            }
        }
        // From the line behind the row back to its start. The reader's own start lies before blank
        // lines; it counts for a quote that is never closed, as that row takes the last line end
        // too.
        let ends = self.record.as_slice().iter().map(|&byte| usize::from(byte == b'\n'));
        let inner: usize = ends.sum();
        let start = self.record.position().map_or(1, |position| position.line() as usize);
        let line = (self.rows.position().line() as usize).saturating_sub(1 + inner).max(start);
        let line = line + self.skipped;
        if self.record.len() != self.header.len() {
            bail!(
                "{}: line {line}: expected {} fields as in the header, found {}; {}",
                self.path.display(),
                self.header.len(),
                self.record.len(),
                if inner > 0 {
                    "a quote that opens on this line may not be closed"
                } else {
                    "correct the line"
                }
            );
        }
        self.n_rows += 1;
        Ok(Some(Row {
            line,
            number: self.n_rows,
            path: &self.path,
            header: &self.header,
            fields: &self.record,
        }))
    }

    /// Hands the next rows on as long as they are plain, on all threads; what is not comes from
    /// [`next_row`](Self::next_row). To be called once, before more than a few rows were read.
    ///
    /// # Errors
    /// What the sink refuses.
    pub(super) fn plain_rows(mut self, plan: &Plan, sink: &mut dyn Sink) -> anyhow::Result<Self> {
        let position = self.rows.position().clone();
        let mut input = self.rows.into_inner();
        if input.back_to(position.byte() as usize) {
            let mut line = position.line() as usize + self.skipped;
            input.input.allow(u64::MAX);
            pieces::read(&mut input, plan, &mut line, sink)?;
            self.skipped = line - 1;
        }
        self.rows = csv_rows(self.delimiter, input);
        Ok(self)
    }

    /// All rows to come are read one at a time.
    pub(super) fn one_by_one(&mut self) {
        self.rows.get_mut().forget();
    }

    /// A row that was kept.
    pub(super) fn row<'a>(&'a self, kept: &'a KeptRow) -> Row<'a> {
        let KeptRow { line, number, fields } = kept;
        Row { line: *line, number: *number, path: &self.path, header: &self.header, fields }
    }
}

fn csv_rows<R: Read>(delimiter: u8, input: R) -> csv::Reader<R> {
    csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(input)
}

impl Row<'_> {
    /// The column's cell, trimmed.
    pub(super) fn cell(&self, column: usize) -> &[u8] {
        self.fields[column].trim_ascii()
    }

    /// The column's cell as a value, NaN if missing.
    pub(super) fn value(&self, column: usize, style: &mut Style) -> anyhow::Result<f64> {
        let place = || format!("line {}, column {:?}", self.line, self.header[column]);
        style.parse(&self.fields[column], place).map_err(|reason| {
            self.error(
                column,
                &format!(
                    "{reason}; correct the cell, or list the columns that are values in \
                     data.channels"
                ),
            )
        })
    }

    /// How many bytes its cells have.
    pub(super) fn n_bytes(&self) -> usize {
        self.fields.as_slice().len()
    }

    /// A copy, to be looked at again.
    pub(super) fn keep(&self) -> KeptRow {
        KeptRow { line: self.line, number: self.number, fields: self.fields.clone() }
    }

    /// An error at this row and column.
    pub(super) fn error(&self, column: usize, reason: &str) -> anyhow::Error {
        at_cell(self.path, ("line", self.line), &self.header[column], reason)
    }
}

/// What to name instead of a file of signals or annotations.
fn of_a_record(path: &Path) -> String {
    let head = path.with_extension("hea");
    if head.exists() && head != path {
        return format!("; it belongs to the record {}: name that", head.display());
    }
    String::new()
}

/// Names must be distinct, and must be names: a table that starts with data would lose its first
/// row. Columns that are numbered have names.
fn check_names(path: &Path, header: &[String]) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    let numbers: Option<Vec<f64>> = header.iter().map(|name| name.parse().ok()).collect();
    if let Some(numbers) = numbers
        && (numbers.windows(2).any(|pair| (pair[1] - pair[0] - 1.0).abs() > 0.0)
            || matches!(numbers[..], [one] if !(0.0..=1.0).contains(&one)))
    {
        bail!(
            "{}: the first line holds numbers only ({}); add a header line with column names",
            path.display(),
            listed(header)
        );
    }
    for name in header.iter().filter(|name| !name.is_empty()) {
        if !seen.insert(name) {
            bail!("{}: the header has two columns {name:?}; rename one", path.display());
        }
    }
    Ok(())
}

/// Names for a message, cut where there are many.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, … ({} in all)", names.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(text: &[u8]) -> anyhow::Result<Table<&[u8]>> {
        Table::open(Path::new("x.csv"), text)
    }

    /// Every row as (line, cells), or the first error.
    fn rows(text: &[u8]) -> Result<Vec<(usize, Vec<String>)>, String> {
        let mut table = open(text).map_err(|error| format!("{error:#}"))?;
        let mut rows = Vec::new();
        while let Some(row) = table.next_row().map_err(|error| format!("{error:#}"))? {
            assert_eq!(row.number, rows.len() + 1);
            let cells = (0..row.fields.len())
                .map(|column| String::from_utf8_lossy(row.cell(column)).into_owned());
            rows.push((row.line, cells.collect()));
        }
        Ok(rows)
    }

    fn lines(text: &str) -> Vec<usize> {
        rows(text.as_bytes()).unwrap().into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn line_numbers_are_those_of_an_editor() {
        assert_eq!(lines("a,b\n1,2\n3,4\n"), [2, 3]);
        assert_eq!(lines("a,b\n1,2\n3,4"), [2, 3]);
        assert_eq!(lines("a,b\r\n1,2\r\n3,4\r\n"), [2, 3]);
        assert_eq!(lines("a,b\r1,2\r3,4"), [2, 3]);
        assert_eq!(lines("\n\na,b\n1,2\n\n  \n\n3,4\n\n"), [4, 8]);
        assert_eq!(lines("a,b\r\n\r\n1,2\r\n"), [3]);
        assert_eq!(lines("a,b\n\"x\r\ny\",2\n3,4"), [2, 4]);
    }

    #[test]
    fn a_byte_order_mark_and_spaces_are_not_part_of_names() {
        assert_eq!(open(b"\xef\xbb\xbf a , b\n1,2\n").unwrap().header(), ["a", "b"]);
    }

    #[test]
    fn the_header_tells_the_delimiter() {
        for text in ["a,b\n1,2", "a;b\n1;2", "a\tb\n1\t2", "\n a;\"x,y,z\"\n1;2"] {
            assert_eq!(rows(text.as_bytes()).unwrap()[0].1, ["1", "2"], "{text}");
        }
        assert_eq!(open(b"a\n1\n").unwrap().header(), ["a"]);
    }

    #[test]
    fn quoted_fields_are_one_field() {
        assert_eq!(rows(b"a,b\n\"1,5\",\"say \"\"x\"\"\"\n").unwrap()[0].1, ["1,5", "say \"x\""]);
    }

    #[test]
    fn a_ragged_row_names_line_and_counts() {
        let error = rows(b"a,b,c\n1,2,3\n1,2\n").unwrap_err();
        assert!(
            error.starts_with("x.csv: line 3: expected 3 fields as in the header, found 2"),
            "{error}"
        );
        assert!(rows(b"a,b\n1,2,3\n").unwrap_err().contains("line 2: expected 2 fields"));
        let error = rows(b"a,b\n1,2\n\"3,4\n5,6\n").unwrap_err();
        assert!(error.contains("line 3") && error.contains("may not be closed"), "{error}");
    }

    #[test]
    fn what_is_no_table_is_an_error() {
        for text in [&b""[..], b"\n\r\n", b"\xef\xbb\xbf"] {
            assert!(rows(text).unwrap_err().contains("x.csv: the file is empty"), "{text:?}");
        }
        assert!(rows(b"a,b\n").unwrap_err().contains("x.csv: only a header, no rows"));
        assert!(rows(b"\x93NUMPY\x01\0v\0").unwrap_err().contains("the file is a NumPy array"));
        assert!(rows(b"PK\0\0,a\n1,2\n").unwrap_err().contains("not UTF-8 text"));
    }

    #[test]
    fn a_header_must_have_distinct_names() {
        assert!(rows(b"a,b,a\n1,2,3\n").unwrap_err().contains("two columns \"a\""));
        assert!(rows(b"0.5,1.5,1.5\n1,2,3\n").unwrap_err().contains("numbers only"));
        assert_eq!(open(b"0,1,2\n5,6,7\n").unwrap().header(), ["0", "1", "2"]);
        assert_eq!(open(b",a,\n1,2,3\n").unwrap().header(), ["", "a", ""]);
    }

    #[test]
    fn cells_say_where_they_are() {
        let mut table = open(b"name,ax\nb,abc\n").unwrap();
        let row = table.next_row().unwrap().unwrap();
        let error = row.value(1, &mut Style::new(b',', None)).unwrap_err().to_string();
        assert!(
            error.starts_with("x.csv: line 2, column \"ax\": expected a number, found \"abc\"; "),
            "{error}"
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..30).map(|i| format!("p{i}")).collect();
        assert!(listed(&names).ends_with("p18, p19, … (30 in all)"));
        assert_eq!(listed(&names[..2]), "p0, p1");
    }

    fn almost_table() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b"a1,;\t\"\r\n \xef\xbb\xbf"[..]), 0..60)
    }

    proptest! {
        #[test]
        fn any_bytes_return(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = rows(&text);
        }

        #[test]
        fn any_almost_table_returns(text in almost_table()) {
            let _ = rows(&text);
        }
    }
}
