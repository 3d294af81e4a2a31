//! The hash of a file that is written front to back, but for its header, which comes last.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::Error;

/// Bytes that are hashed to one value of the tree, a power of two times the 1,024 of a chunk: enough
/// for the vector units, few enough to stay in a cache until they are full.
const SUBTREE: u64 = 1 << 17;

/// The BLAKE3 hash of a file, of which all but the front is hashed while it is written.
///
/// BLAKE3 is a tree over pieces of the file (<https://github.com/BLAKE3-team/BLAKE3-specs>, section
/// 2.1): those behind the header do not wait for it.
#[derive(Debug)]
pub(crate) struct RunningHash {
    /// Where hashing begins: the first whole subtree without a byte of the header.
    front_len: u64,
    /// The next byte to come.
    at: u64,
    /// Whether all came in order.
    is_whole: bool,
    done: Vec<ChainingValue>,
    /// What came of a subtree that is not yet full: in pieces at odd places it would take twice as
    /// long.
    rest: Vec<u8>,
}

impl RunningHash {
    /// The hash of a file whose header takes so many bytes.
    pub(crate) fn new(header_len: u64) -> Self {
        let front_len = header_len.next_multiple_of(SUBTREE);
        Self { front_len, at: header_len, is_whole: true, done: Vec::new(), rest: Vec::new() }
    }

    /// Takes bytes that were written to a place in the file.
    pub(crate) fn update(&mut self, offset: u64, mut bytes: &[u8]) {
        self.is_whole &= offset == self.at;
        if !self.is_whole {
            return;
        }
        let in_front = self.front_len.saturating_sub(self.at).min(bytes.len() as u64);
        bytes = &bytes[in_front as usize..];
        self.at += in_front;
        while !bytes.is_empty() {
            let room = SUBTREE as usize - self.rest.len();
            let (own, rest) = bytes.split_at(room.min(bytes.len()));
            self.rest.extend_from_slice(own);
            self.at += own.len() as u64;
            if self.rest.len() == SUBTREE as usize {
                self.done.push(value_at(self.at - SUBTREE, &self.rest));
                self.rest.clear();
            }
            bytes = rest;
        }
    }

    /// The hash of the file of so many bytes, whose front `read` fills in piece by piece; none if it
    /// did not come in order, or is hardly longer than its front.
    pub(crate) fn finish(
        mut self,
        len: u64,
        mut read: impl FnMut(&mut [u8], u64) -> Result<(), Error>,
    ) -> Result<Option<String>, Error> {
        if !self.is_whole || self.at != len || len <= self.front_len {
            return Ok(None);
        }
        let mut values = Vec::new();
        let mut piece = vec![0; SUBTREE as usize];
        for at in (0..self.front_len).step_by(SUBTREE as usize) {
            read(&mut piece, at)?;
            values.push(value_at(at, &piece));
        }
        values.append(&mut self.done);
        if !self.rest.is_empty() {
            values.push(value_at(len - self.rest.len() as u64, &self.rest));
        }
        let (left, right) = values.split_at(n_left(values.len()));
        let hash = merge_subtrees_root(&value_of(left), &value_of(right), Mode::Hash);
        Ok(Some(hash.to_hex().to_string()))
    }
}

/// The value of a subtree that begins at that byte of the file.
fn value_at(offset: u64, bytes: &[u8]) -> ChainingValue {
    Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
}

/// How many of so many subtrees are left of the root: the most that are a power of two and not all.
fn n_left(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// The value of all these subtrees together.
fn value_of(values: &[ChainingValue]) -> ChainingValue {
    if let [value] = values {
        return *value;
    }
    let (left, right) = values.split_at(n_left(values.len()));
    merge_subtrees_non_root(&value_of(left), &value_of(right), Mode::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8], buffer: &mut [u8], at: u64) {
        buffer.copy_from_slice(&file[at as usize..at as usize + buffer.len()]);
    }

    #[test]
    fn it_is_the_hash_of_the_file() {
        let bytes: Vec<u8> = (0..9_500_000u32).map(|i| (i ^ i >> 11) as u8).collect();
        let mib = 1 << 20;
        let lens = [mib + 1, 2 * mib, 2 * mib + 1, 3 * mib - 1, 5 * mib, 8 * mib, 9_500_000];
        for header_len in [8, 1000, mib - 1, mib, mib + 8, 3 * mib + 24] {
            for len in lens.into_iter().filter(|&len| len > header_len) {
                let file = &bytes[..len];
                for step in [32_768, 1_000_003, len] {
                    let mut hash = RunningHash::new(header_len as u64);
                    for at in (header_len..len).step_by(step) {
                        hash.update(at as u64, &file[at..len.min(at + step)]);
                    }
                    let front_len = header_len.next_multiple_of(SUBTREE as usize);
                    let found = hash.finish(len as u64, |buffer, at| {
                        read(file, buffer, at);
                        Ok(())
                    });
                    let expected =
                        (len > front_len).then(|| blake3::hash(file).to_hex().to_string());
                    assert_eq!(found.unwrap(), expected, "{header_len} {len} {step}");
                }
            }
        }
    }

    #[test]
    fn out_of_order_there_is_none() {
        let bytes = vec![7; 3 << 20];
        for (first, second) in [(8u64, 9u64), (16, 24)] {
            let mut hash = RunningHash::new(8);
            hash.update(first, &bytes[..1]);
            hash.update(second + u64::from(first == 8), &bytes[..2 << 20]);
            let len = bytes.len() as u64;
            assert_eq!(hash.finish(len, |_, _| Ok(())).unwrap(), None);
        }
    }
}
