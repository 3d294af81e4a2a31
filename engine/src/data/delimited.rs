//! The reader of tables of text: CSV in its dialects.

use std::io::BufRead;

use super::block::{Block, Need};
use super::config::DataConfig;
use super::quick::Plan;
use super::reader::{Header, Note, Reader, Sink};
use super::source::Source;
use super::style::Style;
use super::table::{KeptRow, Row, Table};
use super::times::{self, FirstTime};

/// Most rows, and about how many bytes of them, that are shown to the sink to judge by.
const SAMPLE: (usize, usize) = (1000, 1 << 17);

/// Text whose cells are separated by a comma, a semicolon, a tab or a bar.
pub(super) struct Delimited;

impl Reader for Delimited {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["csv", "tsv"]
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
        let mut table = Table::open(source.path, source.input)?;
        let (first, end) = first_rows(&mut table);
        let mut sample = Block::new(&vec![Need::Text; table.header().len()]);
        for kept in &first {
            let row = table.row(kept);
            (0..table.header().len()).for_each(|column| sample.push_text(column, row.cell(column)));
            sample.end_row(row.line);
        }
        let header = Header {
            names: table.header(),
            unit: "line",
            delimiter: Some(table.delimiter()),
            sample: Some(&sample),
            classes: &[],
            label: None,
            frame: None,
        };
        let needs = sink.columns(&header)?;
        let mut rows = Rows {
            block: Block::new(&needs.columns),
            style: Style::new(table.delimiter(), needs.thousands),
            first_time: FirstTime::default(),
            needs: needs.columns,
        };
        let read = first.iter().try_for_each(|kept| rows.add(&table.row(kept), sink));
        let read = match read.and(end) {
            Ok(true) => rows.rest_of(table, sink),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        // Rows before a bad one come first: what is wrong with them is to be told first.
        rows.hand_over(sink)?;
        if let Some(decimal) = rows.style.decimal() {
            sink.note(Note::Decimal(decimal));
        }
        read
    }
}

/// The first rows, and whether there are more, or why the next one is none.
fn first_rows(table: &mut Table<impl BufRead>) -> (Vec<KeptRow>, anyhow::Result<bool>) {
    let (mut rows, mut n_bytes) = (Vec::new(), 0);
    while rows.len() < SAMPLE.0 && n_bytes < SAMPLE.1 {
        match table.next_row() {
            Ok(Some(row)) => {
                n_bytes += row.n_bytes();
                rows.push(row.keep());
            }
            Ok(None) => return (rows, Ok(false)),
            Err(error) => return (rows, Err(error)),
        }
    }
    (rows, Ok(true))
}

/// Rows on their way to the sink.
struct Rows {
    needs: Vec<Need>,
    block: Block,
    style: Style,
    first_time: FirstTime,
}

impl Rows {
    fn rest_of(
        &mut self,
        mut table: Table<impl BufRead>,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        if self.style.is_plain() {
            self.hand_over(sink)?;
            let plan = Plan {
                needs: self.needs.clone(),
                delimiter: table.delimiter(),
                first_time: self.first_time,
            };
            table = table.plain_rows(&plan, sink)?;
        } else {
            table.one_by_one();
        }
        while let Some(row) = table.next_row()? {
            self.add(&row, sink)?;
        }
        Ok(())
    }

    fn add(&mut self, row: &Row<'_>, sink: &mut dyn Sink) -> anyhow::Result<()> {
        for column in 0..self.needs.len() {
            match self.needs[column] {
                Need::Number => {
                    self.block.push_number(column, row.value(column, &mut self.style)?);
                }
                Need::Time => {
                    let time = self.time(row, column)?;
                    self.block.push_number(column, time);
                }
                Need::Text => self.block.push_text(column, row.cell(column)),
                Need::Skip => {}
            }
        }
        self.block.end_row(row.line);
        if self.block.is_full() { self.hand_over(sink) } else { Ok(()) }
    }

    /// A time that is written as the others are.
    fn time(&mut self, row: &Row<'_>, column: usize) -> anyhow::Result<f64> {
        let read = self.first_time.take(times::parse(row.cell(column)), "line", row.line);
        let (kind, time) = read.map_err(|reason| row.error(column, &reason))?;
        self.block.time_kind = Some(kind);
        Ok(time)
    }

    fn hand_over(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        self.block.drop_unfinished();
        let taken = if self.block.n_rows() > 0 { sink.rows(&self.block) } else { Ok(()) };
        // What was refused is not handed over again.
        self.block.clear();
        taken
    }
}
