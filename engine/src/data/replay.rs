//! Bytes that were read ahead are read again.

use std::io::{self, Read};

/// Passes on what was put back, then the input; and remembers what it passed on, as long as it shall.
pub(super) struct Replay<R> {
    ahead: Vec<u8>,
    /// How many of them were passed on.
    passed: usize,
    /// What to say behind them instead of reading on.
    failure: Option<io::Error>,
    pub(super) input: R,
    /// What was passed on so far, if it is remembered.
    kept: Option<Vec<u8>>,
}

impl<R: Read> Replay<R> {
    /// Remembers from here on.
    pub(super) fn new(input: R) -> Self {
        Self { ahead: Vec::new(), passed: 0, failure: None, input, kept: Some(Vec::new()) }
    }

    /// Remembers no longer.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Puts back what it passed on behind so many bytes; says whether it remembers them.
    pub(super) fn back_to(&mut self, n_bytes: usize) -> bool {
        let Some(kept) = self.kept.take() else { return false };
        self.put_back(kept.get(n_bytes..).unwrap_or_default(), None);
        true
    }

    /// Puts bytes before all others, and behind them a failure to read on.
    pub(super) fn put_back(&mut self, bytes: &[u8], failure: Option<io::Error>) {
        let mut ahead = bytes.to_vec();
        ahead.extend_from_slice(&self.ahead[self.passed..]);
        (self.ahead, self.passed) = (ahead, 0);
        self.failure = failure.or(self.failure.take());
    }
}

impl<R: Read> Read for Replay<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = &self.ahead[self.passed..];
        let n = if !rest.is_empty() {
            let n = rest.len().min(out.len());
            out[..n].copy_from_slice(&rest[..n]);
            self.passed += n;
            if self.passed == self.ahead.len() {
                (self.ahead, self.passed) = (Vec::new(), 0);
            }
            n
        } else if let Some(failure) = self.failure.take() {
            return Err(failure);
        } else {
            self.input.read(out)?
        };
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&out[..n]);
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_back_comes_again() {
        let mut replay = Replay::new(&b"abcdefgh"[..]);
        let mut two = [0; 2];
        for expected in [b"ab", b"cd"] {
            replay.read_exact(&mut two).unwrap();
            assert_eq!(&two, expected);
        }
        assert!(replay.back_to(1));
        assert!(!replay.back_to(0), "it has forgotten");
        replay.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"bc");
        replay.put_back(b"xy", Some(io::Error::other("broken")));
        let mut rest = Vec::new();
        assert_eq!(replay.read_to_end(&mut rest).unwrap_err().to_string(), "broken");
        assert_eq!(rest, b"xyd");
        replay.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"xydefgh");
    }
}
