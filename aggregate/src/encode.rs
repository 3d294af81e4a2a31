//! An update is made a difference.

use std::path::Path;

use crate::difference::{DIFFERENCE_KEY, PIECE, Record, SCALES};
use crate::memory_file::MemoryFile;
use crate::quantize::{BLOCK, changes, leave_over, round_bf16, round_int8};
use crate::residual::Note;
use crate::rows::Element;
use crate::{Differences, Dtype, Error, Precision, RESIDUAL, Residual, TensorInfo, WeightFile};

impl Differences {
    /// The bytes of the difference file of an update, and what is left over for the next.
    ///
    /// The residual is to be [written](Residual::write) once the difference is sent; both are made in
    /// memory, one after the other in pieces of bounded size.
    ///
    /// # Errors
    /// [`Error::NoDifference`] if the update is to be sent whole: if a tensor of it or of the base is not
    /// F32, has another shape than in the base or is not there, if a name ends like that of scales, or
    /// if a value or its change is not finite or leaves the range of the precision. [`Error::BaseValue`]
    /// if a value of the base is not finite; [`Error::Sidecar`] if the residual is that of another model,
    /// or not finite; [`Error::HeaderLen`]; or if a file cannot be read, or changed meanwhile.
    pub fn encode(
        &self,
        update: &WeightFile,
        residual: &Residual,
        precision: Precision,
    ) -> Result<(Vec<u8>, Residual), Error> {
        self.check(update, precision)?;
        residual.check_fits(&self.base)?;
        let mut sent = self.sent_file(update, precision)?;
        let others: Vec<_> =
            residual.tensors().iter().filter(|t| update.tensor(&t.name).is_none()).collect();
        let path = RESIDUAL.path(update.path());
        let mut left = left_file(&path, update.tensors().iter().chain(others.iter().copied()))?;

        let n_tensors = update.tensors().len();
        let mut piece = Piece::default();
        for (i, tensor) in update.tensors().iter().enumerate() {
            for start in (0..tensor.n_elements()).step_by(PIECE) {
                piece.read(self, update, residual, tensor, start)?;
                let n = piece.update.len();
                let mut fits = changes(&mut piece.sent, &piece.update, &piece.base, &piece.left);
                let place = sent.place(i, start, n);
                match precision {
                    Precision::Bf16 => fits = fits && round_bf16(place, &mut piece.sent),
                    Precision::Int8 if fits => {
                        let mut scales = [0.0; PIECE / BLOCK];
                        let scales = &mut scales[..n.div_ceil(BLOCK)];
                        round_int8(place, scales, &mut piece.sent);
                        sent.put(n_tensors + i, start / BLOCK, scales);
                    }
                    Precision::Int8 => {}
                }
                let Piece { update: values, base, left: rest, sent } = &mut piece;
                if !(fits && leave_over(rest, values, base, sent)) {
                    // The residual may be written over by now.
                    residual.read(&tensor.name, start, rest)?;
                    return Err(
                        self.value_error(update, residual, tensor, start, &piece, precision)
                    );
                }
                left.put(i, start, &piece.left);
            }
        }
        for (i, tensor) in (n_tensors..).zip(others) {
            for start in (0..tensor.n_elements()).step_by(PIECE) {
                piece.left.resize(PIECE.min(tensor.n_elements() - start), 0.0);
                residual.read(&tensor.name, start, &mut piece.left)?;
                left.put(i, start, &piece.left);
            }
        }
        self.base.check_unchanged()?;
        update.check_unchanged()?;
        let left = WeightFile::of_bytes(path, left.into_bytes())?;
        Ok((sent.into_bytes(), Residual::of_file(left)?))
    }

    /// Fails if the headers show that an update is to be sent whole.
    fn check(&self, update: &WeightFile, precision: Precision) -> Result<(), Error> {
        let whole = |problem: String| Err(no_difference(update, problem));
        if update.metadata().contains_key(DIFFERENCE_KEY) {
            return whole(format!("its metadata has the key {DIFFERENCE_KEY:?}, so it is one"));
        }
        for TensorInfo { name, dtype, shape, .. } in update.tensors() {
            let Some(base) = self.base.tensor(name) else {
                return whole(format!("the base has no tensor {name:?}"));
            };
            if *dtype != Dtype::F32 {
                return whole(format!("tensor {name:?} has dtype {dtype}, expected F32"));
            }
            if base.dtype != Dtype::F32 {
                let dtype = base.dtype;
                return whole(format!(
                    "tensor {name:?} of the base has dtype {dtype}, expected F32"
                ));
            }
            if *shape != base.shape {
                let expected = &base.shape;
                return whole(format!(
                    "tensor {name:?} has shape {shape:?}, the base's {expected:?}"
                ));
            }
            if precision == Precision::Int8 && name.ends_with(SCALES) {
                return whole(format!(
                    "the name of tensor {name:?} ends with {SCALES:?} like those of scales"
                ));
            }
        }
        Ok(())
    }

