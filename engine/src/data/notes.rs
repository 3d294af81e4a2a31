//! What is noted where a description goes on and training refuses: text, cells that mark no split, and
//! times that run backwards.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::block::Block;
use super::number::is_missing;
use super::style::Style;

/// Most different cells of a column that are kept.
const KEPT: usize = 1000;

/// How many of them are told.
const TOLD: usize = 8;

/// A column of text that has no part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextFound {
    /// Its name.
    pub name: String,
    /// How many different cells it has.
    pub values: usize,
    /// Whether it has more than that, which were not counted.
    pub and_more: bool,
    /// The first of them, sorted.
    pub some: Vec<String>,
}

/// Cells of the split column that say neither train nor test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitCell {
    /// The cell.
    pub cell: String,
    /// Rows that have it; they count as unmarked.
    pub rows: usize,
}

/// What was noted over all files.
#[derive(Debug, Default)]
pub(super) struct Notes {
    texts: BTreeMap<String, Cells>,
    splits: BTreeMap<String, usize>,
    /// How often time ran backwards.
    pub(super) backwards: usize,
    changes: BTreeMap<String, Changes>,
}

/// Different cells of one column.
#[derive(Debug, Default)]
struct Cells {
    found: BTreeSet<Vec<u8>>,
    more: bool,
}

/// How often a column's cell is another than that of the row before.
#[derive(Debug, Default)]
struct Changes {
    /// Where time runs backwards.
    there: usize,
    anywhere: usize,
}

impl Notes {
    /// Counts the cells of columns of text.
    pub(super) fn texts(&mut self, block: &Block, header: &[String], columns: &[usize]) {
        for &column in columns {
            let cells = self.texts.entry(header[column].clone()).or_default();
            for row in 0..block.n_rows() {
                let cell = block.text(column, row);
                if is_missing(cell) || cells.found.contains(cell) {
                    continue;
                }
                if cells.found.len() < KEPT {
                    cells.found.insert(cell.to_vec());
                } else {
                    cells.more = true;
                }
            }
        }
    }

    /// Counts a cell that marks no split.
    pub(super) fn split(&mut self, cell: &[u8]) {
        let cell = String::from_utf8_lossy(cell);
        if let Some(rows) = self.splits.get_mut(&*cell) {
            *rows += 1;
        } else if self.splits.len() < KEPT {
            self.splits.insert(cell.into_owned(), 1);
        }
    }

    /// Counts where columns change: `back` are rows of the block whose time is before that of the row
    /// before.
    pub(super) fn changes(
        &mut self,
        block: &Block,
        header: &[String],
        columns: &[usize],
        back: &[usize],
    ) {
        self.backwards += back.len();
        let is_other = |column: usize, row: usize| match block.numbers(column) {
            [] => block.text(column, row) != block.text(column, row - 1),
            numbers => numbers[row].to_bits() != numbers[row - 1].to_bits(),
        };
        for &column in columns {
            let changes = self.changes.entry(header[column].clone()).or_default();
            let rows = 1..block.n_rows();
            changes.anywhere += rows.filter(|&row| is_other(column, row)).count();
            // What the first row of a block follows is gone.
            let there = back.iter().filter(|&&row| row == 0 || is_other(column, row));
            changes.there += there.count();
        }
    }

    /// The columns that seem to tell series apart: they change wherever time runs backwards, and hardly
    /// elsewhere.
    pub(super) fn of_series(&self) -> Vec<&str> {
        let seems = |changes: &Changes| {
            changes.there == self.backwards && changes.anywhere <= 4 * self.backwards
        };
        let found = self.changes.iter().filter(|(_, changes)| self.backwards > 0 && seems(changes));
        found.map(|(name, _)| name.as_str()).collect()
    }

    /// The columns of text.
    pub(super) fn texts_found(&self) -> Vec<TextFound> {
        let shown = |cell: &Vec<u8>| String::from_utf8_lossy(cell).chars().take(40).collect();
        let found = self.texts.iter().map(|(name, cells)| TextFound {
            name: name.clone(),
            values: cells.found.len(),
            and_more: cells.more,
            some: cells.found.iter().take(TOLD).map(shown).collect(),
        });
        found.collect()
    }

