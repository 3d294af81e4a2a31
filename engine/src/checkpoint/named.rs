//! Files of models that somebody named, who has to hear what to do if there are none.

use std::io::ErrorKind;
use std::path::Path;

use aggregate::{Error, WeightFile};
use anyhow::anyhow;

/// Opens the file of a model.
///
/// # Errors
/// If there is none, which [`no_such_model`] tells; or it is damaged.
pub fn open_model(path: &Path) -> anyhow::Result<WeightFile> {
    WeightFile::open(path).map_err(|error| match &error {
        Error::Read { source, .. } if is_missing(source.kind()) => no_such_model(path),
        _ => error.into(),
    })
}

/// That there is no model at a path, and what to do: the same words in all commands.
pub fn no_such_model(path: &Path) -> anyhow::Error {
    anyhow!(
        "{}: there is no such model; name a file that `edgectl init`, `train` or `aggregate` wrote",
        path.display()
    )
}

/// Whether nothing is there, neither a file nor the folder that it would be in.
pub(crate) fn is_missing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}
