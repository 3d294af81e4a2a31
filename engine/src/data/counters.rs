//! Columns that count the rows: no values, though they are numbers.

use super::block::Block;

/// What such a column is called, in lower case.
const NAMES: [&str; 7] = ["", "index", "idx", "id", "row", "no", "unnamed: 0"];

/// Whether a column is one by its name and its first rows: whole numbers, each one more than the one
/// before it.
pub(super) fn is_counter(header: &[String], column: usize, sample: &Block) -> bool {
    let name = header[column].trim().to_lowercase();
    if !NAMES.contains(&name.as_str()) || sample.n_rows() == 0 {
        return false;
    }
    let number = |row: usize| -> Option<u64> {
        let text = std::str::from_utf8(sample.text(column, row)).ok()?.trim();
        let whole = text.strip_suffix(".0").unwrap_or(text);
        whole.bytes().all(|byte| byte.is_ascii_digit()).then(|| whole.parse().ok()).flatten()
    };
    let Some(first) = number(0) else { return false };
    (1..sample.n_rows())
        .all(|row| first.checked_add(row as u64).is_some_and(|n| number(row) == Some(n)))
}

#[cfg(test)]
mod tests {
    use super::super::block::Need;
    use super::*;

    fn counts(name: &str, cells: &str) -> bool {
        let mut block = Block::new(&[Need::Text]);
        for (row, cell) in cells.split_whitespace().enumerate() {
            block.push_text(0, cell.as_bytes());
            block.end_row(row);
        }
        is_counter(&[name.to_owned()], 0, &block)
    }

    #[test]
    fn a_column_of_that_name_that_counts_is_one() {
        for name in ["", "Index", "idx", "ID", "row", "No", "Unnamed: 0"] {
            assert!(counts(name, "0 1 2 3"), "{name}");
        }
        assert!(counts("id", "1 2 3") && counts("id", "500 501") && counts("", "0.0 1.0"));
        for cells in ["0 1 1", "0 2 4", "1 2 4", "3 2 1", "0 1 x", "-1 0 1", "0.5 1.5", ""] {
            assert!(!counts("id", cells), "{cells}");
        }
        assert!(!counts("x", "0 1 2") && !counts("identity", "0 1 2"));
    }
}