    /// The cells that mark no split.
    pub(super) fn splits_found(&self) -> Vec<SplitCell> {
        let found = self.splits.iter();
        found.map(|(cell, rows)| SplitCell { cell: cell.clone(), rows: *rows }).collect()
    }
}

/// Whether a column holds text: fewer than half of its first cells that hold something are numbers. One bad
/// cell among numbers makes no text of them.
pub(super) fn is_text(sample: &Block, column: usize, delimiter: Option<u8>) -> bool {
    let mut style = Style::new(delimiter.unwrap_or_default(), None);
    let (mut n_cells, mut n_numbers) = (0, 0);
    for row in 0..sample.n_rows() {
        let cell = sample.text(column, row);
        if is_missing(cell) {
            continue;
        }
        // A format that knows types reads its flags and dates as numbers.
        let is_typed = delimiter.is_none()
            && (matches!(cell, b"true" | b"false")
                || super::times::parse(cell).is_some_and(is_date));
        n_cells += 1;
        n_numbers += usize::from(is_typed || style.parse(cell, String::new).is_ok());
    }
    2 * n_numbers < n_cells
}

fn is_date((kind, _): (super::times::TimeKind, f64)) -> bool {
    kind != super::times::TimeKind::Text
}

#[cfg(test)]
mod tests {
    use super::super::block::Need;
    use super::*;

    fn block(cells: &[&str]) -> Block {
        let mut block = Block::new(&[Need::Text]);
        for (row, cell) in cells.iter().enumerate() {
            block.push_text(0, cell.as_bytes());
            block.end_row(row);
        }
        block
    }

    #[test]
    fn text_is_what_is_mostly_no_number() {
        let text = |cells: &[&str]| is_text(&block(cells), 0, Some(b';'));
        assert!(text(&["NW", "cv"]) && text(&["", "a", "?"]) && text(&["1", "a", "b"]));
        assert!(!text(&["1", "2,5", "x"]) && !text(&["", "?"]) && !text(&[]) && !text(&["1", "x"]));
        assert!(text(&["true", "2016-07-01"]));
        assert!(
            !is_text(&block(&["true", "2016-07-01"]), 0, None),
            "as JSON and Parquet have them"
        );
    }

    #[test]
    fn cells_are_counted_up_to_a_bound() {
        let header = ["c".to_owned()];
        let mut notes = Notes::default();
        let cells: Vec<String> = (0..1500).map(|i| format!("w{i}")).collect();
        for cells in cells.chunks(100) {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            notes.texts(&block(&cells), &header, &[0]);
        }
        let [found] = &notes.texts_found()[..] else { panic!("{notes:?}") };
        assert_eq!((found.values, found.and_more, found.some.len()), (1000, true, 8));
        let mut notes = Notes::default();
        notes.texts(&block(&["b", "", "a", "b"]), &header, &[0]);
        let [found] = &notes.texts_found()[..] else { panic!("{notes:?}") };
        assert_eq!(
            (found.values, found.and_more, &found.some[..]),
            (2, false, &["a".to_owned(), "b".to_owned()][..])
        );
    }

    #[test]
    fn a_column_that_changes_where_time_runs_backwards_tells_series_apart() {
        let header = ["c".to_owned()];
        let of = |cells: &[&str], back: &[usize]| {
            let mut notes = Notes::default();
            notes.changes(&block(cells), &header, &[0], back);
            notes.of_series().len()
        };
        assert_eq!(of(&["a", "a", "b", "b", "c"], &[2, 4]), 1);
        assert_eq!(of(&["a", "a", "a", "b", "c"], &[2, 4]), 0, "not there");
        assert_eq!(of(&["a", "b", "c", "d", "e", "f", "g"], &[4]), 0, "everywhere");
        assert_eq!(of(&["a", "b"], &[]), 0);
    }
}
