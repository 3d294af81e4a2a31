//! Sees when another model is put in place, and hands it over once it is found to be sound.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::answer::Label;
use super::counters::{Counters, add};
use super::events::Events;
use super::hand_over::HandOver;
use super::ready::{ModelFile, Ready, check_fits};
use crate::checkpoint::Meta;

/// What tells one file from another that takes its place: device, number, time and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    changed: Option<SystemTime>,
    len: u64,
}

impl Stamp {
    /// Of the file that a path leads to now, also by a link.
    fn of(path: &Path) -> Option<Self> {
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

/// Looks whether there is another model.
#[derive(Debug)]
pub struct Watcher {
    /// A file, or a folder of models.
    path: PathBuf,
    stamp: Option<Stamp>,
    /// What the model that answers, or is to answer, says of itself.
    live: Meta,
    hash: String,
    newest_round: u32,
    most_bytes: u64,
    /// Values of a window, to try models.
    width: usize,
    deadline: Option<Duration>,
    /// What answers.
    answers: Arc<Label>,
    /// What is handed over and not yet taken.
    offered: Option<Arc<Label>>,
}

impl Watcher {
    /// For the model that was read from there.
    pub fn new(
        path: &Path,
        (model, label): (&ModelFile, Arc<Label>),
        width: usize,
        deadline: Option<Duration>,
    ) -> Self {
        let live = model.checkpoint.meta.clone();
        Self {
            path: path.to_owned(),
            // What came between the reading and now is seen at the first look.
            stamp: None,
            newest_round: live.provenance.round,
            live,
            hash: model.hash.clone(),
            // The same tensors, and more said about them.
            most_bytes: 2 * model.len + (1 << 20),
            width,
            deadline,
            answers: label,
            offered: None,
        }
    }

    /// The hash and the round of the model that answers.
    pub fn live(&self) -> (String, u32) {
        let Label { hash, round, .. } = &*self.answers;
        (hash.clone(), *round)
    }

    /// Looks once. What is wrong with a model is told in an event; whatever is there, nothing ends.
    pub fn look(&mut self, place: &HandOver<Ready>, events: &Events, counters: &Counters) {
        // The old one ends here, where nobody waits for an answer.
        if place.old().is_some()
            && let Some(label) = self.offered.take()
        {
            add(&counters.reloads, 1);
            events.tell(json!({
                "event": "reload", "result": "live", "model": label.hash, "round": label.round,
            }));
            counters.board.model(&label.hash, label.round, "live", None);
            self.answers = label;
        }
        let stamp = Stamp::of(&ModelFile::place(&self.path));
        if stamp == self.stamp || stamp.is_none() {
            return;
        }
        self.stamp = stamp;
        match self.prepare() {
            Ok(None) => {}
            Ok(Some(ready)) => {
                let label = Arc::clone(&ready.label);
                // It is in its place before anybody hears of it.
                drop(place.offer(ready));
                counters.board.model(&label.hash, label.round, "checked", None);
                events.tell(json!({
                    "event": "reload", "result": "checked", "model": label.hash, "round": label.round,
                }));
                self.offered = Some(label);
            }
            Err(error) => {
                add(&counters.refused, 1);
                events.tell(json!({
                    "event": "reload", "result": "refused", "reason": format!("{error:#}"),
                }));
            }
        }
    }

    /// The model that is there, ready to answer; nothing if it is the one that does.
    fn prepare(&mut self) -> anyhow::Result<Option<Box<Ready>>> {
        let model = ModelFile::read(&self.path, self.most_bytes)?;
        if model.hash == self.hash {
            return Ok(None);
        }
        let meta = &model.checkpoint.meta;
        check_fits(meta, &self.live, self.newest_round)?;
        let mut ready = Box::new(Ready::new(&model));
        ready.warm_up(self.width, self.deadline)?;
        self.newest_round = meta.provenance.round;
        self.hash = model.hash;
        Ok(Some(ready))
    }
}
