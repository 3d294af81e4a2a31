//! Weight files with the same bytes for the same content.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::atomic::PendingFile;
use crate::dtype::element_width;
use crate::header::{METADATA_KEY, PREFIX_LEN, header_bytes};
use crate::problem::MAX_HEADER_LEN;
use crate::tensor::shape_text;
use crate::{Dtype, Error};

/// One tensor to be written.
#[derive(Debug, Clone, Copy)]
pub struct TensorRef<'a> {
    /// The name, unique in its file.
    pub name: &'a str,
    /// Sizes, outermost first; their product is the number of values.
    pub shape: &'a [usize],
    /// The values, row-major.
    pub data: TensorData<'a>,
}

/// The values of a [`TensorRef`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum TensorData<'a> {
    /// Dtype F32.
    F32(&'a [f32]),
    /// Dtype F64.
    F64(&'a [f64]),
    /// Dtype I32.
    I32(&'a [i32]),
    /// Dtype I64.
    I64(&'a [i64]),
    /// Dtype U8.
    U8(&'a [u8]),
    /// Any dtype of whole bytes, as little-endian bytes.
    Raw {
        /// The dtype.
        dtype: Dtype,
        /// Its elements, one after the other.
        bytes: &'a [u8],
    },
}

impl<'a> TensorData<'a> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F64(_) => Dtype::F64,
            Self::I32(_) => Dtype::I32,
            Self::I64(_) => Dtype::I64,
            Self::U8(_) => Dtype::U8,
            Self::Raw { dtype, .. } => *dtype,
        }
    }

    fn bytes(&self) -> Cow<'a, [u8]> {
        match *self {
            Self::F32(values) => little_endian(values),
            Self::F64(values) => little_endian(values),
            Self::I32(values) => little_endian(values),
            Self::I64(values) => little_endian(values),
            Self::U8(bytes) | Self::Raw { bytes, .. } => Cow::Borrowed(bytes),
        }
    }
}

/// Writes a safetensors file that any reader of the format reads, and returns its content hash.
///
/// The same tensors and metadata give the same bytes, in whatever order they are passed: tensors
/// are laid out by falling alignment of their dtype and then by name, as the `safetensors` crate
/// does (some readers need aligned data), and metadata keys are sorted. The file appears under its
/// name complete or not at all, as with [`atomic_write`](crate::atomic_write).
///
/// # Errors
/// If a name occurs twice or is `__metadata__`, if a shape does not fit the number of values, if
/// the header would be longer than the format allows, or if writing fails; nothing is left behind
/// then. A missing folder is [`Error::NoFolder`].
pub fn write_file(
    path: impl AsRef<Path>,
    tensors: &[TensorRef<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<String, Error> {
    let path = path.as_ref();
    let mut tensors = tensors.to_vec();
    tensors.sort_by(|a, b| layout_order((a.data.dtype(), a.name), (b.data.dtype(), b.name)));
    let mut names: Vec<_> = tensors.iter().map(|tensor| tensor.name).collect();
    names.sort_unstable();
    let error = |name: &str, problem: String| {
        Err(Error::Tensor { path: path.to_owned(), tensor: name.to_owned(), problem })
    };
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return error(pair[0], "two tensors have this name".into());
    }
    let mut specs = Vec::with_capacity(tensors.len());
    for TensorRef { name, shape, data } in &tensors {
        if *name == METADATA_KEY {
            return error(name, "the format keeps this name for the metadata".into());
        }
        let dtype = data.dtype();
        if dtype.bitsize() % 8 != 0 {
            return error(name, format!("dtype {dtype} does not fill whole bytes"));
        }
        let n_bytes = shape.iter().try_fold(element_width(dtype), |n, &size| n.checked_mul(size));
        let found = data.bytes().len();
        if n_bytes != Some(found) {
            let shape = shape_text(shape);
            return error(name, format!("shape {shape} of {dtype} does not fit {found} bytes"));
        }
        specs.push(((*name).to_owned(), dtype, shape.to_vec()));
    }
    let mut writer = TensorWriter::create(path, specs, metadata, 0)?;
    for (i, tensor) in tensors.iter().enumerate() {
        writer.write(i, 0, &tensor.data.bytes())?;
    }
    let (hash, file) = writer.finish(metadata)?;
    file.persist()?;
    Ok(hash)
}

/// The order of tensors in a file: widest alignment first, then by name.
pub(crate) fn layout_order(a: (Dtype, &str), b: (Dtype, &str)) -> std::cmp::Ordering {
    b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1))
}

/// A weight file that is written piece by piece, its header last.
#[derive(Debug)]
pub(crate) struct TensorWriter {
    file: PendingFile,
    specs: Vec<(String, Dtype, Vec<usize>)>,
    /// Where each tensor begins.
    starts: Vec<u64>,
    header_len: usize,
}

impl TensorWriter {
    /// Creates the temporary file, with room for a header with this metadata and `spare` bytes.
    /// Names are unique, sizes do not overflow.
    pub(crate) fn create(
        path: &Path,
        specs: Vec<(String, Dtype, Vec<usize>)>,
        metadata: &BTreeMap<String, String>,
        spare: usize,
    ) -> Result<Self, Error> {
        let header_len = header_bytes(&specs, metadata, 0).len();
        let header_len = (header_len + spare).next_multiple_of(PREFIX_LEN as usize);
        let json_len = header_len as u64 - PREFIX_LEN;
        if json_len > MAX_HEADER_LEN {
            return Err(Error::HeaderLen { path: path.to_owned(), header_len: json_len });
        }
        let mut end = header_len as u64;
        let starts = specs
            .iter()
            .map(|(_, dtype, shape)| {
                let start = end;
                end += (shape.iter().product::<usize>() * element_width(*dtype)) as u64;
                start
            })
            .collect();
        Ok(Self { file: PendingFile::create(path)?, specs, starts, header_len })
    }

    /// Writes elements of a tensor, from `start` on.
    pub(crate) fn write(&mut self, tensor: usize, start: usize, bytes: &[u8]) -> Result<(), Error> {
        let offset = self.starts[tensor] + (start * element_width(self.specs[tensor].1)) as u64;
        self.file.write_at(bytes, offset)
    }

    /// Writes the header, of metadata that is not longer than what there is room for, and ends the
    /// file: its content hash, and the synced file that still has to take its name.
    pub(crate) fn finish(
        mut self,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(String, PendingFile), Error> {
        let header = header_bytes(&self.specs, metadata, self.header_len);
        if header.len() != self.header_len {
            return Err(self.file.write_error(io::Error::other("the metadata has grown")));
        }
        self.file.write_at(&header, 0)?;
        self.file.sync()?;
        Ok((self.file.hash()?, self.file))
    }
}

fn little_endian<T: bytemuck::NoUninit>(values: &[T]) -> Cow<'_, [u8]> {
    let bytes = bytemuck::cast_slice(values);
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    for element in bytes.chunks_exact_mut(size_of::<T>()) {
        element.reverse();
    }
    Cow::Owned(bytes)
}