    /// The difference file: the changes in the order of tensors, then the scales.
    fn sent_file(&self, update: &WeightFile, precision: Precision) -> Result<MemoryFile, Error> {
        let record = Record { kind: precision.name().to_owned(), base: self.hash.clone() };
        let json = serde_json::to_string(&record).map_err(|source| Error::Metadata {
            path: update.path().to_owned(),
            source: source.into(),
        })?;
        let mut metadata = update.metadata().clone();
        metadata.insert(DIFFERENCE_KEY.to_owned(), json);
        let changes = update.tensors().iter();
        let mut specs: Vec<_> =
            changes.map(|t| (t.name.clone(), precision.dtype(), t.shape.clone())).collect();
        if precision == Precision::Int8 {
            specs.extend(update.tensors().iter().map(scales_of));
        }
        MemoryFile::new(update.path(), &specs, &metadata)
    }

    /// Why a piece cannot be sent.
    fn value_error(
        &self,
        update: &WeightFile,
        residual: &Residual,
        tensor: &TensorInfo,
        start: usize,
        piece: &Piece,
        precision: Precision,
    ) -> Error {
        let name = &tensor.name;
        let first = |values: &[f32]| values.iter().position(|v| !v.is_finite());
        if let Some(i) = first(&piece.update) {
            let (index, value) = (start + i, piece.update[i]);
            return no_difference(
                update,
                format!("tensor {name:?} holds {value} at element {index}"),
            );
        }
        if let Some(i) = first(&piece.base) {
            let (path, tensor) = (self.base.path().to_owned(), name.clone());
            return Error::BaseValue { path, tensor, index: start + i };
        }
        if let Some(i) = first(&piece.left) {
            let (index, value) = (start + i, piece.left[i]);
            return residual.error(format!("its tensor {name:?} holds {value} at element {index}"));
        }
        let sums = piece.base.iter().zip(&piece.sent);
        let index = start + sums.take_while(|(b, d)| (*b + *d).is_finite()).count();
        no_difference(
            update,
            format!(
                "the change of tensor {name:?} leaves the range of {precision} at element {index}"
            ),
        )
    }
}

/// Name, dtype and shape of the scales of a tensor.
pub(crate) fn scales_of(tensor: &TensorInfo) -> (String, Dtype, Vec<usize>) {
    let n_blocks = tensor.n_elements().div_ceil(BLOCK);
    (format!("{}{SCALES}", tensor.name), Dtype::F32, vec![n_blocks])
}

/// A file for what is left over.
fn left_file<'a>(
    path: &Path,
    tensors: impl Iterator<Item = &'a TensorInfo>,
) -> Result<MemoryFile, Error> {
    let specs: Vec<_> = tensors.map(|t| (t.name.clone(), Dtype::F32, t.shape.clone())).collect();
    MemoryFile::new(path, &specs, &RESIDUAL.metadata(path, &Note {})?)
}

fn no_difference(update: &WeightFile, problem: String) -> Error {
    Error::NoDifference { path: update.path().to_owned(), problem }
}

/// Some values of a tensor, side by side.
#[derive(Default)]
struct Piece {
    update: Vec<f32>,
    base: Vec<f32>,
    /// What was left over, then what is.
    left: Vec<f32>,
    /// The changes, then what a receiver reads of them.
    sent: Vec<f32>,
}

impl Piece {
    /// Reads the values of a tensor from `start` on.
    fn read(
        &mut self,
        differences: &Differences,
        update: &WeightFile,
        residual: &Residual,
        tensor: &TensorInfo,
        start: usize,
    ) -> Result<(), Error> {
        let n = PIECE.min(tensor.n_elements() - start);
        let Self { update: values, base, left, sent } = self;
        for values in [&mut *values, &mut *base, &mut *left, sent] {
            values.resize(n, 0.0);
        }
        f32::read(update, tensor, start, &mut Vec::new(), values)?;
        let own = &differences.base;
        // It was found when the update was checked.
        let of_base = own.tensor(&tensor.name).ok_or_else(|| Error::NoTensor {
            path: own.path().to_owned(),
            tensor: tensor.name.clone(),
        })?;
        f32::read(own, of_base, start, &mut Vec::new(), base)?;
        residual.read(&tensor.name, start, left)
    }
}
