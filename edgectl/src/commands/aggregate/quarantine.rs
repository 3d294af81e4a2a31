//! Where refused files go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::federation::Refused;

/// Moves refused files to a folder; the new paths. A name that is taken there gets a number.
///
/// What is also named as output or base stays: it is the global model, whatever it was as an update.
pub(super) fn quarantine(
    refused: &[Refused],
    folder: &Path,
    stay: &[Option<&PathBuf>],
) -> anyhow::Result<Vec<String>> {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let stay: Vec<_> = stay.iter().flatten().filter_map(|path| real(path)).collect();
    let mut moved = Vec::new();
    // Updates in folders of their own often share a name: the next number that may be free.
    let mut next: BTreeMap<String, u32> = BTreeMap::new();
    for path in refused.iter().map(|refused| Path::new(&refused.path)) {
        let is_index = path.extension().is_some_and(|extension| extension == "json");
        if is_index || real(path).is_none_or(|path| stay.contains(&path)) {
            continue;
        }
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        let name = name.to_string_lossy();
        let next = next.entry(name.to_string()).or_default();
        let free = (*next..u32::MAX)
            .inspect(|n| *next = n + 1)
            .map(|n| match n {
                0 => folder.join(&*name),
                n => folder.join(format!("{n}-{name}")),
            })
            // Also a link that leads nowhere takes its name.
            .find(|target| target.symlink_metadata().is_err())
            .context("no name is free")?;
        let place = || format!("{}: cannot be moved to {}", path.display(), free.display());
        // Another disk cannot be reached by renaming.
        if std::fs::rename(path, &free).is_err() {
            std::fs::copy(path, &free).with_context(place)?;
            std::fs::remove_file(path).with_context(place)?;
        }
        moved.push(free.display().to_string());
    }
    Ok(moved)
}
