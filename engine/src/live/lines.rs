//! Lines of a stream, none of which can fill the memory.

use std::io::{self, BufRead};

use memchr::memchr;

/// Bytes of the longest line that is read.
pub(super) const LONGEST: usize = 1 << 20;

/// What came next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Whole,
    /// A line that is longer than [`LONGEST`]; it was passed over.
    TooLong,
    /// No more lines.
    End,
}

/// Reads the next line into `line`, which is reused.
///
/// # Errors
/// If the input cannot be read.
pub(super) fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let (mut read, mut too_long) = (false, false);
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            break;
        }
        read = true;
        let end = memchr(b'\n', buffer);
        let part = &buffer[..end.unwrap_or(buffer.len())];
        too_long |= line.len() + part.len() > LONGEST;
        if !too_long {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(match (read, too_long) {
        (false, _) => Line::End,
        (_, true) => Line::TooLong,
        _ => Line::Whole,
    })
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_end_with_any_end_and_long_ones_are_passed_over() {
        let mut text = b"a\r\n\nb".to_vec();
        text.extend(b"\n".iter().chain(&vec![b'x'; LONGEST + 1]));
        text.extend(b"\nlast");
        let mut input = BufReader::with_capacity(7, &text[..]);
        let mut line = Vec::new();
        let mut next = || (next_line(&mut input, &mut line).expect("read"), line.len());
        let expected = [
            (Line::Whole, 1),
            (Line::Whole, 0),
            (Line::Whole, 1),
            (Line::TooLong, 0),
            (Line::Whole, 4),
            (Line::End, 0),
            (Line::End, 0),
        ];
        for expected in expected {
            let (line, len) = next();
            assert_eq!(line, expected.0);
            assert!(line == Line::TooLong || len == expected.1, "{len}");
        }
    }
}
