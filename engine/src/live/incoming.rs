//! Sees when another model is put in its place, and whether it is sound.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};

use super::answer::Label;
use super::ready::{ModelFile, Ready, check_fits};
use crate::checkpoint::Meta;
use crate::models::Models;

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

    /// A model of the folder of state, ready to answer.
    ///
    /// # Errors
    /// If it is damaged, of another job, or gives no answers.
    pub(super) fn of_state(
        &self,
        models: Option<&Models>,
        hash: &str,
    ) -> anyhow::Result<Box<Ready>> {
        let path = models.context("there is no folder of state")?.file_of(hash);
        let model = ModelFile::read(&path, self.most_bytes)?;
        ensure!(model.hash == hash, "{}: damaged", path.display());
        // Somebody decided that it may be of an older round.
        self.prepare(&model, 0)
    }

    fn prepare(&self, model: &ModelFile, newest_round: u32) -> anyhow::Result<Box<Ready>> {
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
    /// What came last, and the newest round of all that came.
    last: String,
    newest_round: u32,
}

impl Incoming {
    /// From there, behind the model that answers; what is there is seen at the first look.
    pub(super) fn of(path: &Path, answers: &Label) -> Self {
        let Label { hash, round, .. } = answers;
        Self { path: path.to_owned(), stamp: None, last: hash.clone(), newest_round: *round }
    }

    /// The model that is there, ready to answer; nothing if it is known already.
    ///
    /// # Errors
    /// If it is not sound, was refused before, is of another job or an older round.
    pub(super) fn see(
        &mut self,
        checks: &Checks,
        models: Option<&Models>,
    ) -> anyhow::Result<Option<(Box<Ready>, ModelFile)>> {
        let stamp = Stamp::of(&ModelFile::place(&self.path));
        if stamp == self.stamp || stamp.is_none() {
            return Ok(None);
        }
        self.stamp = stamp;
        let model = ModelFile::read(&self.path, checks.most_bytes)?;
        if self.is_known(&model.hash, models) {
            return Ok(None);
        }
        let mut newest_round = self.newest_round;
        if let Some(deployment) = models.map(Models::deployment) {
            if let Some(reason) = deployment.refusal(&model.hash) {
                bail!("{}: it was refused before: {reason}", self.path.display());
            }
            newest_round = deployment.newest();
        } else if self.path.is_dir() {
            // Whoever keeps that folder has decided, perhaps to go back.
            newest_round = 0;
        }
        let ready = checks.prepare(&model, newest_round)?;
        (self.last, self.newest_round) = (model.hash.clone(), ready.label.round);
        Ok(Some((ready, model)))
    }

    /// Whether it is what answers, or the candidate.
    fn is_known(&self, hash: &str, models: Option<&Models>) -> bool {
        let Some(deployment) = models.map(Models::deployment) else { return self.last == hash };
        let candidate = deployment.candidate.as_ref();
        deployment.is_live(hash) || candidate.is_some_and(|candidate| candidate.hash == hash)
    }
}
