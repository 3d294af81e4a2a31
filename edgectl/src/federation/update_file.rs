//! An update file and what its metadata says: who made it, of what, and what it weighs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aggregate::{Update, WeightFile, nova_steps};
use anyhow::ensure;
use optim::OptimizerConfig;

use crate::checkpoint::{METADATA_KEY, MergeNote, Meta};
use crate::job::LearningRate;

/// An update file with its metadata.
#[derive(Debug)]
pub(super) struct UpdateFile {
    pub(super) path: PathBuf,
    pub(super) weight: f64,
    pub(super) origin: Origin,
}

/// Who wrote an update, by its metadata.
#[derive(Debug)]
pub(super) enum Origin {
    /// edgectl.
    Ours(Box<Meta>),
    /// Another program: there is no metadata of edgectl. A merge of such files by edgectl says so.
    Foreign { metadata: BTreeMap<String, String>, note: Option<Box<MergeNote>> },
    /// The metadata of edgectl cannot be used, for this reason.
    Damaged(String),
    /// The file is no weight file; the merge itself says what is wrong with it.
    Unreadable,
}

impl UpdateFile {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        ensure!(path.exists(), "{}: there is no such update file", path.display());
        let origin = match WeightFile::open(path) {
            Err(_) => Origin::Unreadable,
            Ok(file) if !file.metadata().contains_key(METADATA_KEY) => {
                let mut metadata = file.metadata().clone();
                let note = metadata.remove(MERGE_KEY);
                match note.map(|note| serde_json::from_str::<MergeNote>(&note)).transpose() {
                    Ok(Some(note)) if !(note.weight.is_finite() && note.weight >= 0.0) => {
                        let weight = note.weight;
                        Origin::Damaged(format!("the metadata key {MERGE_KEY:?}: weight {weight}"))
                    }
                    Ok(note) => Origin::Foreign { metadata, note: note.map(Box::new) },
                    Err(error) => {
                        Origin::Damaged(format!("the metadata key {MERGE_KEY:?}: {error}"))
                    }
                }
            }
            Ok(file) => match Meta::read(&file) {
                Ok(meta) => Origin::Ours(Box::new(meta)),
                Err(error) => Origin::Damaged(format!("{error:#}")),
            },
        };
        Ok(Self { path: path.to_owned(), weight: 1.0, origin })
    }

    pub(super) fn meta(&self) -> Option<&Meta> {
        match &self.origin {
            Origin::Ours(meta) => Some(meta),
            _ => None,
        }
    }

    /// What an earlier merge said of it, if it is one.
    pub(super) fn note(&self) -> Option<&MergeNote> {
        match &self.origin {
            Origin::Ours(meta) => meta.provenance.merge.as_ref(),
            Origin::Foreign { note, .. } => note.as_deref(),
            _ => None,
        }
    }

    /// How many nodes' updates it stands for.
    pub(super) fn n_updates(&self) -> u64 {
        self.note().map_or(1, |note| note.n_updates.clamp(1, MOST_UPDATES))
    }

    /// The nodes whose updates it is made of.
    pub(super) fn nodes(&self) -> Vec<&str> {
        let provenance = self.meta().map(|meta| &meta.provenance);
        match provenance {
            Some(p) if !p.merged.is_empty() => p.merged.iter().map(String::as_str).collect(),
            Some(p) => p.node.as_deref().into_iter().collect(),
            None => Vec::new(),
        }
    }

    pub(super) fn update(&self, base: Option<&Meta>) -> Update {
        let mut update = Update::new(&self.path, self.weight);
        if let Some(meta) = self.meta() {
            let provenance = &meta.provenance;
            update.node.clone_from(&provenance.node);
            update.base.clone_from(&provenance.base);
            update.partial = provenance.partial;
            let round = base.map_or(provenance.round, |base| base.provenance.round);
            update.age = u64::from(round.saturating_sub(provenance.round));
            update.steps = effective_steps(meta);
        }
        update
    }
}

/// How much an update's local steps weigh a gradient, for `FedNova`.
fn effective_steps(meta: &Meta) -> f64 {
    let train = meta.run.train();
    let momentum = match train.optimizer {
        OptimizerConfig::Sgd(sgd) => f64::from(sgd.momentum),
        _ => 0.0,
    };
    let lr = match train.lr {
        LearningRate::Fixed(lr) => f64::from(lr),
        LearningRate::Auto => 0.0,
    };
    // A merged update states the sum of what its nodes did.
    let n_merged = meta.provenance.merged.len().max(1) as u64;
    nova_steps(
        (meta.provenance.local_steps / n_merged).max(1),
        momentum,
        lr * f64::from(train.proximal),
    )
}

/// More nodes than that are not believed.
const MOST_UPDATES: u64 = 1_000_000_000;

/// The metadata key of a merge of files of other programs.
pub(super) const MERGE_KEY: &str = "edgectl.merge";
