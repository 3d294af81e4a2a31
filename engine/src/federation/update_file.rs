//! An update file and what its metadata says: who made it, of what, and what it weighs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aggregate::{Layouts, Reason, Update, WeightFile, nova_steps};
use anyhow::Context;
use optim::OptimizerConfig;

use super::recipe::{Recipe, Recipes};
use crate::checkpoint::{METADATA_KEY, MergeNote, Meta, Provenance};
use crate::job::LearningRate;
use crate::typed::from_json;

/// What many update files have in common, each part once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    recipes: Recipes,
    layouts: Layouts,
}

/// An update file with its metadata.
#[derive(Debug)]
pub(super) struct UpdateFile {
    pub(super) path: PathBuf,
    /// The file that was looked at, which is the one to merge.
    file: Option<WeightFile>,
    pub(super) weight: f64,
    /// Whether the weight is what the file says of itself.
    pub(super) is_claim: bool,
    pub(super) origin: Origin,
    /// Why it cannot be merged, as far as its metadata tells.
    pub(super) refused: Option<Reason>,
}

/// Who wrote an update, by its metadata.
#[derive(Debug)]
pub(super) enum Origin {
    /// edgectl.
    Ours { recipe: Arc<Recipe>, provenance: Box<Provenance> },
    /// Another program: there is no metadata of edgectl. A merge of such files by edgectl says so.
    Foreign { metadata: BTreeMap<String, String>, note: Option<Box<MergeNote>> },
    /// The file cannot be read.
    Unknown,
}

impl UpdateFile {
    /// Opens a file that is there; what is wrong with it is kept as the reason to leave it out. One
    /// that is not kept open is known again when it is read.
    ///
    /// # Errors
    /// If there is no such file, or this machine cannot read it.
    pub(super) fn open(path: &Path, keep_open: bool, shared: &Shared) -> anyhow::Result<Self> {
        // A link that leads nowhere is a fault of whoever made it, a wrong path the operator's.
        fs::symlink_metadata(path)
            .with_context(|| format!("{}: there is no such update file", path.display()))?;
        match WeightFile::open(path) {
            Ok(file) => Ok(Self::of(file, keep_open, shared)),
            Err(error) => Ok(Self {
                path: path.to_owned(),
                file: None,
                weight: 1.0,
                is_claim: false,
                origin: Origin::Unknown,
                refused: Some(Reason::try_from(error)?),
            }),
        }
    }

    /// A file that is open already.
    pub(super) fn of(mut file: WeightFile, keep_open: bool, shared: &Shared) -> Self {
        let (origin, refused) = match origin(&file, &shared.recipes) {
            Ok(origin) => (origin, None),
            Err(reason) => (Origin::Unknown, Some(reason)),
        };
        if !keep_open {
            file.close();
        }
        shared.layouts.share(&mut file);
        let path = file.path().to_owned();
        Self { path, file: Some(file), weight: 1.0, is_claim: false, origin, refused }
    }

    pub(super) fn recipe(&self) -> Option<&Recipe> {
        match &self.origin {
            Origin::Ours { recipe, .. } => Some(recipe),
            _ => None,
        }
    }

    pub(super) fn provenance(&self) -> Option<&Provenance> {
        match &self.origin {
            Origin::Ours { provenance, .. } => Some(provenance),
            _ => None,
        }
    }

    /// What an earlier merge said of it, if it is one.
    pub(super) fn note(&self) -> Option<&MergeNote> {
        match &self.origin {
            Origin::Ours { provenance, .. } => provenance.merge.as_ref(),
            Origin::Foreign { note, .. } => note.as_deref(),
            Origin::Unknown => None,
        }
    }

    /// How many nodes' updates it stands for, by its own word.
    pub(super) fn n_updates(&self) -> u64 {
        self.note().map_or(1, |note| note.n_updates.clamp(1, MOST_UPDATES))
    }

    /// How many nodes it names as those it is made of: a number alone is not believed.
    pub(super) fn n_named(&self) -> u64 {
        let named = match &self.origin {
            Origin::Ours { provenance, .. } => {
                provenance.merged.iter().collect::<BTreeSet<_>>().len()
            }
            Origin::Foreign { note: Some(note), .. } => {
                let merged = note.updates.iter().filter(|update| update.verdict == "merged");
                merged.map(|update| &update.node).collect::<BTreeSet<_>>().len()
            }
            _ => 1,
        };
        (named as u64).clamp(1, self.n_updates())
    }

    /// On how many examples it was trained, or what was merged into it weighed, by its own word.
    pub(super) fn examples(&self) -> Option<f64> {
        match &self.origin {
            Origin::Ours { provenance, .. } => Some(provenance.examples as f64),
            Origin::Foreign { note, .. } => note.as_ref().map(|note| note.weight),
            Origin::Unknown => None,
        }
    }

