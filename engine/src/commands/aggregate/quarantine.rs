//! Where refused files go.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::federation::Refused;

/// What became of the files that were to be moved.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Where they are now.
    pub(super) to: Vec<String>,
    /// Why some could not be moved; they are where they were.
    pub(super) failed: Vec<anyhow::Error>,
}

/// Moves refused files to a folder. A name that is taken there gets a number.
///
/// What is also named as output or base stays: it is the global model, whatever it was as an update.
/// So does what a link stands for: another folder may need it, and a moved link leads elsewhere.
pub(super) fn quarantine(refused: &[Refused], folder: &Path, stay: &[Option<&PathBuf>]) -> Moved {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let stay: Vec<_> = stay.iter().flatten().filter_map(|path| real(path)).collect();
    let mut moved = Moved::default();
    // Updates in folders of their own often share a name: the next number that may be free.
    let mut next: BTreeMap<OsString, u32> = BTreeMap::new();
    for path in refused.iter().map(|refused| &refused.file) {
        let is_index = path.extension().is_some_and(|extension| extension == "json");
        if is_index || real(path).is_none_or(|path| stay.contains(&path)) {
            continue;
        }
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        let next = next.entry(name.to_owned()).or_default();
        let free = (*next..u32::MAX)
            .inspect(|n| *next = n + 1)
            .map(|n| {
                let mut numbered =
                    OsString::from(if n == 0 { String::new() } else { format!("{n}-") });
                numbered.push(name);
                folder.join(numbered)
            })
            // Also a link that leads nowhere takes its name.
            .find(|target| target.symlink_metadata().is_err());
        let result = match free {
            Some(free) => move_to(path, &free).map(|()| free.display().to_string()),
            None => Err(anyhow::anyhow!("{}: no name is free in the quarantine", path.display())),
        };
        match result {
            Ok(place) => moved.to.push(place),
            Err(error) => moved.failed.push(error),
        }
    }
    moved
}

fn move_to(path: &Path, free: &Path) -> anyhow::Result<()> {
    let place = || format!("{}: cannot be moved to {}", path.display(), free.display());
    let is_link = path.is_symlink();
    // Another disk cannot be reached by renaming.
    if !is_link && fs::rename(path, free).is_ok() {
        return Ok(());
    }
    let copied = fs::copy(path, free).map(|_| ()).and_then(|()| fs::remove_file(path));
    if copied.is_err() {
        // Half of a copy, or one of two, is of no use.
        let _ = fs::remove_file(free);
    }
    copied.with_context(place)
}
