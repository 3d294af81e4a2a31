//! Whose fault an error is: an update's, or this machine's.

use std::io;
use std::path::Path;

use crate::advice::lacks_handles;
use crate::{Error, Reason, TargetError};

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

impl Error {
    /// Whether a file could not be opened because too many are open already.
    pub fn is_for_lack_of_handles(&self) -> bool {
        match self {
            Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Target(TargetError::LockedFolder { source, .. }) => lacks_handles(source),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_fails_at_is_no_fault_of_an_update() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("there");
        std::fs::write(&path, "1").unwrap();
        let read = |source: io::Error| Error::Read { path: path.clone(), source };
        // Too many open files, of the process and of the machine; a failing disk; no memory.
        #[cfg(unix)]
        for code in [24, 23, 5, 12] {
            let error = read(io::Error::from_raw_os_error(code));
            assert!(matches!(Reason::try_from(error), Err(Error::Read { .. })), "{code}");
        }
        let write = Error::Write { path: path.clone(), source: io::ErrorKind::StorageFull.into() };
        assert!(matches!(Reason::try_from(write), Err(Error::Write { .. })));
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied] {
            let reason = Reason::try_from(read(kind.into()));
            assert!(matches!(reason, Ok(Reason::Unreadable { .. })), "{kind}");
        }
    }
}
