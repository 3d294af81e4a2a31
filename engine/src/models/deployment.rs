//! What `deploy.json` says: which model is live, which one was before, which one may become live, which are refused.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, ensure};
use monitor::Paired;
use serde::{Deserialize, Serialize};

/// The file, in a folder of models.
pub const DEPLOY: &str = "deploy.json";

/// So many refused models are remembered.
const MOST_REFUSED: usize = 1000;

/// A model of the folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// BLAKE3 of its file.
    pub hash: String,
    /// The round that it came of; 0 for the first model.
    pub round: u32,
    /// The share of right answers on what the node holds out of its training rows, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// How far a candidate has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// It is whole, fits and gives answers.
    Checked,
    /// It answers beside the live model, unheard.
    Shadow,
}

impl Step {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Shadow => "shadow",
        }
    }
}

/// A model that may become live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// BLAKE3 of its file.
    pub hash: String,
    /// The round that it came of.
    pub round: u32,
    /// How far it has come.
    pub state: Step,
    /// How often it and the live model were right for windows whose classes are known, where whoever made it tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Paired>,
}

/// A model that the node does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// BLAKE3 of its file.
    pub hash: String,
    /// The round that it came of.
    pub round: u32,
    /// Why.
    pub reason: String,
}

/// What `deploy.json` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The model that answers.
    pub live: Option<Deployed>,
    /// Whether it is on trial as the canary: the one before answers beside it, to go back to at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    /// The one before, to go back to.
    pub previous: Option<Deployed>,
    /// The one that may become live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// Models that are not taken (again).
    #[serde(default)]
    pub refused: Vec<Denied>,
    /// The highest round of a model that was live.
    #[serde(default)]
    pub newest_round: u32,
    /// BLAKE3 of the file that came last from where models come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<String>,
}

impl Deployment {
    /// Reads what a folder says; nothing if it says nothing.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(DEPLOY);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        };
        let deployment: Self =
            serde_json::from_str(&text).with_context(|| {
                format!(
                    "{}: damaged; put a copy of it back, or take the folder away and begin with a new one",
                    path.display()
                )
            })?;
        for hash in deployment.kept() {
            ensure!(is_hash(hash), "{}: {hash:?} is no hash of a model", path.display());
        }
        Ok(Some(deployment))
    }

    /// The models whose files are kept, by their hash.
    pub(super) fn kept(&self) -> impl Iterator<Item = &str> {
        let candidate = self.candidate.iter().map(|candidate| candidate.hash.as_str());
        self.live.iter().chain(&self.previous).map(|model| model.hash.as_str()).chain(candidate)
    }

    /// Why a model is not taken, if it was refused.
    pub fn refusal(&self, hash: &str) -> Option<&str> {
        let found = self.refused.iter().find(|denied| denied.hash == hash);
        found.map(|denied| denied.reason.as_str())
    }

    /// The highest round of a model that was live or may become so.
    pub fn newest(&self) -> u32 {
        let live = self.live.as_ref().map_or(0, |live| live.round);
        let candidate = self.candidate.as_ref().map_or(0, |candidate| candidate.round);
        self.newest_round.max(live).max(candidate)
    }

    /// Whether this model is live.
    pub fn is_live(&self, hash: &str) -> bool {
        self.live.as_ref().is_some_and(|live| live.hash == hash)
    }

    /// Whether a file is there as it was, whatever became of it since, or leads to the model before.
    pub fn has_come(&self, hash: &str) -> bool {
        let previous = self.previous.as_ref().map(|previous| previous.hash.as_str());
        [self.came.as_deref(), previous].contains(&Some(hash))
    }

    /// Makes a model live, on trial or not.
    pub(super) fn switch(&mut self, model: Deployed, canary: bool) {
        self.candidate.take_if(|candidate| candidate.hash == model.hash);
        self.newest_round = self.newest_round.max(model.round);
        let before = self.live.replace(model);
        // One that was on trial has not shown that one can go back to it.
        if !(self.canary && self.previous.is_some()) {
            self.previous = before;
        }
        self.canary = canary && self.previous.is_some();
    }

    /// Goes back to the model before; gives the one that was live. Nothing if there is none before.
    pub(super) fn go_back(&mut self) -> Option<Deployed> {
        let previous = self.previous.take()?;
        self.canary = false;
        self.live.replace(previous)
    }

    /// Notes that a model is not taken.
    pub(super) fn deny(&mut self, denied: Denied) {
        self.candidate.take_if(|candidate| candidate.hash == denied.hash);
        self.previous.take_if(|previous| previous.hash == denied.hash);
        self.canary &= self.previous.is_some();
        self.refused.retain(|known| known.hash != denied.hash);
        self.refused.push(denied);
        // A list that grows for ever is read at every start.
        let too_many = self.refused.len().saturating_sub(MOST_REFUSED);
        self.refused.drain(..too_many);
    }
}

/// Whether a text is the hash of a file.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
