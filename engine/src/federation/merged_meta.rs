//! The metadata of a merged file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aggregate::{Claim, Limit, Summary, WeightFile, cap_weights};
use anyhow::Context;

use super::update_file::{MERGE_KEY, Origin, UpdateFile};
use crate::checkpoint::{MergeNote, Meta, Provenance};

/// What the metadata is made of, before it is known which updates count.
#[derive(Debug)]
pub(super) struct MergedMeta<'a> {
    files: &'a [UpdateFile],
    base: Option<&'a Meta>,
    /// What a base of another program says.
    base_metadata: Option<&'a BTreeMap<String, String>>,
    max_weight: Limit,
}

impl<'a> MergedMeta<'a> {
    pub(super) fn new(
        files: &'a [UpdateFile],
        base_file: Option<&'a WeightFile>,
        base: Option<&'a Meta>,
        max_weight: Limit,
    ) -> Self {
        let base_metadata = base_file.filter(|_| base.is_none()).map(WeightFile::metadata);
        Self { files, base, base_metadata, max_weight }
    }

    /// The metadata of the merged file: the base's, or without one what most of the updates say, one
    /// round on. Of files of other programs, what [`foreign`] keeps.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub(super) fn of(&self, summary: &Summary) -> anyhow::Result<BTreeMap<String, String>> {
        let files = self.files.iter().enumerate();
        let known: BTreeMap<&Path, usize> = files.map(|(i, file)| (&*file.path, i)).collect();
        let at = |path: &Path| known.get(path).copied();
        // In an order of their own, so that the order in which files were given does not matter.
        let places: Vec<usize> = summary.admitted.iter().filter_map(|a| at(&a.path)).collect();
        let admitted: Vec<&UpdateFile> = places.iter().map(|&i| &self.files[i]).collect();
        let note = MergeNote::of(summary, n_updates(self.files, summary));
        let meta = self.base.or_else(|| self.most_common(&places));
        let Some(mut meta) = meta.cloned() else {
            let mut metadata = foreign(self.base_metadata, &admitted);
            if let Some(stacked) = &summary.adapters {
                for key in RANK_KEYS {
                    // As they were, they would be wrong.
                    metadata.entry(key.to_owned()).and_modify(|v| *v = stacked.rank.to_string());
                }
            }
            let note = serde_json::to_string(&note).context("the note of the merge")?;
            metadata.insert(MERGE_KEY.to_owned(), note);
            return Ok(metadata);
        };
        let is_private = summary.privacy.is_some();
        let merged = summary.admitted.iter().zip(&admitted).flat_map(|(a, file)| {
            let earlier = file.provenance().map(|provenance| &provenance.merged);
            match earlier.filter(|merged| !merged.is_empty()) {
                Some(merged) => merged.clone(),
                None => vec![a.node.clone().unwrap_or_else(|| a.fingerprint.clone())],
            }
        });
        let steps = admitted.iter().filter_map(|file| file.provenance());
        let steps = steps.map(|provenance| provenance.local_steps).fold(0, u64::saturating_add);
        let provenance = Provenance {
            node: None,
            round: meta.provenance.round.saturating_add(1),
            base: summary.base_hash.clone(),
            examples: if is_private { 0 } else { examples(&admitted, self.max_weight) },
            local_steps: if is_private { 0 } else { steps },
            // Without a base the result of partial updates is no whole model either.
            partial: self.base.is_none() && meta.provenance.partial,
            metrics: BTreeMap::new(),
            // Who took part is what private merging hides.
            merged: if is_private { Vec::new() } else { merged.collect() },
            merge: Some(note),
        };
        // A base may be a node's own model.
        meta.preprocess = meta.preprocess.shared();
        // It was fitted for other weights.
        meta.forget_fitted();
        meta.set_provenance(provenance);
        meta.provenance.merged.sort();
        meta.to_metadata()
    }

    /// What most of the updates at these places say, of equals the first: no single node decides
    /// what the next round trains by.
    fn most_common(&self, places: &[usize]) -> Option<&'a Meta> {
        let mut votes: BTreeMap<&str, u64> = BTreeMap::new();
        let recipe = |i: usize| self.files[i].recipe();
        for recipe in places.iter().filter_map(|&i| recipe(i)) {
            *votes.entry(&recipe.text).or_default() += 1;
        }
        let known = places.iter().filter_map(|&i| recipe(i));
        let votes = known.rev().map(|recipe| (recipe, votes.get(&*recipe.text)));
        votes.max_by_key(|&(_, votes)| votes).map(|(recipe, _)| &recipe.meta)
    }
}

