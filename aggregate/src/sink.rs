//! Where a file is written to: beside its place on the disk, or into memory.

use std::path::{Path, PathBuf};

use crate::atomic::PendingFile;
use crate::{Error, WeightFile};

/// A file that is not yet complete.
#[derive(Debug)]
pub(crate) enum Sink {
    File(PendingFile),
    Memory { name: PathBuf, bytes: Vec<u8> },
}

impl Sink {
    pub(crate) fn memory(name: &Path) -> Self {
        Self::Memory { name: name.to_owned(), bytes: Vec::new() }
    }

    /// The name it will have.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(file) => file.path(),
            Self::Memory { name, .. } => name,
        }
    }

    /// Writes bytes to a place in it.
    pub(crate) fn write_at(&mut self, new: &[u8], offset: u64) -> Result<(), Error> {
        match self {
            Self::File(file) => file.write_at(new, offset),
            Self::Memory { bytes, .. } => {
                let start = offset as usize;
                bytes.resize(bytes.len().max(start + new.len()), 0);
                bytes[start..start + new.len()].copy_from_slice(new);
                Ok(())
            }
        }
    }

    /// Fills `buffer` with bytes that were written.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        match self {
            Self::File(file) => file.read_at(buffer, offset),
            Self::Memory { bytes, .. } => {
                let start = offset as usize;
                buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
                Ok(())
            }
        }
    }

    /// Cuts it, or makes it longer.
    pub(crate) fn set_len(&mut self, len: u64) -> Result<(), Error> {
        match self {
            Self::File(file) => file.set_len(len),
            Self::Memory { bytes, .. } => {
                bytes.resize(len as usize, 0);
                Ok(())
            }
        }
    }

    /// Waits until the bytes are on the disk, if that is where they go.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        match self {
            Self::File(file) => file.sync(),
            Self::Memory { .. } => Ok(()),
        }
    }

    /// Whether reading it again takes longer than hashing it while it is written.
    pub(crate) fn is_hashed_on_the_way(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// A name for the content, see [`Source::hash`](crate::source::Source::hash).
    pub(crate) fn hash(&self) -> Result<String, Error> {
        match self {
            Self::File(file) => file.hash(),
            Self::Memory { bytes, .. } => Ok(blake3::hash(bytes).to_hex().to_string()),
        }
    }

    /// Gives a file its name.
    pub(crate) fn persist(self) -> Result<(), Error> {
        match self {
            Self::File(file) => file.persist(),
            Self::Memory { .. } => Ok(()),
        }
    }

    /// Gives a file another name in the same folder.
    pub(crate) fn persist_as(self, path: &Path) -> Result<(), Error> {
        match self {
            Self::File(file) => file.persist_as(path),
            Self::Memory { .. } => Ok(()),
        }
    }

    /// What was written, to be read: from memory, or from the disk once it has its name.
    pub(crate) fn into_file(self) -> Result<WeightFile, Error> {
        match self {
            Self::Memory { name, bytes } => WeightFile::of_bytes(name, bytes),
            Self::File(file) => {
                let path = file.path().to_owned();
                file.persist()?;
                WeightFile::open(path)
            }
        }
    }
}
