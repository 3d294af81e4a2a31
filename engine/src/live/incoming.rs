//! Sees when another model is put in its place, and whether it is sound.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::ready::{ModelFile, Ready, check_fits};
use crate::checkpoint::Meta;

/// What tells one file from another that takes its place: device, number, time and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    changed: Option<SystemTime>,
    len: u64,
}

impl Stamp {
    /// Of the file that a path leads to now, also by a link.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let file = {
            use std::os::unix::fs::MetadataExt;
            (meta.dev(), meta.ino())
        };
        #[cfg(not(unix))]
        let file = (0, 0);
        Some(Self { file, changed: meta.modified().ok(), len: meta.len() })
    }
}

/// What every model is checked by.
#[derive(Debug)]
pub(super) struct Checks {
    /// What the first model says of itself: others have to be of its job.
    live: Meta,
    most_bytes: u64,
    /// Values of a window, to try models.
    width: usize,
    deadline: Option<Duration>,
}

impl Checks {
    /// By the first model.
    pub(super) fn of(first: &ModelFile, width: usize, deadline: Option<Duration>) -> Self {
        Self {
            live: first.checkpoint.meta.clone(),
            // The same tensors, and more said about them.
            most_bytes: 2 * first.bytes.len() as u64 + (1 << 20),
            width,
            deadline,
        }
    }

    /// Reads the model of a path.
    ///
    /// # Errors
    /// Those of [`ModelFile::read`].
    pub(super) fn read(&self, path: &Path) -> anyhow::Result<ModelFile> {
        ModelFile::read(path, self.most_bytes)
    }

    /// The model, ready to answer.
    ///
    /// # Errors
    /// If it is of another job or an older round, or gives no answers.
    pub(super) fn prepare(
        &self,
        model: &ModelFile,
        newest_round: u32,
    ) -> anyhow::Result<Box<Ready>> {
        check_fits(&model.checkpoint.meta, &self.live, newest_round)?;
        let mut ready = Box::new(Ready::new(model));
        ready.warm_up(self.width, self.deadline)?;
        Ok(ready)
    }
}

/// Where models come from.
#[derive(Debug)]
pub(super) struct Incoming {
    /// A file, or a folder of models.
    path: PathBuf,
    stamp: Option<Stamp>,
}

impl Incoming {
    /// From there; what is there is seen at the first look.
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), stamp: None }
    }

    /// The path, if there is something else than at the last look.
    pub(super) fn look(&mut self) -> Option<&Path> {
        let stamp = Stamp::of(&ModelFile::place(&self.path));
        if stamp == self.stamp || stamp.is_none() {
            return None;
        }
        self.stamp = stamp;
        Some(&self.path)
    }

    /// Whether it is a folder of models, where somebody has decided that rounds may also go back.
    pub(super) fn is_folder(&self) -> bool {
        self.path.is_dir()
    }
}
