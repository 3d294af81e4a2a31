//! A difference is made an update again, trusting nothing it says.

use crate::difference::{DIFFERENCE_KEY, PIECE, Record, SCALES};
use crate::encode::scales_of;
use crate::memory_file::MemoryFile;
use crate::quantize::{BLOCK, add, read_bf16, read_int8};
use crate::reject::Reason;
use crate::rows::Element;
use crate::{Differences, Dtype, Error, Precision, TensorInfo, WeightFile};

/// Characters of a stranger's text that a message repeats.
const MAX_TEXT: usize = 100;

impl Differences {
    /// The update that a difference file stands for, in memory, by the name of that file: F32 tensors
    /// base + difference, and its metadata without [`DIFFERENCE_KEY`].
    ///
    /// Nothing in the file is believed. It takes no more memory than the base and its own metadata.
    ///
    /// # Errors
    /// [`Error::Difference`] with the [`Reason`] if it is no difference, of an unknown kind or to another
    /// base; if tensors or scales are missing, not expected, or of another dtype or shape; if a value is
    /// not finite, a scale negative, a step −128, or a sum beyond f32. [`Error::BaseValue`] if the fault
    /// is the base's; [`Error::HeaderLen`]; or if a file cannot be read, or changed meanwhile.
    pub fn decode(&self, difference: &WeightFile) -> Result<WeightFile, Error> {
        let reject = |reason| Error::Difference { path: difference.path().to_owned(), reason };
        let precision = self.read_record(difference).map_err(reject)?;
        let tensors = self.read_layout(difference, precision).map_err(reject)?;
        let mut metadata = difference.metadata().clone();
        metadata.remove(DIFFERENCE_KEY);
        let specs: Vec<_> = tensors
            .iter()
            .map(|(own, _)| (own.name.clone(), Dtype::F32, own.shape.clone()))
            .collect();
        let mut out = MemoryFile::new(difference.path(), &specs, &metadata)?;

        let (mut values, mut changes, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for (i, &(own, base)) in tensors.iter().enumerate() {
            let scales = match precision {
                Precision::Bf16 => Vec::new(),
                Precision::Int8 => read_scales(difference, own)?,
            };
            for start in (0..own.n_elements()).step_by(PIECE) {
                let n = PIECE.min(own.n_elements() - start);
                values.resize(n, 0.0);
                changes.resize(n, 0.0);
                bytes.resize(n * own.dtype.bitsize() / 8, 0);
                difference.read_at(own, start, &mut bytes)?;
                let sound = match precision {
                    Precision::Bf16 => read_bf16(&mut changes, &bytes),
                    Precision::Int8 => read_int8(&mut changes, &bytes, &scales[start / BLOCK..]),
                };
                f32::read(&self.base, base, start, &mut Vec::new(), &mut values)?;
                if !(sound && add(&mut values, &changes)) {
                    f32::read(&self.base, base, start, &mut Vec::new(), &mut values)?;
                    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                        let (path, tensor) = (self.base.path().to_owned(), base.name.clone());
                        return Err(Error::BaseValue { path, tensor, index: start + i });
                    }
                    let (i, found) = first_bad(precision, &bytes, &changes, &values);
                    let (tensor, index) = (own.name.clone(), start + i);
                    return Err(reject(Reason::Value { tensor, index, found }));
                }
                out.put(i, start, &values);
            }
        }
        self.base.check_unchanged()?;
        difference.check_unchanged()?;
        WeightFile::of_bytes(difference.path(), out.into_bytes())
    }

    /// What a file says of itself under [`DIFFERENCE_KEY`].
    fn read_record(&self, difference: &WeightFile) -> Result<Precision, Reason> {
        let refused = |problem: String| Reason::Difference { problem };
        let Some(json) = difference.metadata().get(DIFFERENCE_KEY) else {
            return Err(refused(format!("its metadata has no key {DIFFERENCE_KEY:?}")));
        };
        let record: Record = serde_json::from_str(json)
            .map_err(|e| refused(format!("its key {DIFFERENCE_KEY:?}: {}", cut(&e.to_string()))))?;
        let precision: Precision = record.kind.parse().map_err(|e| {
            refused(format!("it is a difference of kind {:?}, {e}", cut(&record.kind)))
        })?;
        if record.base != self.hash {
            let (expected, found) = (self.hash.clone(), cut(&record.base));
            return Err(Reason::Base { expected, found });
        }
        Ok(precision)
    }

    /// The changes in a file, and which tensor of the base each belongs to; exactly their scales are
    /// beside them.
    fn read_layout<'a>(
        &'a self,
        difference: &'a WeightFile,
        precision: Precision,
    ) -> Result<Vec<(&'a TensorInfo, &'a TensorInfo)>, Reason> {
        let has_scales = precision == Precision::Int8;
        let (mut pairs, mut expected) = (Vec::new(), Vec::new());
        for own in difference.tensors() {
            if has_scales && own.name.ends_with(SCALES) {
                continue;
            }
            let Some(base) = self.base.tensor(&own.name) else {
                return Err(Reason::Unexpected { tensor: own.name.clone() });
            };
            if base.dtype != Dtype::F32 {
                let (name, dtype) = (&base.name, base.dtype);
                let problem =
                    format!("tensor {name:?} of the base has dtype {dtype}, and it takes an F32");
                return Err(Reason::Difference { problem });
            }
            if has_scales {
                let (name, dtype, shape) = scales_of(base);
                expected.push(TensorInfo { name, dtype, shape, ..own.clone() });
            }
            expected.push(TensorInfo { dtype: precision.dtype(), ..base.clone() });
            pairs.push((own, base));
        }
        expected.sort();
        match Reason::mismatch(&expected, difference.tensors()) {
            Some(reason) => Err(reason),
            None => Ok(pairs),
        }
    }
}

/// The scales of a tensor: finite, and 0 or more.
fn read_scales(difference: &WeightFile, tensor: &TensorInfo) -> Result<Vec<f32>, Error> {
    let (name, ..) = scales_of(tensor);
    let scales = difference.read_f32(&name)?;
    let bad = scales.iter().position(|s| !(s.is_finite() && s.is_sign_positive()));
    if let Some(index) = bad {
        let found = format!("{:?}, no scale,", scales[index]);
        let reason = Reason::Value { tensor: name, index, found };
        return Err(Error::Difference { path: difference.path().to_owned(), reason });
    }
    Ok(scales)
}

/// The first change of a piece that cannot be added to a sound base, in words.
fn first_bad(precision: Precision, bytes: &[u8], changes: &[f32], base: &[f32]) -> (usize, String) {
    for (i, (change, base)) in changes.iter().zip(base).enumerate() {
        if precision == Precision::Int8 && bytes[i] == 0x80 {
            return (i, "-128, and steps end at -127,".to_owned());
        }
        if precision == Precision::Bf16 && !change.is_finite() {
            return (i, change.to_string());
        }
        if !(base + change).is_finite() {
            return (i, format!("a change that takes {base:e} out of the range of F32"));
        }
    }
    (0, "a change that is not finite".to_owned())
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
