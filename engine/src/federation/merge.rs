//! One merge at the center: weights from the checkpoints, admission, reduction, server step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aggregate::{
    Options, Reason, Report, Rules, SERVER_STATE, Summary, Tolerance, Update, WeightFile, Weights,
};
use anyhow::{Context, ensure};
use rayon::prelude::*;
use serde::Serialize;

use super::merged_meta::{MergedMeta, n_updates};
use super::run_folder::remove;
use super::schema::refuse_other_schemas;
use super::update_file::{Shared, UpdateFile};
use crate::checkpoint::{METADATA_KEY, MergeNote, Meta, open_model};
use crate::lines::Lines;
use crate::run::{FromCenter, Run};

/// How to merge.
#[derive(Debug, Clone)]
pub struct Merge<'a> {
    /// The model that the updates started from.
    pub base: Option<&'a Path>,
    /// Where to write the result.
    pub out: &'a Path,
    /// One weight per file, whatever the rules say: the operator's word, which is not capped.
    pub weights: Option<&'a [f64]>,
    /// What is handed on: rules, older bases, shards. Base and state files are filled in here, and
    /// so is the seed of buckets if it is that of the round.
    pub options: Options,
    /// Whether the seed of buckets is the round of the base.
    pub bucket_by_round: bool,
    /// How many rounds before an update started, by its file, where that is known better than from what it says.
    pub ages: BTreeMap<PathBuf, u64>,
}

impl<'a> Merge<'a> {
    /// A merge by these rules.
    pub fn new(rules: Rules, base: Option<&'a Path>, out: &'a Path) -> Self {
        let options = Options { rules, ..Options::default() };
        let ages = BTreeMap::new();
        Self { base, out, weights: None, options, bucket_by_round: true, ages }
    }
}

/// What a merge did.
#[derive(Debug)]
pub struct Merged {
    /// What the merge itself says.
    pub report: Report,
    /// The updates that were left out, sorted by path.
    pub refused: Vec<Refused>,
    /// Whether most files did not say how many examples they were trained on, so that all weighed
    /// the same.
    pub weights_unknown: bool,
    /// What is kept inside the merged file.
    pub note: MergeNote,
}

/// An update that was left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refused {
    /// Its file, as far as its name is text.
    pub path: String,
    /// The node it came from, if it says so.
    pub node: Option<String>,
    /// Why.
    pub reason: String,
    /// Its file.
    #[serde(skip)]
    pub file: PathBuf,
}

/// `OUT.server`: the server optimizer's state, beside the model that it belongs to.
fn server_state_path(model: &Path) -> PathBuf {
    SERVER_STATE.path(model)
}

/// Merges update files.
///
/// # Errors
/// If an update file is not there, the tolerance of the rules does not forgive one that is refused,
/// fewer are left than the quorum, weights make no sense, or a file cannot be read or written by a
/// fault of this machine; the output is then unchanged.
pub fn merge(paths: &[PathBuf], options: &Merge<'_>) -> anyhow::Result<Merged> {
    if paths.len() <= aggregate::MAX_OPEN_FILES {
        match merge_paths(paths, true, options) {
            // Nothing was written. Each file is now opened for every read of it, which takes longer.
            Err(error) if lacks_handles(&error) => {}
            merged => return merged,
        }
    }
    merge_paths(paths, false, options)
}

/// Whether an error is that no more files can be open at a time.
fn lacks_handles(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<aggregate::Error>());
    cause.is_some_and(aggregate::Error::is_for_lack_of_handles)
}

fn merge_paths(paths: &[PathBuf], keep_open: bool, options: &Merge<'_>) -> anyhow::Result<Merged> {
    let shared = Shared::default();
    let open = |path: &PathBuf| UpdateFile::open(path, keep_open, &shared);
    // Of several errors the first in the list counts.
    let opened: Vec<_> = paths.par_iter().map(open).collect();
    merge_files(opened.into_iter().collect::<anyhow::Result<Vec<_>>>()?, options)
}

/// Merges updates that are open already, as [`merge`] does.
///
/// # Errors
/// As for [`merge`].
pub(super) fn merge_open(files: &[WeightFile], options: &Merge<'_>) -> anyhow::Result<Merged> {
    let shared = Shared::default();
    let of = |file: &WeightFile| UpdateFile::of(file.clone(), true, &shared);
    merge_files(files.par_iter().map(of).collect(), options)
}

