//! Sees when another model is put in its place, and whether it is sound.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};

use super::answer::Label;
use super::ready::{ModelFile, Ready, check_fits};
use crate::checkpoint::Meta;
use crate::models::{CURRENT, DEPLOY, Models};

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
    /// The folder of models that the path leads to, if it is one of a node or a run, and how its truth was.
    there: Option<Models>,
    truth: Option<Stamp>,
}

impl Incoming {
    /// From there, behind the model that answers; what is there is seen at the first look.
    pub(super) fn of(path: &Path, answers: &Label) -> Self {
        let Label { hash, round, .. } = answers;
        Self {
            path: path.to_owned(),
            stamp: None,
            last: hash.clone(),
            newest_round: *round,
            there: None,
            truth: None,
        }
    }

    /// Reads what the folder of models says that the path leads to: whoever keeps it may have gone back.
    pub(super) fn look_there(&mut self) {
        let is_current = self.path.file_name().is_some_and(|name| name == CURRENT);
        let folder = match self.path.parent() {
            _ if self.path.is_dir() => self.path.as_path(),
            Some(folder) if is_current => folder,
            _ => return,
        };
        let stamp = Stamp::of(&folder.join(DEPLOY));
        if stamp.is_some() && stamp != self.truth {
            self.truth = stamp;
            // One that is being changed is read at the next look, and its damage is for who keeps it.
            self.there = Models::open(folder).ok().or(self.there.take());
        }
    }

    /// Why a model is refused there, if it is.
    pub(super) fn refused_there(&self, hash: &str) -> Option<&str> {
        self.there.as_ref()?.deployment().refusal(hash)
    }

    /// The model that is live there, ready to answer.
    ///
    /// # Errors
    /// If there is none, or it is not sound, or of another job.
    pub(super) fn live_there(
        &mut self,
        checks: &Checks,
    ) -> anyhow::Result<(Box<Ready>, ModelFile)> {
        let live = self
            .there
            .as_ref()
            .and_then(|there| Some(there.file(there.deployment().live.as_ref()?)));
        let path =
            live.with_context(|| format!("{}: no model is live there", self.path.display()))?;
        let model = ModelFile::read(&path, checks.most_bytes)?;
        // Somebody decided that it may be of an older round.
        let ready = checks.prepare(&model, 0)?;
        self.last.clone_from(&model.hash);
        Ok((ready, model))
    }

    /// The model that is there, ready to answer if it is a new one; nothing if the file is as it was.
    ///
    /// # Errors
    /// If it is not sound, was refused before, is of another job or an older round.
    pub(super) fn see(
        &mut self,
        checks: &Checks,
        models: Option<&Models>,
    ) -> anyhow::Result<Option<(Option<Box<Ready>>, ModelFile)>> {
        let stamp = Stamp::of(&ModelFile::place(&self.path));
        if stamp == self.stamp || stamp.is_none() {
            return Ok(None);
        }
        self.stamp = stamp;
        let model = ModelFile::read(&self.path, checks.most_bytes)?;
        if self.is_known(&model.hash, models) {
            return Ok(Some((None, model)));
        }
        if let Some(reason) = self.refused_there(&model.hash) {
            bail!("{}: it was refused before: {reason}", self.path.display());
        }
        let round = model.checkpoint.meta.provenance.round;
        let has_gone_back = self.there.as_ref().is_some_and(|there| {
            there.deployment().refused.iter().any(|refused| refused.round > round)
        });
        let mut newest_round = self.newest_round;
        if let Some(deployment) = models.map(Models::deployment) {
            if let Some(reason) = deployment.refusal(&model.hash) {
                bail!("{}: it was refused before: {reason}", self.path.display());
            }
            if deployment.has_come(&model.hash) {
                return Ok(Some((None, model)));
            }
            newest_round = deployment.newest();
        }
        if has_gone_back || models.is_none() && self.there.is_some() {
            // Whoever keeps that folder has decided, perhaps to go back.
            newest_round = 0;
        }
        let ready = checks.prepare(&model, newest_round)?;
        (self.last, self.newest_round) = (model.hash.clone(), ready.label.round);
        Ok(Some((Some(ready), model)))
    }

    /// Whether it is what answers, or the candidate.
    fn is_known(&self, hash: &str, models: Option<&Models>) -> bool {
        let Some(deployment) = models.map(Models::deployment) else { return self.last == hash };
        let candidate = deployment.candidate.as_ref();
        deployment.is_live(hash) || candidate.is_some_and(|candidate| candidate.hash == hash)
    }
}
