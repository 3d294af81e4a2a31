//! The model that updates started from.

use std::path::Path;
use std::sync::Arc;

use crate::blocks::Block;
use crate::dtype::{byte_len, decode_floats, encode_floats, first_invalid};
use crate::layout::compared;
use crate::{Dtype, Error, FloatDtype, Reason, TensorInfo, WeightFile};

/// The model the nodes started from.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) file: WeightFile,
    pub(crate) hash: String,
    /// Its tensors as updates and result must have them.
    pub(crate) layout: Arc<[TensorInfo]>,
}

impl Base {
    pub(crate) fn open(
        path: &Path,
        open: &[WeightFile],
        dtype: Option<FloatDtype>,
    ) -> Result<Self, Error> {
        let file = WeightFile::open_or_known(path, open)?;
        let hash = file.content_hash()?;
        let layout = compared(&file.shared_tensors(), dtype);
        Ok(Self { file, hash, layout })
    }

    /// Reads the bytes of a block, which must hold valid values, in the dtype of the result: floats of
    /// another one are rounded, and may leave its range.
    pub(crate) fn read_block(
        &self,
        block: Block,
        dtype: Dtype,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let tensor = &self.file.tensors()[block.tensor];
        bytes.resize(byte_len(tensor.dtype, block.n_elements), 0);
        self.file.read_at(tensor, block.start, bytes)?;
        if let Some((index, _)) = first_invalid(tensor.dtype, bytes) {
            return Err(self.value_error(tensor, block.start + index));
        }
        if dtype != tensor.dtype {
            let mut values = Vec::new();
            decode_floats(tensor.dtype, bytes, &mut values);
            bytes.clear();
            if !encode_floats(dtype, &values, bytes) {
                let index = first_invalid(dtype, bytes).map_or(0, |(index, _)| index);
                let tensor = tensor.name.clone();
                return Err(Error::OutOfRange { tensor, dtype, index: block.start + index });
            }
        }
        Ok(())
    }

    /// Fails if a value in it is not finite.
    pub(crate) fn check_finite(&self) -> Result<(), Error> {
        match self.file.first_invalid()? {
            Some(Reason::Value { tensor, index, .. }) => {
                Err(Error::BaseValue { path: self.file.path().to_owned(), tensor, index })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn value_error(&self, tensor: &TensorInfo, index: usize) -> Error {
        let path = self.file.path().to_owned();
        Error::BaseValue { path, tensor: tensor.name.clone(), index }
    }
}
