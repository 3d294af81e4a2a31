//! A plain file that is read at any place, for formats that begin at their end.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};

/// Opens a file once more; its length in bytes.
///
/// # Errors
/// If it cannot be opened, and if it is a pipe, which has no end to begin at.
pub(super) fn open(path: &Path, format: &str) -> anyhow::Result<(File, u64)> {
    let unreadable = || format!("{}: cannot open the file", path.display());
    // A pipe is not opened, as that would wait for its writer.
    let is_plain = path.metadata().with_context(unreadable)?.is_file();
    if !is_plain {
        bail!("{}: {format} is read from plain files only; write it to one", path.display());
    }
    let file = File::open(path).with_context(unreadable)?;
    let len = file.metadata().with_context(unreadable)?.len();
    Ok((file, len))
}
