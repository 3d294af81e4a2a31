//! The description of one tensor in a file.

use crate::Dtype;
use crate::dtype::byte_len;

/// Name, dtype and shape of one tensor in a [`WeightFile`](crate::WeightFile).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TensorInfo {
    /// The name, unique in its file.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// Sizes, outermost first; `[]` is a single number.
    pub shape: Vec<usize>,
    /// First byte, counted from the start of its file.
    pub(crate) start: u64,
    /// Which of the files of a sharded model holds it.
    pub(crate) shard: usize,
}

impl TensorInfo {
    /// How many elements it has: the product of its shape.
    pub fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many bytes its values take.
    pub fn n_bytes(&self) -> u64 {
        // The header's checks have shown that this does not overflow.
        (self.n_elements() as u64).saturating_mul(self.dtype.bitsize() as u64) / 8
    }

    /// Where element `index`, with which a byte begins, starts in the file.
    pub(crate) fn offset(&self, index: usize) -> u64 {
        self.start + byte_len(self.dtype, index) as u64
    }
}

/// `[2, 3]`.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    format!("{shape:?}")
}
