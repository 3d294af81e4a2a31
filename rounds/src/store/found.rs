//! What a store finds at a path.

use bytes::Bytes;

use crate::error::Error;

/// How creating an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was not there before.
    New,
    /// It was there, with the same bytes: somebody was here before, maybe this very program.
    Same,
    /// It was there with these other bytes, which stay; with none where they are too many to be fetched.
    Other(Bytes),
}

/// Most bytes that are fetched of an object in the place of another one.
pub(super) const MOST_OTHER: u64 = 32 << 20;

/// What a request for an object gave.
pub(super) enum Fetched {
    Nothing,
    Bytes(Bytes),
    TooLarge(u64),
    /// A folder, a pipe or the like.
    NoFile,
}

impl Fetched {
    /// What is there beside bytes that were to be created.
    pub(super) fn beside(self, bytes: &[u8]) -> Created {
        match self {
            Self::Bytes(there) if there == bytes => Created::Same,
            Self::Bytes(there) => Created::Other(there),
            _ => Created::Other(Bytes::new()),
        }
    }

    pub(super) fn found(self, path: &str, most: u64) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Nothing => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::TooLarge(bytes) => Err(too_large(path, bytes, most)),
            Self::NoFile => Err(Error::refused(path, "is no plain file")),
        }
    }
}

fn too_large(path: &str, bytes: u64, most: u64) -> Error {
    Error::refused(path, format!("has {bytes} bytes, at most {most} are taken"))
}
