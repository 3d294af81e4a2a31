//! Line ends made uniform, so that a row's line number is the one an editor shows.

use std::io::{self, BufRead, Read};

/// What is said of a row that does not end.
pub(super) const TOO_LONG: &str =
    "a row is longer than 64 MiB; check that the file is a table, and that every quote is closed";

/// Passes bytes on with every CRLF, CR or LF as one LF, and a last line that always ends.
///
/// The csv reader leaves the LF of a CRLF for the next record, and its line numbers with it.
pub(super) struct UniformLineEnds<R> {
    input: R,
    after_cr: bool,
    last: u8,
    /// Bytes that may still be passed on.
    left: u64,
}

impl<R: BufRead> UniformLineEnds<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, after_cr: false, last: b'\n', left: u64::MAX }
    }

    /// Lets so many bytes pass from here on; more are an error.
    pub(super) fn allow(&mut self, n_bytes: u64) {
        self.left = n_bytes;
    }
}

impl<R: BufRead> Read for UniformLineEnds<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let block = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                block => block?,
            };
            if block.is_empty() {
                if self.last == b'\n' {
                    return Ok(0);
                }
                (out[0], self.last) = (b'\n', b'\n');
                return Ok(1);
            }
            if self.left == 0 {
                return Err(io::Error::other(TOO_LONG));
            }
            let taken = block.len().min(out.len()).min(self.left.try_into().unwrap_or(usize::MAX));
            self.left -= taken as u64;
            let mut written = 0;
            // Mostly there is nothing to change.
            if !self.after_cr && !block[..taken].contains(&b'\r') {
                out[..taken].copy_from_slice(&block[..taken]);
                self.last = block[taken - 1];
                self.input.consume(taken);
                return Ok(taken);
            }
            for &byte in &block[..taken] {
                if !(byte == b'\n' && self.after_cr) {
                    out[written] = if byte == b'\r' { b'\n' } else { byte };
                    written += 1;
                }
                self.after_cr = byte == b'\r';
            }
            self.input.consume(taken);
            if written > 0 {
                self.last = out[written - 1];
                return Ok(written);
            }
        }
    }
}

/// Consumes a UTF-8 byte order mark at the start of the input.
pub(super) fn skip_bom(input: &mut impl BufRead) -> io::Result<()> {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    if input.fill_buf()?.starts_with(BOM) {
        input.consume(BOM.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uniform(text: &[u8], block: usize) -> Vec<u8> {
        let input = io::BufReader::with_capacity(block, text);
        let mut out = Vec::new();
        UniformLineEnds::new(input).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn every_line_end_becomes_lf() {
        for block in 1..5 {
            assert_eq!(uniform(b"a\r\nb\rc\n\r\n\n\rd", block), b"a\nb\nc\n\n\n\nd\n");
            assert_eq!(uniform(b"", block), b"");
            assert_eq!(uniform(b"\r\n", block), b"\n");
            assert_eq!(uniform(b"\n", block), b"\n");
        }
    }

    #[test]
    fn more_than_is_allowed_is_an_error() {
        let mut input = UniformLineEnds::new(&b"abc\ndef"[..]);
        input.allow(5);
        let mut out = Vec::new();
        assert_eq!(input.read_to_end(&mut out).unwrap_err().to_string(), TOO_LONG);
        assert_eq!(out, b"abc\nd");
        input.allow(2);
        input.read_to_end(&mut out).unwrap();
        assert_eq!(out, b"abc\ndef\n");
    }

    #[test]
    fn a_byte_order_mark_is_skipped_once() {
        let mut input = &b"\xef\xbb\xbf\xef\xbb\xbfa"[..];
        skip_bom(&mut input).unwrap();
        assert_eq!(input, b"\xef\xbb\xbfa");
    }

    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b"a,\r\n"[..]), 0..40)
    }

    proptest! {
        #[test]
        fn it_equals_replacing_in_memory(text in any_text(), block in 1..9_usize) {
            let given = String::from_utf8(text.clone()).unwrap();
            let mut expected = given.replace("\r\n", "\n").replace('\r', "\n");
            if !expected.is_empty() && !expected.ends_with('\n') {
                expected.push('\n');
            }
            prop_assert_eq!(uniform(&text, block), expected.into_bytes());
        }
    }
}
