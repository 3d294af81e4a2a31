//! A folder of models as a folder: it is made for its owner, locked, and nobody else's files are in it.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use aggregate::hash_file;
use anyhow::{Context, bail, ensure};

use super::deployment::{DEPLOY, is_hash};

/// What a node remembers of its job, beside its models.
pub const MEMORY: &str = "memory.json";

pub(super) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.recursive(true).create(folder) {
        Err(error) if !folder.is_dir() => {
            ensure!(!folder.exists(), "{}: a file, and no folder; name another", folder.display());
            Err(error).with_context(|| format!("{}: cannot make the folder", folder.display()))?;
        }
        _ => {}
    }
    Ok(())
}

/// Takes a folder, which is made if it is not there, by a lock of this name until that is dropped.
pub(super) fn take_lock(folder: &Path, name: &str) -> anyhow::Result<File> {
    make_folder(folder)?;
    let file = lock_file(&folder.join(name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("{}: another process works in this folder", folder.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{}: cannot be locked", folder.display()))
        }
    }
}

/// A file that is locked; whatever is in it stays.
pub(super) fn lock_file(path: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    let file = options.create(true).write(true).truncate(false).open(path);
    file.with_context(|| format!("{}", path.display()))
}

/// Fails if a folder has files of the names that are used here and is no folder of models: they are somebody's.
pub(super) fn refuse_others(folder: &Path) -> anyhow::Result<()> {
    if OWN.iter().any(|name| folder.join(name).exists()) {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let name = entry.with_context(|| format!("{}", folder.display()))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".safetensors"));
        ensure!(
            !stem.is_some_and(|stem| is_hash(stem) || TAKEN.contains(&stem)),
            "{}: no folder of models, and {} in it would be replaced; name another folder",
            folder.display(),
            name.display()
        );
    }
    Ok(())
}

/// Fails if the file of a model is not the one that its name says.
pub(super) fn check_whole(folder: &Path, hash: &str) -> anyhow::Result<()> {
    let file = folder.join(format!("{hash}.safetensors"));
    ensure!(
        hash_file(&file)? == hash,
        "{}: damaged: its bytes are not those of its name",
        file.display()
    );
    Ok(())
}

/// One of them is in every folder of models that was worked in.
const OWN: [&str; 2] = [DEPLOY, MEMORY];

/// Weight files that are replaced.
const TAKEN: [&str; 3] = ["current", "update", "update-new"];
