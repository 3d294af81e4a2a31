//! One file on its way into a data set: what its cells mean, whatever its layout.

use std::path::Path;

use anyhow::anyhow;

use super::block::{Block, Need};
use super::collect::Collector;
use super::columns::Columns;
use super::listing::Told;
use super::number::quoted;
use super::reader::at_cell;
use super::reading::{FileRead, Layout, Reading, Roles};
use super::runs::Runs;
use super::split::Split;

/// The file that is read, and where its rows go.
pub(super) struct File<'f, 'a> {
    pub(super) path: &'f Path,
    /// What places are called.
    pub(super) unit: &'static str,
    /// The split of all rows: what a table says of the file, else what its name says.
    pub(super) of_whole: Split,
    /// Names of the columns.
    pub(super) header: Vec<String>,
    /// What tables say of the file.
    pub(super) told: Told,
    /// What all files have in common.
    pub(super) all: &'f mut Collector<'a>,
    /// Where the rows go.
    pub(super) runs: &'f mut dyn Runs,
}

impl File<'_, '_> {
    /// Notes how the file is read.
    pub(super) fn note(
        &mut self,
        layout: Layout,
        delimiter: Option<u8>,
        columns: Option<&Columns>,
    ) {
        let name = |column: Option<usize>| column.map(|column| self.header[column].clone());
        let roles = columns.map_or_else(Roles::default, |columns| Roles {
            series: name(columns.series),
            time: name(columns.time),
            label: name(columns.label),
            split: name(columns.split),
            node: name(columns.node),
        });
        let delimiter = delimiter.map(char::from);
        let reading = Reading { layout, delimiter, decimal: None, time_unit: None, roles };
        let path = self.path.to_owned();
        let (doubled_times, first_doubled, left_out) = (0, None, 0);
        self.all.readings.push(FileRead { path, reading, doubled_times, first_doubled, left_out });
    }

    /// Changes what was noted.
    pub(super) fn amend(&mut self, change: impl FnOnce(&mut FileRead)) {
        if let Some(file) = self.all.readings.last_mut() {
            change(file);
        }
    }

    /// What a table's layout needs of each column: its `values` as numbers, the time as `time`.
    pub(super) fn needs(&self, columns: &Columns, values: &[usize], time: Need) -> Vec<Need> {
        let mut needs = vec![Need::Skip; self.header.len()];
        let texts = [columns.series, columns.node, columns.split, self.label_of(columns)];
        for column in texts.into_iter().flatten() {
            needs[column] = Need::Text;
        }
        if let Some(column) = columns.time {
            needs[column] = time;
        }
        for &column in values {
            needs[column] = Need::Number;
        }
        needs
    }

    /// The label column, where labels have a use.
    pub(super) fn label_of(&self, columns: &Columns) -> Option<usize> {
        columns.label.filter(|_| !self.all.classes.ignored())
    }

    /// The split of a row: its cell, else the file's.
    pub(super) fn split(
        &self,
        block: &Block,
        row: usize,
        column: Option<usize>,
    ) -> anyhow::Result<Split> {
        let Some(column) = column else { return Ok(self.of_whole) };
        let cell = block.text(column, row);
        Split::of_cell(cell).ok_or_else(|| {
            self.error(
                block.place(row),
                column,
                &format!(
                    "expected \"train\", \"test\" or \"unmarked\", found {}; correct the cell",
                    quoted(cell)
                ),
            )
        })
    }

    /// A cell as the name of a series or a node.
    pub(super) fn id(&self, block: &Block, row: usize, column: usize) -> anyhow::Result<String> {
        let cell = block.text(column, row);
        let error = |reason: &str| self.error(block.place(row), column, reason);
        match std::str::from_utf8(cell) {
            Ok("") => Err(error("the cell is empty; every row needs one here, fill it in")),
            Ok(id) => Ok(id.to_owned()),
            Err(_) => Err(error(&format!(
                "{} is not UTF-8 text; convert the file to UTF-8",
                quoted(cell)
            ))),
        }
    }

    /// A cell as the class of a row.
    pub(super) fn class(
        &mut self,
        block: &Block,
        row: usize,
        column: usize,
    ) -> anyhow::Result<Option<u32>> {
        let class = self.all.classes.class_of(block.text(column, row));
        class.map_err(|reason| self.error(block.place(row), column, &reason))
    }

    /// An error at a cell.
    pub(super) fn error(&self, place: usize, column: usize, reason: &str) -> anyhow::Error {
        at_cell(self.path, (self.unit, place), &self.header[column], reason)
    }

    /// An error at a place.
    pub(super) fn error_at(&self, place: usize, reason: &str) -> anyhow::Error {
        anyhow!("{}: {} {place}: {reason}", self.path.display(), self.unit)
    }
}
