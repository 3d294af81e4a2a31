//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store cannot be used as it was named.
    #[error("store {url}: {problem}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The store refuses, or has not answered for as long as was waited.
    #[error("store {url}: cannot {what} {path}: {problem}")]
    Store {
        /// The store.
        url: String,
        /// What was tried.
        what: &'static str,
        /// With which object.
        path: String,
        /// What the store said.
        problem: String,
    },
    /// Whoever waited was told to stop.
    #[error("stopped while waiting for the store")]
    Stopped,
    /// An object that others rely on is not there.
    #[error("{path}: not in the store, though it was published; somebody has removed it")]
    Missing {
        /// The object.
        path: String,
    },
    /// An object is not what it should be: it was changed, forged, or is for something else.
    #[error("{path}: {problem}")]
    Refused {
        /// The object.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key, a roster or a name that the operator gave is wrong.
    #[error("{path}: {problem}")]
    Setup {
        /// The file, or the name.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A file of this machine cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn refused(path: &str, problem: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn setup(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Setup { path: path.into(), problem: problem.into() }
    }
}
