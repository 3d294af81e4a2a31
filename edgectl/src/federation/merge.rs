//! One merge at the center: weights from the checkpoints, admission, reduction, server step.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use aggregate::{Options, Report, Rules, Summary, Tolerance, Update, WeightFile, Weights};
use anyhow::{Context, bail, ensure};
use serde::Serialize;

use super::update_file::{MERGE_KEY, Origin, UpdateFile};
use crate::checkpoint::{METADATA_KEY, MergeNote, Meta, Provenance};

/// How to merge.
#[derive(Debug, Clone)]
pub struct Merge<'a> {
    /// The model that the updates started from.
    pub base: Option<&'a Path>,
    /// Where to write the result.
    pub out: &'a Path,
    /// One weight per file, whatever the rules say.
    pub weights: Option<&'a [f64]>,
    /// What is handed on: rules, older bases, shards. Base and state files are filled in here, and
    /// so is the seed of buckets if it is that of the round.
    pub options: Options,
    /// Whether the seed of buckets is the round of the base.
    pub bucket_by_round: bool,
}

impl<'a> Merge<'a> {
    /// A merge by these rules.
    pub fn new(rules: Rules, base: Option<&'a Path>, out: &'a Path) -> Self {
        let options = Options { rules, ..Options::default() };
        Self { base, out, weights: None, options, bucket_by_round: true }
    }
}

/// What a merge did.
#[derive(Debug)]
pub struct Merged {
    /// What the merge itself says.
    pub report: Report,
    /// The updates that were left out, sorted by path.
    pub refused: Vec<Refused>,
    /// Whether no file said how many examples it was trained on, so that all weighed the same.
    pub weights_unknown: bool,
    /// What is kept inside the merged file.
    pub note: MergeNote,
}

/// An update that was left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refused {
    /// Its file.
    pub path: String,
    /// The node it came from, if it says so.
    pub node: Option<String>,
    /// Why.
    pub reason: String,
}

/// `OUT.server`: the server optimizer's state, beside the model that it belongs to.
fn server_state_path(model: &Path) -> PathBuf {
    let mut name = OsString::from(model);
    name.push(".server");
    PathBuf::from(name)
}

/// Merges update files.
///
/// # Errors
/// If no update is admitted, one is refused for what the tolerance does not forgive, weights make no
/// sense, or the output cannot be written; the output is then unchanged.
pub fn merge(paths: &[PathBuf], options: &Merge<'_>) -> anyhow::Result<Merged> {
    let mut files =
        paths.iter().map(|path| UpdateFile::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let base_meta = match options.base {
        None => None,
        Some(path) => {
            let file = WeightFile::open(path)?;
            let is_ours = file.metadata().contains_key(METADATA_KEY);
            is_ours.then(|| Meta::read(&file)).transpose()?
        }
    };
    if let Some(given) = options.weights {
        ensure!(
            given.len() == files.len(),
            "--weights has {} numbers for {} files; give one per file, in their order",
            given.len(),
            files.len()
        );
        for (file, weight) in files.iter_mut().zip(given) {
            file.weight = *weight;
        }
    }
    let rules = &options.options.rules;
    let mut refused = refuse_other_schemas(&mut files, base_meta.as_ref())?;
    let order: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    refused.extend(refuse_overlaps(&mut files));
    // Back in the order of the list, which SLERP goes by.
    files.sort_by_key(|file| order.iter().position(|path| *path == file.path));
    refused.sort();
    if let Some(first) = refused.first().filter(|_| rules.tolerance != Tolerance::KeepGoing) {
        bail!(
            "{}: {}; nothing was merged; leave such updates out with --keep-going",
            first.path,
            first.reason
        );
    }
    if let Some(first) = refused.first().filter(|_| files.is_empty()) {
        bail!("{}: {}; no update is left to merge", first.path, first.reason);
    }
    let weights_unknown = files.iter().all(|f| f.meta().is_none() && f.note().is_none());
    match rules.weights {
        _ if options.weights.is_some() => {}
        Weights::Examples => weigh_by_examples(&mut files)?,
        Weights::Count => {
            for file in &mut files {
                file.weight = file.n_updates() as f64;
            }
        }
        Weights::Uniform => {}
    }
    let updates: Vec<Update> = files.iter().map(|file| file.update(base_meta.as_ref())).collect();
    let base_metadata = match (options.base, &base_meta) {
        (Some(path), None) => Some(WeightFile::open(path)?.metadata().clone()),
        _ => None,
    };
    let metadata =
        |summary: &Summary| metadata(base_meta.as_ref(), base_metadata.as_ref(), &files, summary);
    let mut passed = options.options.clone();
    passed.base = options.base.map(Path::to_owned);
    passed.state_in = options.base.map(server_state_path);
    passed.state_out = Some(server_state_path(options.out));
    if options.bucket_by_round {
        passed.bucket_seed = base_meta.as_ref().map_or(0, |meta| meta.provenance.round.into());
    }
    let report = aggregate::aggregate(&updates, &passed, options.out, &metadata)
    .map_err(|error| match error {
        aggregate::Error::Rejected { .. } => anyhow::anyhow!(
            "{error}\nsend them again from the right model, or leave them out with --keep-going (of NaN: without --strict)"
        ),
        other => other.into(),
    })?;
    refused.extend(report.summary.rejected.iter().map(|r| Refused {
        path: r.path.display().to_string(),
        node: r.node.clone(),
        reason: r.reason.to_string(),
    }));
    refused.sort();
    let note = MergeNote::of(&report.summary, n_updates(&files, &report.summary));
    Ok(Merged { report, refused, weights_unknown, note })
}

/// How many nodes' updates were merged, those within merged updates included.
fn n_updates(files: &[UpdateFile], summary: &Summary) -> u64 {
    let admitted = |file: &&UpdateFile| summary.admitted.iter().any(|a| a.path == file.path);
    files.iter().filter(admitted).map(UpdateFile::n_updates).fold(0, u64::saturating_add)
}

/// Names of the parts of a schema.
const SCHEMA: [&str; 5] = ["model", "classes", "channels", "window", "preprocess"];

/// What must be the same in all updates for a mean of their weights to mean something, as JSON.
fn schema(meta: &Meta) -> anyhow::Result<[String; SCHEMA.len()]> {
    fn json(part: &impl Serialize) -> anyhow::Result<String> {
        serde_json::to_string(part).context("the metadata")
    }
    let Meta { model, classes, channels, preprocess, run, .. } = meta;
    let window = run.window();
    Ok([json(model)?, json(classes)?, json(channels)?, json(window)?, json(preprocess)?])
}

/// The parts in which an update's schema is not the expected one.
fn differences(
    meta: &Meta,
    expected: &[String; SCHEMA.len()],
) -> anyhow::Result<Vec<&'static str>> {
    let found = schema(meta)?;
    let parts = SCHEMA.into_iter().zip(found.iter().zip(expected));
    Ok(parts.filter(|(_, (found, expected))| found != expected).map(|(name, _)| name).collect())
}

