//! Weight files with the same bytes for the same content.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::atomic::PendingFile;
use crate::header::METADATA_KEY;
use crate::sink::Sink;
use crate::targets::check_is_one_file;
use crate::tensor::shape_text;
use crate::tensor_writer::TensorWriter;
use crate::{Dtype, Error, WeightFile};

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
    /// Any dtype, as little-endian bytes; elements narrower than a byte as the format packs them.
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
/// then. A missing folder is [`Error::Target`].
pub fn write_file(
    path: impl AsRef<Path>,
    tensors: &[TensorRef<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<String, Error> {
    write_tensors(path.as_ref(), PendingFile::create, tensors, metadata)
}

/// The same file in memory instead of on a disk, by a name for messages and reports.
///
/// ```
/// use aggregate::{TensorData, TensorRef, weight_file};
///
/// let tensor = TensorRef { name: "w", shape: &[2], data: TensorData::F32(&[1.0, 2.0]) };
/// let file = weight_file("node", &[tensor], &Default::default())?;
/// assert_eq!(file.read_f32("w")?, [1.0, 2.0]);
/// # Ok::<(), aggregate::Error>(())
/// ```
///
/// # Errors
/// As for [`write_file`], but that nothing is written.
pub fn weight_file(
    name: impl Into<PathBuf>,
    tensors: &[TensorRef<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<WeightFile, Error> {
    let name = name.into();
    let writer = fill(&name, || Ok(Sink::memory(&name)), tensors, metadata)?;
    writer.finish(metadata)?.1.into_file()
}

/// The same into a temporary file that `create` makes.
pub(crate) fn write_tensors(
    path: &Path,
    create: fn(&Path) -> Result<PendingFile, Error>,
    tensors: &[TensorRef<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<String, Error> {
    check_is_one_file(path)?;
    let file = || create(path).map(Sink::File);
    let (hash, file, _) = fill(path, file, tensors, metadata)?.finish(metadata)?;
    file.persist()?;
    Ok(hash)
}

/// Checks the tensors and writes them to where `sink` says.
fn fill(
    path: &Path,
    sink: impl FnOnce() -> Result<Sink, Error>,
    tensors: &[TensorRef<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<TensorWriter, Error> {
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
        let n_bits = shape.iter().try_fold(dtype.bitsize(), |n, &size| n.checked_mul(size));
        let found = data.bytes().len();
        if n_bits != found.checked_mul(8) {
            let shape = shape_text(shape);
            return error(name, format!("shape {shape} of {dtype} does not fit {found} bytes"));
        }
        specs.push(((*name).to_owned(), dtype, shape.to_vec()));
    }
    let mut writer = TensorWriter::new(sink()?, specs, metadata, 0)?;
    for (i, tensor) in tensors.iter().enumerate() {
        writer.write(i, 0, &tensor.data.bytes())?;
    }
    Ok(writer)
}

/// The order of tensors in a file: widest alignment first, then by name.
pub(crate) fn layout_order(a: (Dtype, &str), b: (Dtype, &str)) -> std::cmp::Ordering {
    b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1))
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
