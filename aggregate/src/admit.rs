//! Which updates count: every check a file must pass before it is merged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::dtype::{Kind, element_width, first_invalid, kind};
use crate::mean::Block;
use crate::reject::{Reason, Rejected};
use crate::source::Source;
use crate::{Error, OnRejection, TensorInfo, WeightFile};

/// Up to this many updates stay open from the checks to the sum; of more, each read opens its file.
const MAX_OPEN_FILES: usize = 128;

/// One node's weight file and what is known about it.
///
/// The caller reads node, base and weight from wherever it keeps them; a file of unknown origin has
/// neither node nor base.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The safetensors file.
    pub path: PathBuf,
    /// Who made it. One node counts once; files without a node are never taken for duplicates.
    pub node: Option<String>,
    /// Content hash of the model file it was trained from.
    pub base: Option<String>,
    /// Whether it may lack tensors of the base, which it then does not move. Without a base all
    /// updates must have the same tensors.
    pub partial: bool,
    /// Its weight in the mean, usually the number of examples: finite and at least 0. An update of
    /// weight 0 is checked and listed, and does not influence the result.
    pub weight: f64,
}

impl Update {
    /// An update of unknown origin.
    pub fn new(path: impl Into<PathBuf>, weight: f64) -> Self {
        Self { path: path.into(), node: None, base: None, partial: false, weight }
    }
}

/// The model the nodes started from.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) file: WeightFile,
    pub(crate) hash: String,
}

impl Base {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = WeightFile::open(path)?;
        if let Some(tensor) = unsupported(file.tensors()) {
            return Err(Error::Dtype {
                path: path.to_owned(),
                tensor: tensor.name.clone(),
                dtype: tensor.dtype,
                expected: "a float, an integer or a boolean",
            });
        }
        let hash = file.content_hash()?;
        Ok(Self { file, hash })
    }

    /// Reads the bytes of a block, which must hold valid values.
    pub(crate) fn read_block(&self, block: Block, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let tensor = &self.file.tensors()[block.tensor];
        bytes.resize(block.n_elements * element_width(tensor.dtype), 0);
        self.file.source().read_exact_at(bytes, tensor.offset(block.start))?;
        match first_invalid(tensor.dtype, bytes) {
            None => Ok(()),
            Some((index, _)) => Err(Error::BaseValue {
                path: self.file.path().to_owned(),
                tensor: tensor.name.clone(),
                index: block.start + index,
            }),
        }
    }
}

/// An update that passed the checks made on one file alone.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) update: Update,
    pub(crate) hash: String,
    pub(crate) source: Source,
    /// Updates of one layout share the list, so that many updates take little memory.
    pub(crate) tensors: Arc<[TensorInfo]>,
}

/// The updates that count, in an order that does not depend on how they were listed.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Sorted by content hash, then weight, then path; at least one has a weight above 0.
    pub(crate) inputs: Vec<Input>,
    pub(crate) tensors: Arc<[TensorInfo]>,
    /// The base's hash, or else the one the updates agree on.
    pub(crate) base_hash: Option<String>,
    /// Sorted by path.
    pub(crate) rejected: Vec<Rejected>,
    /// Bytes that were read from files that were then rejected.
    pub(crate) n_read_rejected: u64,
}

/// Checks the list, then every file, then the files against each other.
pub(crate) fn admit(
    updates: &[Update],
    base: Option<&Base>,
    on_rejection: OnRejection,
) -> Result<Admission, Error> {
    check_list(updates)?;
    let layouts = Mutex::new(BTreeSet::new());
    let keep_open = updates.len() <= MAX_OPEN_FILES;
    let checked: Vec<_> =
        updates.par_iter().map(|update| check_file(update, base, &layouts, keep_open)).collect();

    let mut rejected = Vec::new();
    let mut n_read_rejected = 0;
    let mut inputs = Vec::with_capacity(checked.len());
    for (update, result) in updates.iter().zip(checked) {
        match result {
            Ok(input) => inputs.push(input),
            Err((reason, n_read)) => {
                n_read_rejected += n_read;
                rejected.push(reject(update, reason));
            }
        }
    }
    inputs.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    let mut keep = |inputs: &mut Vec<Input>, check: &mut dyn FnMut(&Input) -> Option<Reason>| {
        inputs.retain(|input| match check(input) {
            Some(reason) => {
                n_read_rejected += input.source.n_read();
                rejected.push(reject(&input.update, reason));
                false
            }
            None => true,
        });
    };

    let mut base_hash = base.map(|base| base.hash.clone());
    let mut tensors = base.map(|base| base.file.shared_tensors());
    if base.is_none() {
        let same = |a: &Arc<[TensorInfo]>, b: &Arc<[TensorInfo]>| {
            Arc::ptr_eq(a, b) || Reason::mismatch(a, b).is_none()
        };
        tensors = most_common(&inputs, |input| Some(input.tensors.clone()), same);
        if let Some(expected) = &tensors {
            keep(&mut inputs, &mut |input| Reason::mismatch(expected, &input.tensors));
        }
        base_hash = most_common(&inputs, |input| input.update.base.clone(), |a, b| a == b);
        if let Some(expected) = &base_hash {
            keep(&mut inputs, &mut |input| other_base(expected, &input.update));
        }
    }

    // Of one node's updates the first counts, or the first with a weight.
    let mut counting: BTreeMap<String, PathBuf> = BTreeMap::new();
    let (weighted, others): (Vec<_>, Vec<_>) =
        inputs.iter().map(|input| &input.update).partition(|update| update.weight > 0.0);
    for update in weighted.into_iter().chain(others) {
        if let Some(node) = &update.node {
            counting.entry(node.clone()).or_insert_with(|| update.path.clone());
        }
    }
    keep(&mut inputs, &mut |input| {
        let node = input.update.node.clone()?;
        let kept = counting.get(&node).filter(|&path| *path != input.update.path)?.clone();
        Some(Reason::Duplicate { node, kept })
    });

    rejected.sort_by(|a, b| a.path.cmp(&b.path));
    let fails = |rejected: &Rejected| match on_rejection {
        OnRejection::Skip => false,
        OnRejection::SkipNotFinite => !matches!(rejected.reason, Reason::Value { .. }),
        OnRejection::Fail => true,
    };
    if rejected.iter().any(fails) {
        return Err(Error::Rejected { n_updates: updates.len(), rejected });
    }
    let Some(tensors) = tensors.filter(|_| !inputs.is_empty()) else {
        return Err(Error::NothingAdmitted { rejected });
    };
    if inputs.iter().all(|input| input.update.weight == 0.0) {
        return Err(Error::ZeroWeights { n_updates: inputs.len() });
    }
    Ok(Admission { inputs, tensors, base_hash, rejected, n_read_rejected })
}

