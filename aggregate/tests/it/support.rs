//! A folder of small weight files, and values of any dtype.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aggregate::{
    Dtype, Error, Options, Quorum, Rejected, Report, Rules, TensorData, TensorRef, Update,
    WeightFile, write_file,
};
use proptest::prelude::*;

/// The default, but that a single update is enough.
pub(crate) fn keep_going() -> Options {
    let rules = Rules { quorum: Quorum::AtLeast(1), ..Rules::default() };
    Options { rules, ..Options::default() }
}

/// The same with other rules.
pub(crate) fn with(options: &Options, change: impl FnOnce(&mut Rules)) -> Options {
    let mut options = options.clone();
    change(&mut options.rules);
    options
}

/// Every dtype that can be merged, the floats first.
pub(crate) const DTYPES: [Dtype; 13] = [
    Dtype::F16,
    Dtype::BF16,
    Dtype::F32,
    Dtype::F64,
    Dtype::BOOL,
    Dtype::U8,
    Dtype::I8,
    Dtype::U16,
    Dtype::I16,
    Dtype::U32,
    Dtype::I32,
    Dtype::U64,
    Dtype::I64,
];

/// A temporary folder.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file with these tensors and no metadata.
    pub(crate) fn save(&self, name: &str, tensors: &[TensorRef<'_>]) -> PathBuf {
        let path = self.path(name);
        write_file(&path, tensors, &BTreeMap::new()).unwrap();
        path
    }

    /// A file with one f32 tensor called `w`.
    pub(crate) fn save_f32(&self, name: &str, values: &[f32]) -> PathBuf {
        self.save(name, &[f32_tensor("w", &[values.len()], values)])
    }

    /// A file with one tensor called `w` of any dtype.
    pub(crate) fn save_raw(&self, name: &str, dtype: Dtype, bytes: &[u8]) -> PathBuf {
        let shape = [bytes.len() * 8 / dtype.bitsize()];
        self.save(name, &[raw_tensor("w", &shape, dtype, bytes)])
    }

    /// A file of any bytes.
    pub(crate) fn save_bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The names of all files in it, sorted.
    pub(crate) fn list(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Merges without metadata into the file `out` of this folder.
    pub(crate) fn merge(&self, updates: &[Update], options: &Options) -> Result<Report, Error> {
        aggregate::aggregate(updates, options, &self.path("out"), &|_| Ok(BTreeMap::new()))
    }

    /// The values of `w` in the file `out`.
    pub(crate) fn merged(&self) -> Vec<f64> {
        values(&self.path("out"), "w")
    }

    /// The bytes of `w` in the file `out`.
    pub(crate) fn merged_bytes(&self) -> Vec<u8> {
        self.merged_bytes_of("w")
    }

    /// The bytes of a tensor in the file `out`.
    pub(crate) fn merged_bytes_of(&self, tensor: &str) -> Vec<u8> {
        let bytes = std::fs::read(self.path("out")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor(tensor).unwrap().data().to_vec()
    }
}

pub(crate) fn f32_tensor<'a>(
    name: &'a str,
    shape: &'a [usize],
    values: &'a [f32],
) -> TensorRef<'a> {
    TensorRef { name, shape, data: TensorData::F32(values) }
}

pub(crate) fn raw_tensor<'a>(
    name: &'a str,
    shape: &'a [usize],
    dtype: Dtype,
    bytes: &'a [u8],
) -> TensorRef<'a> {
    TensorRef { name, shape, data: TensorData::Raw { dtype, bytes } }
}

/// An update of `node`.
pub(crate) fn from_node(node: &str, path: &Path, weight: f64) -> Update {
    Update { node: Some(node.to_owned()), ..Update::new(path, weight) }
}

/// All values of one tensor.
pub(crate) fn values(path: &Path, tensor: &str) -> Vec<f64> {
    let mut all = Vec::new();
    WeightFile::open(path)
        .unwrap()
        .visit_f64(tensor, |piece| all.extend_from_slice(piece))
        .unwrap();
    all
}

/// File name and reason of every rejection.
pub(crate) fn reasons(rejected: &[Rejected]) -> Vec<(String, String)> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    rejected.iter().map(|r| (name(&r.path), r.reason.to_string())).collect()
}

/// Any dtype with a few rows of valid values, as bytes; the rows have equal lengths.
pub(crate) fn rows_of_any_dtype(max_rows: usize) -> impl Strategy<Value = (Dtype, Vec<Vec<u8>>)> {
    rows_of(DTYPES.len(), max_rows)
}

/// The same of the floats alone.
pub(crate) fn rows_of_any_float(max_rows: usize) -> impl Strategy<Value = (Dtype, Vec<Vec<u8>>)> {
    rows_of(4, max_rows)
}

fn rows_of(n_dtypes: usize, max_rows: usize) -> impl Strategy<Value = (Dtype, Vec<Vec<u8>>)> {
    (0..n_dtypes, 1..=max_rows, 1..12usize).prop_flat_map(|(dtype, n_rows, n_elements)| {
        let element = prop_oneof![
            any::<u64>(),
            // Zeros of both signs at every width, and neighbours of powers of two.
            prop::sample::select(vec![0, 1 << 63, 1 << 31, 1 << 15, (1 << 53) + 1, 1, u64::MAX]),
        ];
        let row = prop::collection::vec(element, n_elements);
        let rows = prop::collection::vec(row, n_rows);
        let dtype = DTYPES[dtype];
        rows.prop_map(move |rows| (dtype, rows.iter().map(|row| valid(dtype, row)).collect()))
    })
}

/// The low bytes of each number; a float that is not finite loses the top bit of its exponent.
fn valid(dtype: Dtype, row: &[u64]) -> Vec<u8> {
    let repaired = |bits: u64| match dtype {
        Dtype::F16 if bits & 0x7C00 == 0x7C00 => bits & !0x4000,
        Dtype::BF16 if bits & 0x7F80 == 0x7F80 => bits & !0x4000,
        Dtype::F32 if bits & 0x7F80_0000 == 0x7F80_0000 => bits & !0x4000_0000,
        Dtype::F64 if !f64::from_bits(bits).is_finite() => bits & !(1 << 62),
        Dtype::BOOL => bits & 1,
        _ => bits,
    };
    row.iter().flat_map(|&b| repaired(b).to_le_bytes()[..dtype.bitsize() / 8].to_vec()).collect()
}
