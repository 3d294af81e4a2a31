//! Why an output cannot have its name.

use std::io;
use std::path::PathBuf;

use crate::advice::advice;

/// Why nothing is written under a name; every message names it and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The folder of an output file is missing.
    #[error(
        "cannot write {}: the folder {} does not exist; create it first",
        path.display(),
        folder.display()
    )]
    NoFolder {
        /// The file that was to be written.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// An output path is there and not a plain file.
    #[error(
        "cannot write {}: it is {kind}, and only a plain file is ever replaced; name another file",
        path.display()
    )]
    NotAFile {
        /// The path as given.
        path: PathBuf,
        /// What it is, in words.
        kind: &'static str,
    },
    /// An output would replace an input.
    #[error(
        "cannot write {}: it is the input {}, which would be lost; name another output",
        path.display(),
        input.display()
    )]
    TargetIsInput {
        /// The output.
        path: PathBuf,
        /// The input.
        input: PathBuf,
    },
    /// Two outputs are one file.
    #[error(
        "cannot write {} and {}: they are the same file; give each output a name of its own",
        first.display(),
        second.display()
    )]
    SameTarget {
        /// One of them.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// The index of a model in several files is a link.
    #[error(
        "cannot write {}: the index of a model in several files lies beside them and is no link; \
         name the file that the link stands for",
        path.display()
    )]
    LinkedIndex {
        /// The link.
        path: PathBuf,
    },
    /// A file is in the place of one that lies beside an output, and is of another kind.
    #[error(
        "cannot write {}: what is there is no file of edgectl and would be lost; move it away, or name \
         another output",
        path.display()
    )]
    NotOurs {
        /// The file that lies beside the output.
        path: PathBuf,
    },
    /// A single file has the name of an index.
    #[error(
        "cannot write {}: the name of an index (.safetensors.index.json) is for models in several \
         files, which a merge alone writes; name a file that ends in .safetensors",
        path.display()
    )]
    IndexName {
        /// The path as given.
        path: PathBuf,
    },
    /// No file can be made in the folder of an output.
    #[error(
        "cannot write {}: cannot write into the folder {}: {source}{}",
        path.display(),
        folder.display(),
        advice(source)
    )]
    LockedFolder {
        /// The file that was to be written.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An output path ends in no name.
    #[error("cannot write {}: it is not the name of a file; add a file name", path.display())]
    NotAFileName {
        /// The path as given.
        path: PathBuf,
    },
}
