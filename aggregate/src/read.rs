//! Weight files that are read tensor by tensor, in pieces of bounded size.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::dtype::{Kind, decode_floats, decode_integers, element_width, first_invalid, kind};
use crate::header::read_header;
use crate::reject::Reason;
use crate::source::Source;
use crate::{Error, TensorInfo};

/// A safetensors file whose header has been checked; values stay on disk until they are asked for.
///
/// Opening reads the header only. The header is not believed: its length is compared with the
/// file's before anything is allocated, and the tensors must lie side by side without gaps and end
/// where the file ends, as the format demands.
///
/// ```
/// use aggregate::{TensorData, TensorRef, WeightFile, write_file};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.safetensors");
/// let tensor = TensorRef { name: "bias", shape: &[2], data: TensorData::F32(&[0.5, -1.0]) };
/// write_file(&path, &[tensor], &[("made_by".into(), "me".into())].into())?;
///
/// let file = WeightFile::open(&path)?;
/// assert_eq!(file.tensors()[0].shape, [2]);
/// assert_eq!(file.metadata()["made_by"], "me");
/// assert_eq!(file.read_f32("bias")?, [0.5, -1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WeightFile {
    source: Source,
    tensors: Arc<[TensorInfo]>,
    metadata: BTreeMap<String, String>,
}

impl WeightFile {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// [`Error::Read`] if it cannot be read, and [`Error::Format`] with the
    /// [`FormatProblem`](crate::FormatProblem) if it is not a valid safetensors file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let source = Source::open(path.as_ref())?;
        let header = read_header(&source)?;
        Ok(Self { source, tensors: header.tensors.into(), metadata: header.metadata })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let index = self.tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok()?;
        self.tensors.get(index)
    }

    /// The strings under `__metadata__`, which any writer may put there.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Size of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.source.len()
    }

    /// How many numbers all tensors hold together.
    pub fn n_parameters(&self) -> u64 {
        self.tensors.iter().map(|t| t.n_elements() as u64).sum()
    }

    /// All values of one float tensor, row-major, converted to f32.
    ///
    /// F16 and BF16 convert exactly; F64 is rounded.
    ///
    /// # Errors
    /// If there is no such tensor, it does not hold floats, or the file cannot be read.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, Error> {
        let tensor = self.find(name)?;
        if kind(tensor.dtype) != Kind::Float {
            return Err(self.dtype_error(tensor, "a float: F16, BF16, F32 or F64"));
        }
        // The header's checks have shown that the file holds this much.
        let mut values = Vec::with_capacity(tensor.n_elements());
        self.visit_f64(name, |piece| values.extend(piece.iter().map(|&v| v as f32)))?;
        Ok(values)
    }

    /// Calls `visit` with the values of one tensor, row-major, a bounded piece at a time.
    ///
    /// Floats of every width convert exactly; integers beyond 2^53 are rounded, and a boolean is
    /// the byte that stands for it.
    ///
    /// # Errors
    /// If there is no such tensor, its dtype is neither float nor integer nor boolean, or the file
    /// cannot be read.
    pub fn visit_f64(&self, name: &str, mut visit: impl FnMut(&[f64])) -> Result<(), Error> {
        let tensor = self.find(name)?;
        let (mut floats, mut integers) = (Vec::new(), Vec::new());
        match kind(tensor.dtype) {
            Kind::Float => self.visit_bytes(tensor, &mut Vec::new(), |bytes| {
                decode_floats(tensor.dtype, bytes, &mut floats);
                visit(&floats);
            }),
            Kind::Integer => self.visit_bytes(tensor, &mut Vec::new(), |bytes| {
                decode_integers(tensor.dtype, bytes, &mut integers);
                floats.clear();
                floats.extend(integers.iter().map(|&v| v as f64));
                visit(&floats);
            }),
            Kind::Unsupported => {
                Err(self.dtype_error(tensor, "a float, an integer or a boolean of whole bytes"))
            }
        }
    }

    /// The BLAKE3 hash of the file's bytes, in hexadecimal: the name of this exact content.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn content_hash(&self) -> Result<String, Error> {
        hash_source(&self.source)
    }

    /// One pass over the file: its content hash, or why a value in it cannot be merged.
    pub(crate) fn scan(&self) -> Result<String, Reason> {
        let mut in_file_order: Vec<_> = self.tensors.iter().collect();
        in_file_order.sort_by_key(|t| (t.start, t.n_bytes()));
        let data_start = in_file_order.first().map_or(self.file_len(), |t| t.start);

        let (mut hasher, mut buffer) = (blake3::Hasher::new(), Vec::new());
        self.source
            .visit(0, data_start, &mut buffer, |bytes| {
                hasher.update(bytes);
            })
            .map_err(Reason::of)?;
        // The header's checks have shown that the tensors, one after the other, are the rest.
        for tensor in in_file_order {
            let (mut n_seen, mut invalid) = (0, None);
            self.visit_bytes(tensor, &mut buffer, |bytes| {
                hasher.update(bytes);
                if invalid.is_none() {
                    invalid = first_invalid(tensor.dtype, bytes).map(|(i, v)| (n_seen + i, v));
                }
                n_seen += bytes.len() / element_width(tensor.dtype);
            })
            .map_err(Reason::of)?;
            if let Some((index, found)) = invalid {
                return Err(Reason::Value { tensor: tensor.name.clone(), index, found });
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The file and its tensor list, without the metadata.
    pub(crate) fn into_parts(self) -> (Source, Arc<[TensorInfo]>) {
        (self.source, self.tensors)
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn shared_tensors(&self) -> Arc<[TensorInfo]> {
        Arc::clone(&self.tensors)
    }

    /// Calls `visit` with the bytes of one tensor, in pieces that hold whole elements.
    fn visit_bytes(
        &self,
        tensor: &TensorInfo,
        buffer: &mut Vec<u8>,
        visit: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        // A block is a multiple of every element width.
        self.source.visit(tensor.start, tensor.start + tensor.n_bytes(), buffer, visit)
    }

    fn find(&self, name: &str) -> Result<&TensorInfo, Error> {
        self.tensor(name).ok_or_else(|| Error::NoTensor {
            path: self.path().to_owned(),
            tensor: name.to_owned(),
        })
    }

    fn dtype_error(&self, tensor: &TensorInfo, expected: &'static str) -> Error {
        let path = self.path().to_owned();
        Error::Dtype { path, tensor: tensor.name.clone(), dtype: tensor.dtype, expected }
    }
}

/// The BLAKE3 hash of a file's bytes, in hexadecimal, whatever kind of file it is.
///
/// # Errors
/// If the file cannot be read.
pub fn hash_file(path: impl AsRef<Path>) -> Result<String, Error> {
    hash_source(&Source::open(path.as_ref())?)
}

fn hash_source(source: &Source) -> Result<String, Error> {
    let mut hasher = blake3::Hasher::new();
    source.visit(0, source.len(), &mut Vec::new(), |bytes| {
        hasher.update(bytes);
    })?;
    Ok(hasher.finalize().to_hex().to_string())
}