fn merge_files(mut files: Vec<UpdateFile>, options: &Merge<'_>) -> anyhow::Result<Merged> {
    let base_file = options.base.map(open_model).transpose()?;
    let base_meta = match &base_file {
        Some(file) if file.metadata().contains_key(METADATA_KEY) => Some(Meta::read(file)?),
        _ => None,
    };
    let rules = &options.options.rules;
    if let Some(base) = &base_meta {
        // What the flags ask of the center must go with how the nodes were told to train.
        let asked = base.run.with(|job| job.federation.rules = rules.clone());
        let path = options.base.map(Path::display).map(|path| path.to_string());
        let path = path.unwrap_or_default();
        let asked = asked.with_context(|| format!("{path} with what was asked for"))?;
        let carries = |run: &Run| run.node_side().needs() == FromCenter::ControlVariate;
        ensure!(
            carries(&asked) == carries(&base.run),
            "{path}: its nodes {} control variates, and the rules asked for {}; use --strategy job",
            if carries(&base.run) { "carry" } else { "do not carry" },
            if carries(&asked) { "are those of scaffold" } else { "are not those of scaffold" },
        );
    }
    refuse_other_schemas(&mut files, base_meta.as_ref())?;
    let weights_known = match options.weights {
        Some(given) => weigh_as_given(&mut files, given)?,
        None => weigh_by_claims(&mut files, rules),
    };
    let mut updates: Vec<Update> =
        files.iter().map(|file| file.update(base_meta.as_ref())).collect();
    for update in &mut updates {
        if let Some(age) = options.ages.get(&update.path) {
            update.age = *age;
        }
    }
    let meta = MergedMeta::new(&files, base_file.as_ref(), base_meta.as_ref(), rules.max_weight);
    let mut passed = options.options.clone();
    passed.base = options.base.map(Path::to_owned);
    passed.open.extend(base_file.clone());
    passed.state_in = options.base.map(server_state_path);
    passed.state_out = Some(server_state_path(options.out));
    if options.bucket_by_round {
        passed.bucket_seed = base_meta.as_ref().map_or(0, |meta| meta.provenance.round.into());
    }
    let metadata = |summary: &Summary| meta.of(summary).map_err(Into::into);
    let report = aggregate::aggregate(&updates, &passed, options.out, &metadata).map_err(
        |error| match error {
            aggregate::Error::Rejected { .. } => {
                let advice =
                    "send them again from the right model, or leave them out with --keep-going";
                let lines = error.message_lines().into_iter().chain([advice.to_owned()]);
                anyhow::Error::new(Lines::new(lines))
            }
            aggregate::Error::Adapters { .. } => {
                let advice = "--adapters stack merges them exactly, --adapters factors one by one";
                anyhow::Error::new(Lines::new([error.to_string(), advice.to_owned()]))
            }
            other => other.into(),
        },
    )?;
    let refused = report.summary.rejected.iter().map(|r| Refused {
        path: r.path.display().to_string(),
        node: r.node.clone(),
        reason: r.reason.to_string(),
        file: r.path.clone(),
    });
    let refused = refused.collect();
    let note = MergeNote::of(&report.summary, n_updates(&files, &report.summary));
    Ok(Merged { report, refused, weights_unknown: !weights_known, note })
}

/// The operator's weights, one per file.
fn weigh_as_given(files: &mut [UpdateFile], given: &[f64]) -> anyhow::Result<bool> {
    ensure!(
        given.len() == files.len(),
        "--weights has {} numbers for {} files; give one per file, in their order",
        given.len(),
        files.len()
    );
    for (file, weight) in files.iter_mut().zip(given) {
        file.weight = *weight;
    }
    Ok(true)
}

/// What the files say of themselves, or the same for all; whether they say.
fn weigh_by_claims(files: &mut [UpdateFile], rules: &Rules) -> bool {
    match rules.weights {
        Weights::Examples => return weigh_by_examples(files, rules.tolerance),
        Weights::Count => {
            for file in files {
                (file.weight, file.is_claim) = (file.n_updates() as f64, true);
            }
        }
        Weights::Uniform => {}
    }
    true
}

/// Each update weighs as many as its training windows, a merge of foreign files what these weighed.
///
/// Where at least half of the files say so, those that do not are left out; where fewer do, all
/// weigh the same, so that no single file decides. Only where one that is left out is an error, a
/// single file that says so is enough.
fn weigh_by_examples(files: &mut [UpdateFile], tolerance: Tolerance) -> bool {
    let sound = || files.iter().filter(|file| file.refused.is_none());
    // Each node has one voice, however many files it sends.
    let voices: BTreeSet<&Path> = sound().map(UpdateFile::voter).collect();
    let known = sound().filter(|file| file.examples().is_some());
    let n_known = known.map(UpdateFile::voter).collect::<BTreeSet<_>>().len();
    let enough = 2 * n_known >= voices.len() || tolerance != Tolerance::KeepGoing;
    if n_known == 0 || !enough {
        return voices.is_empty();
    }
    for file in files.iter_mut() {
        if let Some(examples) = file.examples() {
            (file.weight, file.is_claim) = (examples, true);
        } else if file.refused.is_none() {
            let message = "the file does not say how many examples it was trained on, others do; \
                           give --weights or --uniform";
            file.refused = Some(Reason::Refused { message: message.to_owned() });
        }
    }
    true
}

/// Removes what an earlier run left beside a model, so that a fresh run starts fresh.
///
/// # Errors
/// If a file is there and cannot be removed.
pub(super) fn forget_server_state(model: &Path) -> anyhow::Result<()> {
    remove(&server_state_path(model))
}
