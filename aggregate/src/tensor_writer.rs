//! A weight file that is written piece by piece, its header last.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::dtype::byte_len;
use crate::header::{PREFIX_LEN, header_bytes};
use crate::problem::MAX_HEADER_LEN;
use crate::running_hash::RunningHash;
use crate::sink::Sink;
use crate::spent::{Spent, lap};
use crate::{Dtype, Error};

/// Up to this many bytes of data are moved, so that there is no room to spare before them. The spare
/// room before more than that is not worth it.
const MOVED_LEN: u64 = 1 << 20;
/// Bytes moved at a time.
const PIECE_LEN: u64 = 1 << 20;

/// A weight file whose data is written while its metadata is not yet known.
#[derive(Debug)]
pub(crate) struct TensorWriter {
    file: Sink,
    specs: Vec<(String, Dtype, Vec<usize>)>,
    /// Where each tensor begins.
    starts: Vec<u64>,
    /// Bytes in front of the data, and after its end.
    header_len: u64,
    end: u64,
    hash: RunningHash,
    spent: Spent,
}

impl TensorWriter {
    /// Begins a file with room for a header with this metadata and `spare` bytes. Names are unique,
    /// sizes do not overflow.
    pub(crate) fn new(
        file: Sink,
        specs: Vec<(String, Dtype, Vec<usize>)>,
        metadata: &BTreeMap<String, String>,
        spare: usize,
    ) -> Result<Self, Error> {
        let least = header_bytes(&specs, metadata, 0).len() as u64;
        check_len(&file, least)?;
        let header_len = (least + spare as u64).min(MAX_HEADER_LEN).max(least);
        let header_len = header_len.next_multiple_of(PREFIX_LEN);
        let mut end = header_len;
        let starts = specs
            .iter()
            .map(|(_, dtype, shape)| {
                let start = end;
                end += byte_len(*dtype, shape.iter().product()) as u64;
                start
            })
            .collect();
        let hash = RunningHash::new(header_len);
        Ok(Self { file, specs, starts, header_len, end, hash, spent: Spent::default() })
    }

    /// Writes elements of a tensor, from `start` on.
    pub(crate) fn write(&mut self, tensor: usize, start: usize, bytes: &[u8]) -> Result<(), Error> {
        let offset = self.starts[tensor] + byte_len(self.specs[tensor].1, start) as u64;
        let mut clock = Instant::now();
        self.file.write_at(bytes, offset)?;
        self.spent.write_s += lap(&mut clock);
        if self.file.is_hashed_on_the_way() {
            self.hash.update(offset, bytes);
            self.spent.hash_s += lap(&mut clock);
        }
        Ok(())
    }

    /// Writes the header and ends the file: its content hash, the synced file that still has to take
    /// its name, and the time of all writing.
    ///
    /// Room to spare is filled with spaces, as the format allows; of little data, and where the room
    /// was too small, the data is moved instead.
    pub(crate) fn finish(
        mut self,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(String, Sink, Spent), Error> {
        let mut clock = Instant::now();
        let mut header = header_bytes(&self.specs, metadata, 0);
        let needed = header.len() as u64;
        check_len(&self.file, needed)?;
        let is_small = self.end - self.header_len <= MOVED_LEN;
        let mut len = self.end;
        if needed > self.header_len || needed < self.header_len && is_small {
            len = self.move_data(needed)?;
        } else if needed < self.header_len {
            header = header_bytes(&self.specs, metadata, self.header_len as usize);
        }
        self.file.write_at(&header, 0)?;
        self.file.sync()?;
        self.spent.write_s += lap(&mut clock);
        // Of data that was moved there is none: the file has another length than what was hashed.
        let hash = self.hash.finish(len, |buffer, at| self.file.read_at(buffer, at))?;
        let hash = hash.map_or_else(|| self.file.hash(), Ok)?;
        self.spent.hash_s += lap(&mut clock);
        Ok((hash, self.file, self.spent))
    }

    /// Moves the data so that it begins at `start`; the length of the file.
    fn move_data(&mut self, start: u64) -> Result<u64, Error> {
        let len = self.end - self.header_len;
        let n_pieces = len.div_ceil(PIECE_LEN);
        let mut buffer = Vec::new();
        for i in 0..n_pieces {
            // Towards the end the last piece goes first, so that none is written over.
            let piece = if start > self.header_len { n_pieces - 1 - i } else { i };
            let at = piece * PIECE_LEN;
            buffer.resize(PIECE_LEN.min(len - at) as usize, 0);
            self.file.read_at(&mut buffer, self.header_len + at)?;
            self.file.write_at(&buffer, start + at)?;
        }
        self.file.set_len(start + len)?;
        Ok(start + len)
    }
}

fn check_len(file: &Sink, header_len: u64) -> Result<(), Error> {
    let json_len = header_len - PREFIX_LEN;
    if json_len > MAX_HEADER_LEN {
        return Err(Error::HeaderLen { path: file.path().to_owned(), header_len: json_len });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WeightFile;
    use crate::atomic::PendingFile;

    /// Whatever room there was, a small file is the same and a large one holds the same.
    #[test]
    fn the_room_before_the_data_does_not_show() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = BTreeMap::from([("k".to_owned(), "v".repeat(5000))]);
        for n in [0, 3, 1000, 700_000] {
            let values = testkit::sequence(1, n);
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let mut files = Vec::new();
            for spare in [0, 8, 5200, 3_000_000] {
                let path = folder.path().join(format!("{n}-{spare}"));
                let specs = vec![("w".to_owned(), Dtype::F32, vec![n])];
                let file = Sink::File(PendingFile::create(&path).unwrap());
                let mut writer = TensorWriter::new(file, specs, &BTreeMap::new(), spare).unwrap();
                writer.write(0, 0, &bytes).unwrap();
                let (hash, file, _) = writer.finish(&metadata).unwrap();
                file.persist().unwrap();
                let file = WeightFile::open(&path).unwrap();
                assert_eq!(file.metadata(), &metadata);
                testkit::assert_same_bits("w", &file.read_f32("w").unwrap(), &values);
                let whole = std::fs::read(&path).unwrap();
                assert_eq!(hash, blake3::hash(&whole).to_hex().to_string());
                assert!(safetensors::SafeTensors::deserialize(&whole).is_ok());
                files.push(whole);
            }
            let is_small = 4 * n as u64 <= MOVED_LEN;
            assert!(!is_small || files.windows(2).all(|pair| pair[0] == pair[1]), "{n}");
            assert_eq!(files[0], files[1], "moved by what is missing");
        }
    }
}
