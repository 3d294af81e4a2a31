//! Rows of plain text without quotes, and numbers in it, at the speed of the memory.

use memchr::{memchr, memrchr};

use super::block::{Block, Need};
use super::number;
use super::times::{self, FirstTime, TimeKind};

/// What is needed of the rows, and how they are written.
pub(super) struct Plan {
    pub(super) needs: Vec<Need>,
    pub(super) delimiter: u8,
    /// The first time of the file, where times are needed.
    pub(super) first_time: FirstTime,
}

/// How far a text was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes of rows that were read.
    pub(super) n_bytes: usize,
    /// Their lines, blank ones too.
    pub(super) n_lines: usize,
}

impl Plan {
    /// Adds the rows of a text of whole lines to a block, up to the first that is not plain: whatever it
    /// is, it is left to the reader that knows all dialects and says what is wrong. Places are lines of
    /// the text, counted from 0.
    pub(super) fn read(&self, text: &[u8], block: &mut Block) -> Progress {
        let plain = memchr(b'"', text).unwrap_or(text.len());
        let n_bytes = memrchr(b'\n', &text[..plain]).map_or(0, |at| at + 1);
        let text = &text[..n_bytes];
        let mut read = Progress::default();
        while read.n_bytes < text.len() {
            let rest = &text[read.n_bytes..];
            let n = if rest[0] == b'\n' {
                1
            } else if let Some(n) = self.row(rest, block) {
                block.end_row(read.n_lines);
                n
            } else {
                block.drop_unfinished();
                match self.blank_line(rest) {
                    Some(n) => n,
                    None => break,
                }
            };
            read.n_bytes += n;
            read.n_lines += 1;
        }
        if self.needs.contains(&Need::Time) && block.n_rows() > 0 {
            block.time_kind = self.first_time.kind();
        }
        read
    }

    /// The length of a line of nothing but blanks in a table of several columns, which is no row.
    fn blank_line(&self, text: &[u8]) -> Option<usize> {
        let end = text.iter().position(|&byte| byte == b'\n')?;
        let line = &text[..end];
        let is_blank = line.trim_ascii().is_empty() && !line.contains(&self.delimiter);
        (is_blank && self.needs.len() > 1).then_some(end + 1)
    }

    /// Adds the cells of the first row of a text that ends with a line end; how many bytes it has, or
    /// nothing if it is not plain.
    #[inline]
    fn row(&self, text: &[u8], block: &mut Block) -> Option<usize> {
        let last = self.needs.len() - 1;
        let mut at = 0;
        for (column, need) in self.needs.iter().enumerate() {
            let end = if column == last { b'\n' } else { self.delimiter };
            let rest = &text[at..];
            let n = match need {
                Need::Number | Need::Time if self.is_number(*need) => match plain(rest) {
                    Some((value, n)) if rest[n] == end => {
                        block.push_number(column, value);
                        n
                    }
                    _ => {
                        let n = self.cell_end(rest, end)?;
                        block.push_number(column, self.number(*need, &rest[..n])?);
                        n
                    }
                },
                Need::Number | Need::Time => {
                    let n = self.cell_end(rest, end)?;
                    block.push_number(column, self.number(*need, &rest[..n])?);
                    n
                }
                Need::Text => {
                    let n = self.cell_end(rest, end)?;
                    block.push_text(column, rest[..n].trim_ascii());
                    n
                }
                Need::Skip => self.cell_end(rest, end)?,
            };
            at += n + 1;
        }
        Some(at)
    }

    /// Where the cell ends, if it ends as it shall.
    #[inline]
    fn cell_end(&self, text: &[u8], end: u8) -> Option<usize> {
        let at = text.iter().position(|&byte| byte == self.delimiter || byte == b'\n')?;
        (text[at] == end).then_some(at)
    }

    /// Whether a column's cells are numbers, as far as is known.
    #[inline]
    fn is_number(&self, need: Need) -> bool {
        need == Need::Number || self.first_time.kind() == Some(TimeKind::Number)
    }