/// Takes out updates with damaged metadata, and those whose classes, channels, model, windows or
/// preprocessing are not the base's; without a base, not those of the most updates, in a tie the
/// first in alphabetical order, so that the order of the files does not matter.
fn refuse_other_schemas(
    files: &mut Vec<UpdateFile>,
    base: Option<&Meta>,
) -> anyhow::Result<Vec<Refused>> {
    let mut votes: BTreeMap<[String; SCHEMA.len()], usize> = BTreeMap::new();
    for meta in files.iter().filter_map(UpdateFile::meta) {
        *votes.entry(schema(meta)?).or_default() += 1;
    }
    let most = votes.values().copied().max();
    let expected = match base {
        Some(base) => Some(schema(base)?),
        None => votes.into_iter().find(|(_, n)| Some(*n) == most).map(|(schema, _)| schema),
    };
    let mut refused = Vec::new();
    let mut kept = Vec::new();
    for file in files.drain(..) {
        let reason = match (&file.origin, &expected) {
            (Origin::Damaged(reason), _) => Some(reason.clone()),
            (Origin::Ours(meta), Some(expected)) => {
                let parts = differences(meta, expected)?;
                (!parts.is_empty()).then(|| {
                    format!(
                        "another {} than the others; train it from the same global model (edgectl train --init)",
                        parts.join(", ")
                    )
                })
            }
            _ => None,
        };
        match reason {
            None => kept.push(file),
            Some(reason) => refused.push(Refused {
                path: file.path.display().to_string(),
                node: file.meta().and_then(|meta| meta.provenance.node.clone()),
                reason,
            }),
        }
    }
    *files = kept;
    refused.sort();
    Ok(refused)
}

