//! Whose fault an error is: an update's, or this machine's.

use std::io;
use std::path::Path;

use crate::{Error, Reason};

/// The reason to leave an update out that a read of it failed for; the error itself if it is not
/// the update's fault but this machine's, such as too many open files or a failing disk.
impl TryFrom<Error> for Reason {
    type Error = Error;

    fn try_from(error: Error) -> Result<Self, Error> {
        match error {
            Error::Format { problem, .. } => Ok(Self::Malformed { problem }),
            Error::Changed { .. } => Ok(Self::Changed),
            Error::Index { .. } => Ok(Self::Unreadable { message: error.to_string() }),
            Error::Read { path, source } if is_of_the_file(&path, &source) => {
                Ok(Self::Unreadable { message: source.to_string() })
            }
            other => Err(other),
        }
    }
}

/// Whether a failed read tells of the file, and could be caused by whoever put it there.
fn is_of_the_file(path: &Path, source: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    let leads_nowhere = || path.is_symlink() && !path.exists();
    matches!(source.kind(), NotFound | PermissionDenied | IsADirectory | NotADirectory)
        || leads_nowhere()
}