/// How many examples are in a merge, by the updates' own word as far as it is believed.
fn examples(admitted: &[&UpdateFile], max_weight: Limit) -> u64 {
    let claimed: Vec<(u64, u64)> = admitted
        .iter()
        .filter_map(|file| Some((file.provenance()?.examples, file.n_named())))
        .collect();
    let claim = |&(n, n_nodes): &(u64, u64)| Claim { weight: n as f64, n_nodes: Some(n_nodes) };
    let claims: Vec<Claim> = claimed.iter().map(claim).collect();
    let counted = cap_weights(&claims, max_weight);
    let believed = claimed.iter().zip(&claims).zip(counted).map(|((&(n, _), claim), counted)| {
        // Whole numbers beyond 2^53 stay as they are where nothing is capped.
        if counted < claim.weight { counted as u64 } else { n }
    });
    believed.fold(0, u64::saturating_add)
}

/// How many nodes' updates were merged, those within merged updates included.
pub(super) fn n_updates(files: &[UpdateFile], summary: &Summary) -> u64 {
    let paths: BTreeSet<&Path> = summary.admitted.iter().map(|a| &*a.path).collect();
    let admitted = |file: &&UpdateFile| paths.contains(&*file.path);
    files.iter().filter(admitted).map(UpdateFile::n_updates).fold(0, u64::saturating_add)
}

/// The key by which readers of PyTorch's world know whose tensors these are: some refuse a file with
/// metadata and without it, though they read files without any metadata.
const FORMAT_KEY: &str = "format";

/// The format of files without metadata, as the readers take them.
const DEFAULT_FORMAT: &str = "pt";

/// By which keys trainers of kohya's kind state rank and alpha of the adapters.
const RANK_KEYS: [&str; 2] = ["ss_network_dim", "ss_network_alpha"];

/// The metadata of merged files of other programs: the base's; without a base, what more than half
/// of the files say alike, so that no single one decides.
///
/// The key `format` is kept if any of them has it, as most of these have it. If none has it, and not
/// all had other metadata, it is the default.
fn foreign(
    base: Option<&BTreeMap<String, String>>,
    files: &[&UpdateFile],
) -> BTreeMap<String, String> {
    let all: Vec<&BTreeMap<String, String>> = files
        .iter()
        .filter_map(|file| match &file.origin {
            Origin::Foreign { metadata, .. } => Some(metadata),
            _ => None,
        })
        .collect();
    let mut votes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (key, value) in all.iter().copied().flatten() {
        *votes.entry((key.as_str(), value.as_str())).or_default() += 1;
    }
    let by_most = || {
        let kept = votes.iter().filter(|&(_, &n)| 2 * n > all.len());
        kept.map(|(&(key, value), _)| (key.to_owned(), value.to_owned())).collect()
    };
    let mut metadata = base.cloned().unwrap_or_else(by_most);
    if !metadata.contains_key(FORMAT_KEY) {
        let stated = votes.iter().filter(|((key, _), _)| *key == FORMAT_KEY);
        // Of as many the first in alphabetical order.
        let stated = stated.rev().max_by_key(|&(_, n)| *n).map(|(&(_, format), _)| format);
        let had_none =
            |metadata: &&BTreeMap<String, String>| metadata.keys().all(|key| key == MERGE_KEY);
        let default = || all.iter().copied().chain(base).find(had_none).map(|_| DEFAULT_FORMAT);
        if let Some(format) = stated.or_else(default) {
            metadata.insert(FORMAT_KEY.to_owned(), format.to_owned());
        }
    }
    metadata
}
