//! Small files of this machine that appear whole.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::Error;

/// Writes a file that is not there yet; a secret one for its owner alone.
pub(crate) fn write_new(path: &Path, bytes: &[u8], secret: bool) -> Result<(), Error> {
    match beside(path, bytes, secret)?.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(Error::setup(
            path.display().to_string(),
            "is there already and is not replaced; remove it first, or choose another name",
        )),
        Err(error) => Err(Error::File { path: path.to_owned(), source: error.error }),
    }
}

/// Writes a file for its owner alone, in the place of one that may be there.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed =
        |error: tempfile::PersistError| Error::File { path: path.to_owned(), source: error.error };
    beside(path, bytes, true)?.persist(path).map(|_| ()).map_err(failed)
}

/// The same bytes in a file without a name of its own yet.
fn beside(path: &Path, bytes: &[u8], secret: bool) -> Result<NamedTempFile, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = if secret { 0o600 } else { 0o644 };
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    #[cfg(not(unix))]
    let _ = secret;
    Ok(file)
}
