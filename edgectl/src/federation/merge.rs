//! One merge at the center: weights from the checkpoints, admission, reduction, server step.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use aggregate::{OnRejection, Options, Reducer, Report, ServerStep, Summary, Update, WeightFile};
use anyhow::{Context, bail, ensure};

use crate::checkpoint::{METADATA_KEY, Meta, Provenance};
use crate::job::UpdateWeights;

/// How to merge.
#[derive(Debug, Clone)]
pub struct Merge<'a> {
    /// The model that the updates started from.
    pub base: Option<&'a Path>,
    /// Where to write the result.
    pub out: &'a Path,
    /// How the model moves to the mean.
    pub server: ServerStep,
    /// Given weights, or what the checkpoints say.
    pub weights: Weights<'a>,
    /// What to do when an update is refused.
    pub on_rejection: OnRejection,
}

/// What updates weigh.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    /// One number per file.
    Given(&'a [f64]),
    /// By a rule.
    Rule(UpdateWeights),
}

/// What a merge did.
#[derive(Debug)]
pub struct Merged {
    /// What the merge itself says.
    pub report: Report,
    /// Whether no file said how many examples it was trained on, so that all weighed the same.
    pub weights_unknown: bool,
}

/// An update file with its metadata, if it has any that can be read.
#[derive(Debug)]
pub struct UpdateFile {
    path: PathBuf,
    meta: Option<Meta>,
}

impl UpdateFile {
    /// Looks at a file. A file that exists but is damaged is left to the merge to refuse.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        ensure!(path.exists(), "{}: there is no such update file", path.display());
        let meta = WeightFile::open(path).ok().and_then(|file| Meta::read(&file).ok());
        Ok(Self { path: path.to_owned(), meta })
    }
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
/// If no update is admitted, one is refused for what `on_rejection` does not forgive, weights make
/// no sense, or the output cannot be written; the output is then unchanged.
pub fn merge(paths: &[PathBuf], options: &Merge<'_>) -> anyhow::Result<Merged> {
    let files =
        paths.iter().map(|path| UpdateFile::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let weights_unknown = files.iter().all(|file| file.meta.is_none());
    let weights = weights(&files, options.weights)?;
    let updates: Vec<Update> = files
        .iter()
        .zip(weights)
        .map(|(file, weight)| {
            let provenance = file.meta.as_ref().map(|meta| &meta.provenance);
            Update {
                path: file.path.clone(),
                node: provenance.and_then(|p| p.node.clone()),
                base: provenance.and_then(|p| p.base.clone()),
                weight,
            }
        })
        .collect();
    let base_meta = match options.base {
        None => None,
        Some(path) => {
            let file = WeightFile::open(path)?;
            let is_ours = file.metadata().contains_key(METADATA_KEY);
            is_ours.then(|| Meta::read(&file)).transpose()?
        }
    };
    let first_meta = files.iter().find_map(|file| file.meta.as_ref());
    let metadata = |summary: &Summary| metadata(base_meta.as_ref(), first_meta, &files, summary);
    let report = aggregate::aggregate(
        &updates,
        &Options {
            base: options.base.map(Path::to_owned),
            reducer: Reducer::Mean,
            server_step: options.server,
            state_in: options.base.map(server_state_path),
            state_out: Some(server_state_path(options.out)),
            on_rejection: options.on_rejection,
        },
        options.out,
        &metadata,
    )?;
    Ok(Merged { report, weights_unknown })
}

/// One weight per file.
fn weights(files: &[UpdateFile], weights: Weights<'_>) -> anyhow::Result<Vec<f64>> {
    match weights {
        Weights::Given(given) => {
            ensure!(
                given.len() == files.len(),
                "--weights has {} numbers for {} files; give one per file, in their order",
                given.len(),
                files.len()
            );
            Ok(given.to_vec())
        }
        Weights::Rule(UpdateWeights::Uniform) => Ok(vec![1.0; files.len()]),
        Weights::Rule(UpdateWeights::Examples) => {
            let known = files.iter().filter(|file| file.meta.is_some()).count();
            // Of a file that cannot be read the merge has its own opinion.
            let readable = |file: &UpdateFile| WeightFile::open(&file.path).is_ok();
            if let Some(file) = files.iter().find(|f| known > 0 && f.meta.is_none() && readable(f))
            {
                bail!(
                    "{}: the file does not say how many examples it was trained on, others do; give --weights or --uniform",
                    file.path.display()
                );
            }
            let examples = |file: &UpdateFile| {
                file.meta.as_ref().map_or(1.0, |m| m.provenance.examples as f64)
            };
            Ok(files.iter().map(examples).collect())
        }
    }
}

/// The metadata of the merged file: the base's, or without one that of the updates, one round on.
fn metadata(
    base: Option<&Meta>,
    first: Option<&Meta>,
    files: &[UpdateFile],
    summary: &Summary,
) -> BTreeMap<String, String> {
    let Some(mut meta) = base.or(first).cloned() else { return BTreeMap::new() };
    let of = |path: &Path| files.iter().find(|f| f.path == path).and_then(|f| f.meta.as_ref());
    let admitted: Vec<&Meta> = summary.admitted.iter().filter_map(|a| of(&a.path)).collect();
    meta.provenance = Provenance {
        node: None,
        round: meta.provenance.round + 1,
        base: summary.base_hash.clone(),
        examples: admitted.iter().map(|m| m.provenance.examples).sum(),
        local_steps: admitted.iter().map(|m| m.provenance.local_steps).sum(),
        metrics: BTreeMap::new(),
        merged: summary
            .admitted
            .iter()
            .map(|a| a.node.clone().unwrap_or_else(|| a.hash.clone()))
            .collect(),
    };
    meta.provenance.merged.sort();
    meta.to_metadata().unwrap_or_default()
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
