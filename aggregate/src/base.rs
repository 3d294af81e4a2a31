//! The model that updates started from.

use std::path::Path;

use crate::blocks::Block;
use crate::dtype::{byte_len, first_invalid};
use crate::{Error, Reason, TensorInfo, WeightFile};

/// The model the nodes started from.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) file: WeightFile,
    pub(crate) hash: String,
}

impl Base {
    pub(crate) fn open(path: &Path, open: &[WeightFile]) -> Result<Self, Error> {
        let file = WeightFile::open_or_known(path, open)?;
        let hash = file.content_hash()?;
        Ok(Self { file, hash })
    }

    /// Reads the bytes of a block, which must hold valid values.
    pub(crate) fn read_block(&self, block: Block, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let tensor = &self.file.tensors()[block.tensor];
        bytes.resize(byte_len(tensor.dtype, block.n_elements), 0);
        self.file.read_at(tensor, block.start, bytes)?;
        match first_invalid(tensor.dtype, bytes) {
            None => Ok(()),
            Some((index, _)) => Err(self.value_error(tensor, block.start + index)),
        }
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
