//! Weight files that are read tensor by tensor, in pieces of bounded size.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::atomic::PendingFile;
use crate::dtype::{
    Kind, byte_len, decode_floats, decode_integers, element_width, first_difference, first_invalid,
    kind,
};
use crate::header::{Header, read_header};
use crate::reject::Reason;
use crate::shards::{Shards, is_index, open_shards};
use crate::source::Source;
use crate::{Dtype, Error, TensorInfo};

/// Elements compared at a time, which fill whole bytes of every dtype.
const PIECE_ELEMENTS: usize = 1 << 16;

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
///
/// A clone is the same open file, and reads from the same handle.
#[derive(Debug, Clone)]
pub struct WeightFile {
    path: PathBuf,
    /// The file itself, or the shards that an index names.
    sources: Arc<[Source]>,
    tensors: Arc<[TensorInfo]>,
    metadata: Arc<BTreeMap<String, String>>,
}

/// Whether two are the same open file.
impl PartialEq for WeightFile {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sources, &other.sources)
    }
}

impl WeightFile {
    /// Opens a file and checks its header; of an index of shards (`….safetensors.index.json`, as
    /// `transformers` writes it) all the files that it names, beside it.
    ///
    /// # Errors
    /// [`Error::Read`] if it cannot be read, [`Error::Format`] with the
    /// [`FormatProblem`](crate::FormatProblem) if it is not a valid safetensors file, and
    /// [`Error::Index`] if an index does not fit its shards.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if is_index(path) {
            let Shards { sources, tensors, metadata } = open_shards(path)?;
            return Ok(Self {
                path: path.to_owned(),
                sources: sources.into(),
                tensors: tensors.into(),
                metadata: metadata.into(),
            });
        }
        Self::of_source(Source::open(path)?)
    }

    /// A file that is in memory, checked like one on a disk. The name takes the place of a path, in
    /// messages and in reports.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not a valid safetensors file.
    pub fn of_bytes(name: impl Into<PathBuf>, bytes: impl Into<Arc<[u8]>>) -> Result<Self, Error> {
        Self::of_source(Source::in_memory(name.into(), bytes.into()))
    }

    /// The file of that path among those that are open already, or the one on the disk.
    pub(crate) fn open_or_known(path: &Path, open: &[Self]) -> Result<Self, Error> {
        match open.iter().find(|file| file.path == path) {
            Some(file) => Ok(file.clone()),
            None => Self::open(path),
        }
    }

    fn of_source(source: Source) -> Result<Self, Error> {
        let Header { tensors, metadata } = read_header(&source)?;
        let path = source.path().to_owned();
        let (tensors, metadata) = (tensors.into(), metadata.into());
        Ok(Self { path, sources: [source].into(), tensors, metadata })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The paths of its bytes: itself, or the index and its shards.
    pub fn paths(&self) -> Vec<&Path> {
        let index = is_index(&self.path).then_some(self.path.as_path());
        index.into_iter().chain(self.sources.iter().map(Source::path)).collect()
    }

    /// Whether its path is only a name: it is in memory, or a part of a [`Spool`](crate::Spool).
    pub fn is_nameless(&self) -> bool {
        self.sources.iter().all(Source::is_nameless)
    }

    /// The same file with its bytes elsewhere.
    pub(crate) fn with_sources(
        &self,
        put: impl FnMut(&Source) -> Result<Source, Error>,
    ) -> Result<Self, Error> {
        let sources = self.sources.iter().map(put).collect::<Result<_, _>>()?;
        Ok(Self { sources, ..self.clone() })
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

    /// Size of the file in bytes, of all shards together.
    pub fn file_len(&self) -> u64 {
        self.sources.iter().map(Source::len).sum()
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
            Kind::Opaque => {
                Err(self.dtype_error(tensor, "a float, an integer or a boolean of whole bytes"))
            }
        }
    }

    /// The BLAKE3 hash of the file's bytes, in hexadecimal: the name of this exact content. Of
    /// shards it is the hash of their hashes.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn content_hash(&self) -> Result<String, Error> {
        self.name_content(Source::hash)
    }

    /// Why a value in it cannot be merged, if there is such a value.
    pub(crate) fn first_invalid(&self) -> Result<Option<Reason>, Error> {
        let mut buffer = Vec::new();
        for tensor in self.tensors.iter() {
            let (mut n_seen, mut invalid) = (0, None);
            self.visit_bytes(tensor, &mut buffer, |bytes| {
                if invalid.is_none() {
                    invalid = first_invalid(tensor.dtype, bytes).map(|(i, v)| (n_seen + i, v));
                }
                n_seen += bytes.len() / element_width(tensor.dtype).max(1);
            })?;
            if let Some((index, found)) = invalid {
                return Ok(Some(Reason::Value { tensor: tensor.name.clone(), index, found }));
            }
        }
        Ok(None)
    }

    /// The hashes of the values of all tensors that are not averaged and that `must_agree` chooses, by
    /// name; or why one cannot be merged.
    pub(crate) fn integers(
        &self,
        must_agree: impl Fn(&TensorInfo) -> bool,
    ) -> Result<Result<BTreeMap<String, String>, Reason>, Error> {
        let mut buffer = Vec::new();
        let mut hashes = BTreeMap::new();
        for tensor in self.tensors.iter().filter(|t| kind(t.dtype) != Kind::Float) {
            let is_hashed = must_agree(tensor);
            if !is_hashed && tensor.dtype != Dtype::BOOL {
                continue;
            }
            let mut hasher = blake3::Hasher::new();
            let (mut n_seen, mut invalid) = (0, None);
            self.visit_bytes(tensor, &mut buffer, |bytes| {
                hasher.update(bytes);
                if invalid.is_none() {
                    invalid = first_invalid(tensor.dtype, bytes).map(|(i, v)| (n_seen + i, v));
                }
                n_seen += bytes.len();
            })?;
            if let Some((index, found)) = invalid {
                return Ok(Err(Reason::Value { tensor: tensor.name.clone(), index, found }));
            }
            if is_hashed {
                hashes.insert(tensor.name.clone(), hasher.finalize().to_hex().to_string());
            }
        }
        Ok(Ok(hashes))
    }

    /// The first element at which a tensor that is not averaged differs from that of another file
    /// with its name, dtype and shape, and what the two hold there, in words.
    pub(crate) fn first_difference(
        &self,
        other: &Self,
        name: &str,
    ) -> Result<Option<(usize, String, String)>, Error> {
        let (own, others) = (self.find(name)?, other.find(name)?);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for start in (0..own.n_elements()).step_by(PIECE_ELEMENTS) {
            let n = byte_len(own.dtype, PIECE_ELEMENTS.min(own.n_elements() - start));
            a.resize(n, 0);
            b.resize(n, 0);
            self.read_at(own, start, &mut a)?;
            other.read_at(others, start, &mut b)?;
            if let Some((index, found, expected)) = first_difference(own.dtype, &a, &b) {
                return Ok(Some((start + index, found, expected)));
            }
        }
        Ok(None)
    }

    /// A name for the content that takes little reading, see [`Source::fingerprint`].
    pub(crate) fn fingerprint(&self) -> Result<String, Error> {
        self.name_content(Source::fingerprint)
    }

    fn name_content(&self, name: fn(&Source) -> Result<String, Error>) -> Result<String, Error> {
        if let [source] = &self.sources[..] {
            return name(source);
        }
        let mut hasher = blake3::Hasher::new();
        for source in self.sources.iter() {
            hasher.update(name(source)?.as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Writes the same bytes to a file of that path, whole or not at all, as
    /// [`atomic_write`](crate::atomic_write) does.
    ///
    /// # Errors
    /// If one of the two files cannot be read or written; [`Error::Index`] if its own path is an
    /// index of several.
    pub fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let [source] = &self.sources[..] else {
            let problem = "a model in several files cannot be copied to one".to_owned();
            return Err(Error::Index { path: self.path.clone(), problem });
        };
        let mut file = PendingFile::create(path)?;
        let mut written = Ok(());
        source.visit(0, source.len(), &mut Vec::new(), |bytes| {
            if written.is_ok() {
                written = file.write_all(bytes);
            }
        })?;
        written.map_err(|source| file.write_error(source))?;
        file.persist()
    }

    /// All its bytes, if it is in memory.
    pub fn bytes_in_memory(&self) -> Option<&[u8]> {
        match &self.sources[..] {
            [source] => source.bytes_in_memory(),
            _ => None,
        }
    }

    /// Fills `bytes` with the elements of a tensor from `start` on.
    pub(crate) fn read_at(
        &self,
        tensor: &TensorInfo,
        start: usize,
        bytes: &mut [u8],
    ) -> Result<(), Error> {
        self.sources[tensor.shard].read_exact_at(bytes, tensor.offset(start))
    }

    /// Lets go of the handle: later reads open the file for their duration, and fail if another one
    /// has its name by then, or if it was written to. A process may hold a thousand files or fewer
    /// open at a time.
    pub fn close(&mut self) {
        self.sources = self.sources.iter().map(Source::closed).collect();
    }

    /// Takes the list of another file that has an equal one.
    pub(crate) fn share(&mut self, tensors: Arc<[TensorInfo]>) {
        self.tensors = tensors;
    }

    pub(crate) fn forget_metadata(&mut self) {
        self.metadata = Arc::default();
    }

    /// Fails if a file has another size or time than when it was opened.
    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        self.sources.iter().try_for_each(Source::check_unchanged)
    }

    /// Bytes read so far.
    pub(crate) fn n_read(&self) -> u64 {
        self.sources.iter().map(Source::n_read).sum()
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
        let end = tensor.start + tensor.n_bytes();
        self.sources[tensor.shard].visit(tensor.start, end, buffer, visit)
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
    Source::open(path.as_ref())?.hash()
}