    /// Its name among those who vote: the node, or the file.
    pub(super) fn voter(&self) -> &Path {
        let node = self.provenance().and_then(|provenance| provenance.node.as_deref());
        node.map_or(&*self.path, Path::new)
    }

    pub(super) fn update(&self, base: Option<&Meta>) -> Update {
        let mut update = Update::new(&self.path, self.weight);
        update.file.clone_from(&self.file);
        update.refused.clone_from(&self.refused);
        update.n_nodes = self.is_claim.then(|| self.n_named());
        if let Origin::Ours { recipe, provenance } = &self.origin {
            update.node.clone_from(&provenance.node);
            update.merged.clone_from(&provenance.merged);
            update.base.clone_from(&provenance.base);
            update.partial = provenance.partial;
            let round = base.map_or(provenance.round, |base| base.provenance.round);
            update.age = u64::from(round.saturating_sub(provenance.round));
            update.steps = effective_steps(recipe, provenance);
            update.loss = provenance.metrics.get("start_loss").copied();
        }
        update
    }
}

/// Who wrote a weight file, or what is wrong with its metadata.
fn origin(file: &WeightFile, recipes: &Recipes) -> Result<Origin, Reason> {
    let refused = |message: String| Reason::Refused { message };
    let n_bytes: usize = file.metadata().iter().map(|(key, text)| key.len() + text.len()).sum();
    if n_bytes > MOST_METADATA {
        return Err(refused(format!("its metadata has {n_bytes} bytes, at most {MOST_METADATA}")));
    }
    if file.metadata().contains_key(METADATA_KEY) {
        let meta = Meta::read(file).map_err(|error| refused(format!("{error:#}")))?;
        let names = || meta.provenance.node.iter().chain(&meta.provenance.merged);
        let n_bytes: usize = names().map(String::len).sum();
        if n_bytes > MOST_NAMES || names().any(|name| name.len() > LONGEST_NAME) {
            return Err(refused(format!(
                "its names of nodes have {n_bytes} bytes; a name may have {LONGEST_NAME}, and all {MOST_NAMES}"
            )));
        }
        let split = recipes.split(meta).map_err(|error| refused(format!("{error:#}")))?;
        return Ok(Origin::Ours { recipe: split.0, provenance: Box::new(split.1) });
    }
    let mut metadata = file.metadata().clone();
    let note = metadata.remove(MERGE_KEY);
    let note: Option<Box<MergeNote>> = note
        .map(|note| from_json(&note))
        .transpose()
        .map_err(|error| refused(format!("the metadata key {MERGE_KEY:?}: {error}")))?;
    match &note {
        Some(note) if !(note.weight.is_finite() && note.weight >= 0.0) => {
            Err(refused(format!("the metadata key {MERGE_KEY:?}: weight {}", note.weight)))
        }
        _ => Ok(Origin::Foreign { metadata, note }),
    }
}

/// How much an update's local steps weigh a gradient, for `FedNova`: momentum and the pull of a
/// proximal term count for plain descent. An optimizer that divides by the size of gradients has no
/// such sum, and its steps are counted as they are.
fn effective_steps(recipe: &Recipe, provenance: &Provenance) -> f64 {
    let train = recipe.meta.run.train();
    // A merged update states the sum of what its nodes did.
    let n_merged = provenance.merged.len().max(1) as u64;
    let steps = (provenance.local_steps / n_merged).max(1);
    let OptimizerConfig::Sgd(sgd) = train.optimizer else { return steps as f64 };
    let lr = match train.lr {
        LearningRate::Fixed(lr) => f64::from(lr),
        LearningRate::Auto => 0.0,
    };
    nova_steps(steps, f64::from(sgd.momentum), lr * f64::from(train.proximal))
}

/// Most bytes of a node's name, as of a file's.
const LONGEST_NAME: usize = 255;

/// Most bytes of an update's metadata: parsed they take many times as much memory.
const MOST_METADATA: usize = 16 << 20;

/// Most bytes of all names in an update: they are carried into the merged file.
const MOST_NAMES: usize = 4 << 20;

/// More nodes than that are not believed.
const MOST_UPDATES: u64 = 1_000_000_000;

/// The metadata key of a merge of files of other programs.
pub(super) const MERGE_KEY: &str = "edgectl.merge";

/// What a merge of files of other programs said of itself in the file that is there, if it is one.
pub fn merge_note(path: &Path) -> Option<MergeNote> {
    let file = WeightFile::open(path).ok()?;
    from_json(file.metadata().get(MERGE_KEY)?).ok()
}
