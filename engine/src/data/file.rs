//! One file on its way into a data set: what its cells mean, whatever its layout.

use std::path::Path;

use anyhow::anyhow;

use super::block::{Block, Need};
use super::collect::Collector;
use super::columns::Columns;
use super::config::Format;
use super::files;
use super::join::Joined;
use super::listing::Told;
use super::number::quoted;
use super::reader::at_cell;
use super::reading::{FileRead, Layout, Reading, Roles, Selection};
use super::row_split::RowSplit;
use super::runs::Runs;
use super::select::{Accepted, is_nothing};
use super::split::Split;
use super::split_by::SplitBy;

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
    /// What is joined to its rows.
    pub(super) joined: Joined,
    /// Columns, and the cells of rows that are read.
    pub(super) only: Vec<(usize, &'a Accepted)>,
    /// The split column, where both sides are listed and other rows are left out.
    pub(super) sides: Option<usize>,
    /// What of it was chosen.
    pub(super) selection: Selection,
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
            series: self.series_column(columns),
            time: name(columns.time),
            label: name(columns.label),
            split: name(columns.split),
            node: name(columns.node),
        });
        let delimiter = delimiter.map(char::from);
        let mut selection = std::mem::take(&mut self.selection);
        selection.split_by = self.split_by(columns.and_then(|columns| columns.split));
        let (decimal, time_unit) = (None, None);
        let reading = Reading { layout, delimiter, decimal, time_unit, roles, selection };
        self.all.readings.push(FileRead::new(self.path.to_owned(), reading));
    }

    /// The names of some columns.
    pub(super) fn texts_of(&self, columns: &[usize]) -> Vec<String> {
        columns.iter().map(|&column| self.header[column].clone()).collect()
    }

    /// Whether the configuration says how the rows of a table are laid out.
    pub(super) fn selection_is_said(&self) -> bool {
        let config = self.all.config;
        let is_laid_out =
            config.wide_order.is_some() || config.wide_channels != 1 || config.picture.is_some();
        config.format == Format::Wide || config.channels.is_some() || is_laid_out
    }

    /// What the series column, or several together, are called.
    fn series_column(&self, columns: &Columns) -> Option<String> {
        let names: Vec<&str> =
            columns.series.iter().map(|&column| self.header[column].as_str()).collect();
        (!names.is_empty()).then(|| names.join("/"))
    }

    /// What says which rows are for the test, for people.
    fn split_by(&self, column: Option<usize>) -> Option<String> {
        match (&self.all.config.split, column) {
            (Some(by @ (SplitBy::Fraction { .. } | SplitBy::After(_))), _)
            | (Some(by), Some(_)) => Some(by.words()),
            (None, Some(column)) => Some(format!("the column {:?}", self.header[column])),
            (_, None) if self.told.of_all().mark.is_some() => Some("a table of files".to_owned()),
            (_, None) => files::Named::of(self.path).by.map(str::to_owned),
        }
    }

    /// Whether some rows are left out.
    pub(super) fn chooses_rows(&self) -> bool {
        !self.only.is_empty() || self.sides.is_some()
    }

    /// Whether a row is one of those that are read; counts it if not.
    pub(super) fn is_wanted(&mut self, block: &Block, row: usize) -> bool {
        let fits = |&(column, accepted): &(usize, &Accepted)| match block.numbers(column) {
            [] => accepted.has(block.text(column, row)),
            numbers => accepted.has_number(numbers[row]),
        };
        let wanted = self.only.iter().all(fits);
        if !wanted {
            self.amend(|read| read.not_wanted += 1);
            return false;
        }
        let has_side = |column: usize| match &self.all.config.split {
            Some(by) => by.has_side(block.text(column, row)),
            None => true,
        };
        let has_side = self.sides.is_none_or(has_side);
        if !has_side {
            self.amend(|read| read.left_out += 1);
        }
        has_side
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
        let texts = [columns.node, columns.split, self.label_of(columns)];
        let only = self.only.iter().map(|&(column, _)| column);
        let texts = texts.into_iter().flatten().chain(columns.series.iter().copied()).chain(only);
        for column in texts {
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

    /// The split of a sample of a file that is no table.
    pub(super) fn split_of_sample(&self, node: Option<&str>, series: &str) -> Split {
        match RowSplit::of(self.all.config.split.as_ref(), None, self.of_whole) {
            RowSplit::Series(chance) => chance.split(&files::stem_of(self.path), node, series),
            _ => self.of_whole,
        }
    }

    /// The split of a row by a cell of a column.
    pub(super) fn split(
        &mut self,
        block: &Block,
        row: usize,
        column: usize,
    ) -> anyhow::Result<Split> {
        let cell = block.text(column, row);
        if let Some(SplitBy::Cells { test, train, .. }) = &self.all.config.split {
            return Ok(match train {
                _ if test.has(cell) => Split::Test,
                Some(train) if train.has(cell) => Split::Train,
                None if !is_nothing(cell) => Split::Train,
                _ => Split::Unmarked,
            });
        }
        let split = Split::of_cell(cell);
        if split.is_none()
            && let Some(notes) = &mut self.all.notes
        {
            notes.split(cell);
            return Ok(Split::Unmarked);
        }
        split.ok_or_else(|| {
            let name = &self.header[column];
            self.error(
                block.place(row),
                column,
                &format!(
                    "expected \"train\", \"test\" or \"unmarked\", found {}; correct the cell, or list in \
                     [data] the cells of rows for the test and of rows to train on, so that others are left \
                     out: split = {{ column = {name:?}, test = [\"test\"], train = [\"train\"] }}",
                    quoted(cell),
                ),
            )
        })
    }

    /// The name of the series of a row, by its columns; none if there is none.
    pub(super) fn series(
        &self,
        block: &Block,
        row: usize,
        columns: &[usize],
    ) -> anyhow::Result<Option<String>> {
        let cells = columns.iter().map(|&column| self.id(block, row, column));
        let cells = cells.collect::<anyhow::Result<Vec<_>>>()?;
        Ok((!cells.is_empty()).then(|| cells.join("/")))
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
