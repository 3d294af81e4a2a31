//! What stands before a table: a byte order mark, comments, the separator; or that it is no table.

use std::io::{self, BufRead};

use super::lines::skip_bom;

/// First bytes of files that are no text, and what they are.
const MAGIC: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "compressed with gzip; decompress it first (gunzip)"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; decompress it first (unzstd)"),
    (b"\xfd7zXZ", "compressed with xz; decompress it first (unxz)"),
    (b"BZh", "compressed with bzip2; decompress it first (bunzip2)"),
    (b"PK\x03\x04", "a ZIP archive, as spreadsheets (.xlsx) are; save the table as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet (.xls); save the table as CSV"),
    (b"PAR1", "a Parquet file; write the table as CSV"),
    (b"\x93NUMPY", "a NumPy array; write it as CSV"),
    (b"\x89HDF", "an HDF5 file; write the table as CSV"),
];

/// What the lines before a table say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Preamble {
    /// What separates the cells.
    pub(super) delimiter: u8,
    /// How many lines it had.
    pub(super) n_lines: usize,
}

/// Why there is no table.
#[derive(Debug)]
pub(super) enum NoTable {
    Unreadable(io::Error),
    /// What the file is, and what to do.
    IsOther(&'static str),
}

impl From<io::Error> for NoTable {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Consumes what stands before the header: a byte order mark, comment lines (`# …`) and a line
/// `sep=;` as spreadsheets write it. Without the latter the delimiter is what the header has most of.
///
/// A line that begins with `#` and has as many fields as the next one is the header.
pub(super) fn skip_preamble(input: &mut impl BufRead) -> Result<Preamble, NoTable> {
    skip_bom(input)?;
    let start = input.fill_buf()?;
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(NoTable::IsOther(what));
    }
    let mut n_lines = 0;
    let mut told = None;
    loop {
        let block = input.fill_buf()?;
        let (line, end) = first_line(block);
        let is_comment = line.starts_with(b"#") && {
            let (next, _) = first_line(&block[end..]);
            let delimiter = delimiter(next);
            let n_fields = |line: &[u8]| line.split(|&byte| byte == delimiter).count();
            n_fields(line) != n_fields(next)
        };
        match line {
            [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] => told = Some(*separator),
            // At the end of what is seen at once nothing is known of the next line.
            _ if is_comment && end < block.len() => {}
            _ => break,
        }
        input.consume(end);
        n_lines += 1;
    }
    let delimiter = match told {
        Some(separator) => separator,
        None => delimiter(input.fill_buf()?),
    };
    Ok(Preamble { delimiter, n_lines })
}

/// The first line without its end, and where the next one begins.
fn first_line(block: &[u8]) -> (&[u8], usize) {
    let Some(len) = block.iter().position(|byte| b"\r\n".contains(byte)) else {
        return (block, block.len());
    };
    let end = if block[len..].starts_with(b"\r\n") { len + 2 } else { len + 1 };
    (block[..len].trim_ascii_end(), end)
}

/// The delimiter that the first line with text uses most, outside of quotes; a comma when there is
/// none.
fn delimiter(start: &[u8]) -> u8 {
    let start = start.trim_ascii_start();
    let (mut best, mut most) = (b',', 0);
    for candidate in [b',', b';', b'\t', b'|'] {
        let mut in_quotes = false;
        let mut count = 0;
        for &byte in start {
            match byte {
                b'"' => in_quotes = !in_quotes,
                b'\n' | b'\r' if !in_quotes => break,
                _ => count += usize::from(byte == candidate && !in_quotes),
            }
        }
        if count > most {
            (best, most) = (candidate, count);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(text: &str) -> (char, usize, &str) {
        let mut input = text.as_bytes();
        let Preamble { delimiter, n_lines } = skip_preamble(&mut input).unwrap();
        (delimiter.into(), n_lines, std::str::from_utf8(input).unwrap())
    }

    #[test]
    fn comments_and_the_separator_are_skipped() {
        assert_eq!(skipped("a,b\n1,2\n"), (',', 0, "a,b\n1,2\n"));
        assert_eq!(skipped("# by, me\r\n#\r\na;b;c\r\n"), (';', 2, "a;b;c\r\n"));
        assert_eq!(skipped("sep=|\na,b|c\n"), ('|', 1, "a,b|c\n"));
        assert_eq!(skipped("\u{feff}SEP=;\r\na;b\r\n"), (';', 1, "a;b\r\n"));
        assert_eq!(skipped("a|b|c\n1|2|3\n").0, '|');
        assert_eq!(skipped("\"a;b;c\",d\n").0, ',');
    }

    #[test]
    fn a_header_may_begin_with_a_hash() {
        assert_eq!(skipped("#t,x\n0,1\n"), (',', 0, "#t,x\n0,1\n"));
        assert_eq!(skipped("# made by me\n#t,x\n0,1\n"), (',', 1, "#t,x\n0,1\n"));
        assert_eq!(skipped("# only a comment"), (',', 0, "# only a comment"));
        assert_eq!(skipped(""), (',', 0, ""));
    }

    #[test]
    fn what_is_no_text_is_named() {
        for (magic, what) in MAGIC {
            let file = [magic, &b"\0\0\0"[..]].concat();
            let found = skip_preamble(&mut &file[..]);
            assert!(matches!(found, Err(NoTable::IsOther(other)) if other == what), "{what}");
        }
    }
}
