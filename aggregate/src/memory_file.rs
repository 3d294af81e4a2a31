//! A weight file in memory whose values are put in their places.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dtype::{byte_len, element_width};
use crate::header::{PREFIX_LEN, header_bytes};
use crate::problem::MAX_HEADER_LEN;
use crate::write::layout_order;
use crate::{Dtype, Error};

/// The bytes of a file of whole-byte elements, all zero at first.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    bytes: Vec<u8>,
    /// First byte and bytes per element of every tensor, in the order in which they were given.
    places: Vec<(usize, usize)>,
}

impl MemoryFile {
    /// A file of tensors, in any order, whose names are unique; laid out as
    /// [`write_file`](crate::write_file) does.
    pub(crate) fn new(
        name: &Path,
        specs: &[(String, Dtype, Vec<usize>)],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let mut order: Vec<usize> = (0..specs.len()).collect();
        let key = |i: usize| (specs[i].1, specs[i].0.as_str());
        order.sort_by(|&a, &b| layout_order(key(a), key(b)));
        let ordered: Vec<_> = order.iter().map(|&i| specs[i].clone()).collect();
        let mut bytes = header_bytes(&ordered, metadata, 0);
        let header_len = bytes.len() as u64 - PREFIX_LEN;
        if header_len > MAX_HEADER_LEN {
            return Err(Error::HeaderLen { path: name.to_owned(), header_len });
        }
        let mut places = vec![(0, 0); specs.len()];
        let mut end = bytes.len();
        for (i, (_, dtype, shape)) in order.into_iter().zip(&ordered) {
            places[i] = (end, element_width(*dtype));
            end += byte_len(*dtype, shape.iter().product());
        }
        bytes.resize(end, 0);
        Ok(Self { bytes, places })
    }

    /// The place of `n` elements of a tensor, from `start` on.
    pub(crate) fn place(&mut self, tensor: usize, start: usize, n: usize) -> &mut [u8] {
        let (first, width) = self.places[tensor];
        &mut self.bytes[first + start * width..first + (start + n) * width]
    }

    /// Puts elements of an F32 tensor in their place, from `start` on.
    pub(crate) fn put(&mut self, tensor: usize, start: usize, values: &[f32]) {
        let place = self.place(tensor, start, values.len());
        for (bytes, value) in place.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            *bytes = value.to_le_bytes();
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TensorData, TensorRef, WeightFile};

    #[test]
    fn it_has_the_bytes_of_a_file_that_is_written() {
        let (a, b, c) = ([1.0f32, 2.0, 3.0], [4.0f32], [5u8, 6]);
        let metadata = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let tensors = [
            TensorRef { name: "z", shape: &[3], data: TensorData::F32(&a) },
            TensorRef { name: "y", shape: &[2, 1], data: TensorData::U8(&c) },
            TensorRef { name: "x", shape: &[], data: TensorData::F32(&b) },
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        crate::write_file(&path, &tensors, &metadata).unwrap();

        let specs = [
            ("z".to_owned(), Dtype::F32, vec![3]),
            ("y".to_owned(), Dtype::U8, vec![2, 1]),
            ("x".to_owned(), Dtype::F32, vec![]),
        ];
        let mut file = MemoryFile::new(&path, &specs, &metadata).unwrap();
        file.put(0, 0, &a[..1]);
        file.put(0, 1, &a[1..]);
        file.place(1, 1, 1).copy_from_slice(&c[1..]);
        file.place(1, 0, 1).copy_from_slice(&c[..1]);
        file.put(2, 0, &b);
        let bytes = file.into_bytes();
        assert_eq!(bytes, std::fs::read(&path).unwrap());
        assert_eq!(WeightFile::of_bytes("file", bytes).unwrap().metadata(), &metadata);
    }

    #[test]
    fn a_header_beyond_the_format_is_refused() {
        let metadata = BTreeMap::from([("k".to_owned(), "v".repeat(100_000_000))]);
        let error = MemoryFile::new(Path::new("m"), &[], &metadata).unwrap_err();
        assert!(matches!(error, Error::HeaderLen { .. }), "{error}");
    }
}
