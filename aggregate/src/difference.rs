//! Updates as what they change of a base, in few bits.

use serde::{Deserialize, Serialize};

use crate::{Error, WeightFile};

/// The metadata key of every difference file, and of no other.
///
/// Under it there is JSON, `{"kind":…,"base":…}`: the [`Precision`](crate::Precision) and the content
/// hash of the base.
pub const DIFFERENCE_KEY: &str = "edgectl.difference";

/// What the name of the scales of a tensor adds to its own.
pub(crate) const SCALES: &str = ".difference_scales";

/// Values at a time, whole blocks that stay in a cache.
pub(crate) const PIECE: usize = 1 << 14;

/// Differences to one base: nodes [`encode`](Self::encode) their updates, the center
/// [`decode`](Self::decode)s them.
///
/// A difference file holds, for each tensor of the update, what is to be added to that of the base. With
/// the residual `r` that earlier differences left over, 0 at first, in f64 and rounded to f32,
///
/// ```text
/// d = (update − base) + r
/// bf16:  sent = d rounded to BF16, to nearest, ties to even
/// int8:  s    = max |d| / 127 of each 256 values, row-major; the last may be fewer
///        q    = d / s rounded to a whole number, ties to even, in −127..=127
///        sent = q·s in f32
/// decoded     = base + sent in f32; the base itself, bit for bit, where sent is 0
/// r          ← d − (decoded − base)
/// ```
///
/// where the last line is computed in f64 from a `d` that was not rounded, and rounded to f32: nothing
/// is lost for good, not even what the receiver's own sum rounds away. The sums of what is sent and of
/// what was to be sent differ by the last residual, however many rounds there were. This is error
/// feedback, with which compressed updates train as well as whole ones: Seide et al., *1-bit stochastic
/// gradient descent* (Interspeech 2014), and Karimireddy et al., <https://arxiv.org/abs/1901.09847>.
///
/// | `kind` | tensors | bytes a value |
/// |---|---|---|
/// | `bf16` | `NAME` in BF16, with its shape | 2 |
/// | `int8` | `NAME` in I8, with its shape, and `NAME.difference_scales` in F32, one `s` for each 256 values | 1.016 |
///
/// A scale below the normal f32 (`1.2e-38`) is 0, and so are the values of its block, which stay in
/// the residual. The metadata is that of the update and [`DIFFERENCE_KEY`]. The same update, base and
/// residual give the same bytes. An update may lack tensors of the base.
///
/// ```
/// use aggregate::{Differences, Precision, Residual, TensorData, TensorRef, WeightFile, weight_file};
///
/// let model = |values: &[f32]| {
///     let w = TensorRef { name: "w", shape: &[3], data: TensorData::F32(values) };
///     weight_file("model", &[w], &[("round".into(), "7".into())].into())
/// };
/// let base = model(&[1.0, 2.0, 3.0])?;
/// let update = model(&[1.0, 2.5, 3.1])?;
///
/// // On the node:
/// let differences = Differences::of_base(base.clone())?;
/// let (bytes, residual) = differences.encode(&update, &Residual::default(), Precision::Int8)?;
///
/// // At the center, from a file that nobody vouches for:
/// let file = WeightFile::of_bytes("node", bytes)?;
/// let received = Differences::of_base(base)?.decode(&file)?;
/// assert_eq!(received.metadata(), update.metadata());
/// let (values, left) = (received.read_f32("w")?, residual.file().unwrap().read_f32("w")?);
/// assert_eq!(values[0], 1.0);
/// assert!((values[2] - 3.1).abs() <= 0.5 * 0.5 / 127.0);
/// assert!((values[2] + left[2] - 3.1).abs() < 1e-6);
/// # Ok::<(), aggregate::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Differences {
    pub(crate) base: WeightFile,
    /// Its content hash.
    pub(crate) hash: String,
}

/// The JSON under [`DIFFERENCE_KEY`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The name of a precision.
    pub(crate) kind: String,
    /// The content hash of the base.
    pub(crate) base: String,
}

impl Differences {
    /// Differences to a model, of which all that move must be F32.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_base(base: WeightFile) -> Result<Self, Error> {
        let hash = base.content_hash()?;
        Ok(Self { base, hash })
    }

    /// The model.
    pub fn base(&self) -> &WeightFile {
        &self.base
    }

    /// Its content hash, as [`hash_file`](crate::hash_file) gives it.
    pub fn base_hash(&self) -> &str {
        &self.hash
    }
}
