//! A piece of a file: cells by column, with the place of each row.

use super::times::TimeKind;

/// Most rows of a block.
pub(super) const MAX_ROWS: usize = 1 << 16;

/// Most bytes of a block's cells; a block has one row at least, however long.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// What a sink needs of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A value, NaN where it is missing.
    Number,
    /// A time, as a number or a date.
    Time,
    /// The cell as it stands, without blanks around it.
    Text,
    /// Nothing.
    Skip,
}

/// The cells of one column.
#[derive(Debug)]
enum Cells {
    Numbers(Vec<f64>),
    Texts(Texts),
    Skipped,
}

/// Rows in the order of the file; reused from piece to piece.
#[derive(Debug)]
pub(super) struct Block {
    columns: Vec<Cells>,
    places: Vec<usize>,
    n_bytes: usize,
    /// How the times are written, once one was read.
    pub(super) time_kind: Option<TimeKind>,
}

impl Block {
    /// An empty one of columns that are needed so.
    pub(super) fn new(needs: &[Need]) -> Self {
        let cells = |need: &Need| match need {
            Need::Number | Need::Time => Cells::Numbers(Vec::new()),
            Need::Text => Cells::Texts(Texts::default()),
            Need::Skip => Cells::Skipped,
        };
        Self {
            columns: needs.iter().map(cells).collect(),
            places: Vec::new(),
            n_bytes: 0,
            time_kind: None,
        }
    }

    /// How many rows it has.
    pub(super) fn n_rows(&self) -> usize {
        self.places.len()
    }

    /// The line, record or frame of a row.
    pub(super) fn place(&self, row: usize) -> usize {
        self.places[row]
    }

    /// Whether it is time to hand it over.
    pub(super) fn is_full(&self) -> bool {
        self.n_rows() >= MAX_ROWS || self.n_bytes >= MAX_BYTES
    }

    /// Removes all rows, and keeps their memory.
    pub(super) fn clear(&mut self) {
        for column in &mut self.columns {
            match column {
                Cells::Numbers(numbers) => numbers.clear(),
                Cells::Texts(texts) => texts.clear(),
                Cells::Skipped => {}
            }
        }
        self.places.clear();
        self.n_bytes = 0;
    }

    /// Moves the places of all rows on.
    pub(super) fn shift_places(&mut self, by: usize) {
        self.places.iter_mut().for_each(|place| *place += by);
    }

    /// Ends a row whose cells have been pushed.
    #[inline]
    pub(super) fn end_row(&mut self, place: usize) {
        self.places.push(place);
        self.n_bytes += size_of::<usize>();
    }

    /// Removes the cells of a row that was not ended.
    pub(super) fn drop_unfinished(&mut self) {
        let n_rows = self.n_rows();
        for column in &mut self.columns {
            match column {
                Cells::Numbers(numbers) => numbers.truncate(n_rows),
                Cells::Texts(texts) => texts.truncate(n_rows),
                Cells::Skipped => {}
            }
        }
    }

    /// Adds a number to a column of numbers or times.
    #[inline]
    pub(super) fn push_number(&mut self, column: usize, number: f64) {
        if let Cells::Numbers(numbers) = &mut self.columns[column] {
            numbers.push(number);
            self.n_bytes += size_of::<f64>();
        }
    }

    /// Adds numbers of several rows to a column of numbers or times.
    #[cfg(feature = "parquet")]
    pub(super) fn extend_numbers(&mut self, column: usize, more: &[f64]) {
        if let Cells::Numbers(numbers) = &mut self.columns[column] {
            numbers.extend_from_slice(more);
            self.n_bytes += size_of_val(more);
        }
    }

    /// Adds a cell to a column of texts.
    pub(super) fn push_text(&mut self, column: usize, text: &[u8]) {
        if let Cells::Texts(texts) = &mut self.columns[column] {
            texts.push(text);
            self.n_bytes += text.len() + size_of::<usize>();
        }
    }

    /// A column of numbers or times; nothing if it was not needed as such.
    pub(super) fn numbers(&self, column: usize) -> &[f64] {
        match &self.columns[column] {
            Cells::Numbers(numbers) => numbers,
            _ => &[],
        }
    }

    /// A cell of a column of texts; empty if it was not needed as such.
    pub(super) fn text(&self, column: usize, row: usize) -> &[u8] {
        match &self.columns[column] {
            Cells::Texts(texts) => texts.get(row),
            _ => &[],
        }
    }
}

/// Texts one behind the other.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn clear(&mut self) {
        self.truncate(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_a_part_of_one_does_not() {
        let mut block = Block::new(&[Need::Text, Need::Skip, Need::Number]);
        for (row, text) in ["a", "", "long"].iter().enumerate() {
            block.push_text(0, text.as_bytes());
            block.push_number(1, 9.0);
            block.push_number(2, row as f64);
            block.end_row(row + 2);
        }
        block.push_text(0, b"part");
        block.drop_unfinished();
        assert_eq!((block.n_rows(), block.place(2)), (3, 4));
        assert_eq!(block.numbers(2), [0.0, 1.0, 2.0]);
        assert_eq!(block.numbers(1), [0.0; 0]);
        assert_eq!(
            [block.text(0, 0), block.text(0, 1), block.text(0, 2)],
            [&b"a"[..], b"", b"long"]
        );
        assert!(!block.is_full());
        block.clear();
        block.push_text(0, &vec![b'x'; MAX_BYTES]);
        block.end_row(1);
        assert!(block.is_full());
    }
}