    /// A cell as any reader would read it.
    fn number(&self, need: Need, cell: &[u8]) -> Option<f64> {
        if need == Need::Number {
            return number::parse(cell).ok();
        }
        let (kind, time) = times::parse(cell)?;
        (self.first_time.kind() == Some(kind)).then_some(time)
    }
}

/// The number of at most 15 digits, with or without a point, with which a text begins, and how many bytes
/// it has; nothing for others. The text ends with a line end.
///
/// As [`number::parse`], and without looking for the cell's end first.
#[inline]
fn plain(text: &[u8]) -> Option<(f64, usize)> {
    let digit = |at: usize| text[at].wrapping_sub(b'0');
    let start = usize::from(text[0] == b'-');
    let (mut at, mut whole) = (start, 0_u64);
    while digit(at) < 10 {
        whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit(at)));
        at += 1;
    }
    let (mut n_digits, mut n_decimals) = (at - start, 0);
    if text[at] == b'.' {
        at += 1;
        let point = at;
        while digit(at) < 10 {
            whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit(at)));
            at += 1;
        }
        n_decimals = at - point;
        n_digits += n_decimals;
    }
    let value = number::of_digits(start == 1, whole, n_digits, n_decimals)?;
    Some((value, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(n_columns: usize) -> Plan {
        let needs = vec![Need::Number; n_columns];
        Plan { needs, delimiter: b',', first_time: FirstTime::default() }
    }

    #[test]
    fn rows_are_read_up_to_one_that_is_not_plain() {
        let text = b"1,-2.5\n\n  \n 3 ,nan\n1e2,+4\n5,\"6\"\n7,8\n";
        let plan = plan(2);
        let mut block = Block::new(&plan.needs);
        let read = plan.read(text, &mut block);
        assert_eq!(read, Progress { n_bytes: 26, n_lines: 5 });
        assert_eq!(block.numbers(0), [1.0, 3.0, 100.0]);
        assert_eq!((block.numbers(1)[0], block.numbers(1)[2]), (-2.5, 4.0));
        assert!(block.numbers(1)[1].is_nan());
        assert_eq!([block.place(0), block.place(1), block.place(2)], [0, 3, 4]);
        for bad in ["1\n", "1,2,3\n", "1,x\n", "1,1e99\n", "1,2", "1 2\n", ",\"\n"] {
            let mut block = Block::new(&plan.needs);
            assert_eq!(plan.read(bad.as_bytes(), &mut block), Progress::default(), "{bad}");
            assert_eq!(block.n_rows(), 0);
            assert!(block.numbers(0).is_empty());
        }
    }

    /// The number with which a text begins, and std's reading of as many bytes.
    fn both(cell: &str) -> Option<(f64, f64)> {
        let text = format!("{cell}\n");
        plain(text.as_bytes()).map(|(value, n)| (value, cell[..n].parse().unwrap()))
    }

    /// A million spellings of all lengths and places of the point.
    #[test]
    fn plain_numbers_are_those_of_std() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut n_read = 0;
        for _ in 0..1_000_000 {
            let n_digits = random(17) as usize;
            let mut cell: String =
                (0..n_digits).map(|_| char::from(b'0' + random(10) as u8)).collect();
            if random(4) > 0 {
                cell.insert(random(n_digits as u64 + 1) as usize, '.');
            }
            if random(2) == 0 {
                cell.insert(0, '-');
            }
            if let Some((value, std)) = both(&cell) {
                assert_eq!(value.to_bits(), std.to_bits(), "{cell}");
                n_read += 1;
            }
        }
        assert!(n_read > 800_000, "{n_read}");
    }

    proptest! {
        #[test]
        fn any_lines_return(
            cells in prop::collection::vec(prop::sample::select(&b"19.-+e,, \"\nx"[..]), 0..60),
        ) {
            let plan = plan(2);
            let mut block = Block::new(&plan.needs);
            let mut text = cells;
            text.push(b'\n');
            let read = plan.read(&text, &mut block);
            prop_assert!(read.n_bytes <= text.len());
            prop_assert!(block.n_rows() <= read.n_lines);
            prop_assert_eq!(text[..read.n_bytes].split(|b| *b == b'\n').count() - 1, read.n_lines);
        }
    }
}