/// What the operator got wrong before any file is read.
fn check_list(updates: &[Update]) -> Result<(), Error> {
    if updates.is_empty() {
        return Err(Error::NoUpdates);
    }
    for Update { path, weight, .. } in updates {
        if !(weight.is_finite() && *weight >= 0.0) {
            return Err(Error::Weight { path: path.clone(), weight: *weight });
        }
    }
    let mut seen = BTreeMap::new();
    for Update { path, .. } in updates {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        if let Some(first) = seen.insert(real, path) {
            return Err(Error::SameFile { first: first.clone(), second: path.clone() });
        }
    }
    if updates.iter().all(|update| update.weight == 0.0) {
        return Err(Error::ZeroWeights { n_updates: updates.len() });
    }
    Ok(())
}

/// Everything that can be checked on one file; a failure comes with the bytes read so far.
fn check_file(
    update: &Update,
    base: Option<&Base>,
    layouts: &Mutex<BTreeSet<Arc<[TensorInfo]>>>,
    keep_open: bool,
) -> Result<Input, (Reason, u64)> {
    let file = WeightFile::open(&update.path).map_err(|error| (Reason::of(error), 0))?;
    let fail = |reason| (reason, file.source().n_read());
    if let Some(TensorInfo { name, dtype, .. }) = unsupported(file.tensors()) {
        return Err(fail(Reason::Unsupported { tensor: name.clone(), dtype: *dtype }));
    }
    if let Some(base) = base {
        let mismatch = if update.partial {
            Reason::mismatch_of_part(base.file.tensors(), file.tensors())
        } else {
            Reason::mismatch(base.file.tensors(), file.tensors())
        };
        if let Some(reason) = mismatch.or_else(|| other_base(&base.hash, update)) {
            return Err(fail(reason));
        }
    }
    let hash = file.scan().map_err(fail)?;
    let (mut source, mut tensors) = file.into_parts();
    if !keep_open {
        source.close();
    }
    // The set only ever grows by whole entries, so it is sound even if another thread panicked.
    let mut layouts = layouts.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = layouts.get(&tensors) {
        tensors = Arc::clone(known);
    } else {
        layouts.insert(Arc::clone(&tensors));
    }
    // -0 is a zero like any other.
    let update = Update { weight: update.weight + 0.0, ..update.clone() };
    Ok(Input { update, hash, source, tensors })
}

/// What most updates have, each node (or file without a node) voting once for each value it has;
/// of values with as many votes, the one of the update with the lowest content hash.
///
/// Updates of weight 0 have no vote, unless there are no others.
fn most_common<T>(
    sorted: &[Input],
    value: impl Fn(&Input) -> Option<T>,
    same: impl Fn(&T, &T) -> bool,
) -> Option<T> {
    let anyone = sorted.iter().all(|input| input.update.weight == 0.0);
    let mut groups: Vec<(T, BTreeSet<&Path>)> = Vec::new();
    for input in sorted.iter().filter(|input| anyone || input.update.weight > 0.0) {
        let Some(value) = value(input) else { continue };
        let voter = input.update.node.as_deref().map_or(input.update.path.as_path(), Path::new);
        if let Some((_, voters)) = groups.iter_mut().find(|(other, _)| same(other, &value)) {
            voters.insert(voter);
        } else {
            groups.push((value, BTreeSet::from([voter])));
        }
    }
    // The first of equals, while `max_by_key` would give the last.
    let n_votes = groups.iter().map(|(_, voters)| voters.len()).max()?;
    groups.into_iter().find(|(_, voters)| voters.len() == n_votes).map(|(value, _)| value)
}

fn sort_key(input: &Input) -> (&str, u64, &Path) {
    (&input.hash, input.update.weight.to_bits(), &input.update.path)
}

fn other_base(expected: &str, update: &Update) -> Option<Reason> {
    let found = update.base.as_deref().filter(|&found| found != expected)?;
    Some(Reason::Base { expected: expected.to_owned(), found: found.to_owned() })
}

fn unsupported(tensors: &[TensorInfo]) -> Option<&TensorInfo> {
    tensors.iter().find(|tensor| kind(tensor.dtype) == Kind::Unsupported)
}

fn reject(update: &Update, reason: Reason) -> Rejected {
    Rejected { path: update.path.clone(), node: update.node.clone(), reason }
}
