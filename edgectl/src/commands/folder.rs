//! Whether an output can be written, before hours of work that end in it.

use std::path::Path;

use anyhow::{Context, ensure};

/// Checks that the folder of an output exists.
pub(super) fn check_folder(out: &Path) -> anyhow::Result<()> {
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    ensure!(
        folder.is_dir(),
        "{}: the folder {} does not exist; create it first",
        out.display(),
        folder.display()
    );
    ensure!(!out.is_dir(), "{}: this is a folder; name a file in it", out.display());
    tempfile::tempfile_in(folder).with_context(|| {
        format!("{}: cannot write into the folder {}", out.display(), folder.display())
    })?;
    Ok(())
}