/// Takes out merged updates that hold a node of another update: of two with a node in common the one
/// of more nodes, or else the later in the order of paths. So a file that claims to be made of all
/// nodes takes out itself, and not the others.
fn refuse_overlaps(files: &mut Vec<UpdateFile>) -> Vec<Refused> {
    files.sort_by(|a, b| (a.nodes().len(), &a.path).cmp(&(b.nodes().len(), &b.path)));
    let mut taken: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut refused = Vec::new();
    files.retain(|file| {
        let nodes = file.nodes();
        let overlap = nodes.iter().find_map(|&node| Some((node, taken.get(node)?)));
        // Two plain updates of one node are told apart by their content, in the merge.
        if let Some((node, other)) = overlap.filter(|_| nodes.len() > 1) {
            refused.push(Refused {
                path: file.path.display().to_string(),
                node: None,
                reason: format!("node {node:?} is in {} too", other.display()),
            });
            return false;
        }
        taken.extend(nodes.iter().map(|&node| (node.to_owned(), file.path.clone())));
        true
    });
    refused
}

/// Each update weighs as many as its training windows, a merge of foreign files what these weighed;
/// if no file says, all weigh the same.
fn weigh_by_examples(files: &mut [UpdateFile]) -> anyhow::Result<()> {
    let known = files.iter().any(|file| file.meta().is_some() || file.note().is_some());
    for file in files.iter_mut() {
        match &file.origin {
            Origin::Ours(meta) => file.weight = meta.provenance.examples as f64,
            Origin::Foreign { note: Some(note), .. } => file.weight = note.weight,
            Origin::Foreign { note: None, .. } if known => bail!(
                "{}: the file does not say how many examples it was trained on, others do; give --weights or --uniform",
                file.path.display()
            ),
            _ => {}
        }
    }
    Ok(())
}

/// The metadata of the merged file: the base's, or without one that of the updates, one round on.
/// Of files of other programs, what all of them say alike.
fn metadata(
    base: Option<&Meta>,
    base_metadata: Option<&BTreeMap<String, String>>,
    files: &[UpdateFile],
    summary: &Summary,
) -> BTreeMap<String, String> {
    let of = |path: &Path| files.iter().find(|file| file.path == path);
    // In an order of their own: the first does not depend on the order in which files were given.
    let admitted: Vec<&UpdateFile> = summary.admitted.iter().filter_map(|a| of(&a.path)).collect();
    let metas: Vec<&Meta> = admitted.iter().filter_map(|file| file.meta()).collect();
    let note = MergeNote::of(summary, n_updates(files, summary));
    let Some(mut meta) = base.or(metas.first().copied()).cloned() else {
        let mut metadata = base_metadata.cloned().unwrap_or_else(|| said_by_all(&admitted));
        // A number that JSON cannot write is not among them.
        metadata.insert(MERGE_KEY.to_owned(), serde_json::to_string(&note).unwrap_or_default());
        return metadata;
    };
    let sum = |count: fn(&Provenance) -> u64| {
        metas.iter().fold(0_u64, |sum, meta| sum.saturating_add(count(&meta.provenance)))
    };
    let merged = summary.admitted.iter().flat_map(|a| {
        let earlier = of(&a.path).and_then(UpdateFile::meta).map(|meta| &meta.provenance.merged);
        match earlier.filter(|merged| !merged.is_empty()) {
            Some(merged) => merged.clone(),
            None => vec![a.node.clone().unwrap_or_else(|| a.fingerprint.clone())],
        }
    });
    let is_private = summary.privacy.is_some();
    meta.provenance = Provenance {
        node: None,
        round: meta.provenance.round.saturating_add(1),
        base: summary.base_hash.clone(),
        examples: if is_private { 0 } else { sum(|p| p.examples) },
        local_steps: if is_private { 0 } else { sum(|p| p.local_steps) },
        // Without a base the result of partial updates is no whole model either.
        partial: base.is_none() && meta.provenance.partial,
        metrics: BTreeMap::new(),
        // Who took part is what private merging hides.
        merged: if is_private { Vec::new() } else { merged.collect() },
        merge: Some(note),
    };
    meta.provenance.merged.sort();
    meta.to_metadata().unwrap_or_default()
}

/// The keys of which all files say the same.
fn said_by_all(files: &[&UpdateFile]) -> BTreeMap<String, String> {
    let mut all = files.iter().filter_map(|file| match &file.origin {
        Origin::Foreign { metadata, .. } => Some(metadata),
        _ => None,
    });
    let mut common = all.next().cloned().unwrap_or_default();
    for metadata in all {
        common.retain(|key, value| metadata.get(key) == Some(value));
    }
    common
}

/// Removes what an earlier run left beside a model, so that a fresh run starts fresh.
///
/// # Errors
/// If a file is there and cannot be removed.
pub(super) fn forget_server_state(model: &Path) -> anyhow::Result<()> {
    let path = server_state_path(model);
    if path.exists() {
        std::fs::remove_file(&path)
            .with_context(|| format!("{}: cannot remove", path.display()))?;
    }
    Ok(())
}
