//! Which updates count: every check a file must pass before it is merged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::base::Base;
use crate::median::median;
use crate::patterns::Patterns;
use crate::reject::{Reason, Rejected};
use crate::tensor::unsupported;
use crate::{Error, Options, Reducer, TensorInfo, Tolerance, Update, WeightFile};

/// An update may claim so many times the median of all local steps, and no more.
const MOST_STEPS: f64 = 1000.0;

/// Up to this many updates stay open from the checks to the sum; of more, each read opens its file.
const MAX_OPEN_FILES: usize = 128;

/// An update that passed the checks made on one file alone.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) update: Update,
    /// See [`WeightFile::fingerprint`].
    pub(crate) fingerprint: String,
    /// The content hash where others have the same fingerprint.
    tie: String,
    /// The hashes of all integer and boolean tensors that are not kept local, by name.
    integers: BTreeMap<String, String>,
    /// Its place in the list.
    pub(crate) position: usize,
    pub(crate) file: WeightFile,
}

/// All updates that passed the checks made on one file alone.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// In an order that does not depend on how they were listed.
    inputs: Vec<Input>,
    /// The others, and those that were found out later.
    rejected: Vec<Rejected>,
    n_updates: usize,
    /// Bytes read from files that were rejected at once.
    n_read: u64,
}

/// The updates that count.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    /// In the order of the candidates; at least one has a weight above 0.
    pub(crate) inputs: Vec<&'a Input>,
    pub(crate) tensors: Arc<[TensorInfo]>,
    /// The base's hash, or else the one the updates agree on.
    pub(crate) base_hash: Option<String>,
    /// Sorted by path.
    pub(crate) rejected: Vec<Rejected>,
}

/// What updates are checked against.
#[derive(Debug)]
pub(crate) struct Checks<'a> {
    pub(crate) base: Option<&'a Base>,
    /// Hashes of older bases.
    pub(crate) older: Vec<&'a str>,
    pub(crate) keep_local: &'a Patterns,
    pub(crate) options: &'a Options,
}

impl Candidates {
    /// Checks the list, then each file alone: header, names, shapes, dtypes, integers, base, age.
    pub(crate) fn open(updates: &[Update], checks: &Checks<'_>) -> Result<Self, Error> {
        check_list(updates)?;
        let layouts = Mutex::new(BTreeSet::new());
        let keep_open = updates.len() <= MAX_OPEN_FILES;
        let checked: Vec<_> =
            updates.par_iter().map(|u| check_file(u, checks, &layouts, keep_open)).collect();
        let mut candidates = Self {
            inputs: Vec::with_capacity(checked.len()),
            rejected: Vec::new(),
            n_updates: updates.len(),
            n_read: 0,
        };
        for (position, (update, result)) in updates.iter().zip(checked).enumerate() {
            match result {
                Ok(input) => candidates.inputs.push(Input { position, ..input }),
                Err((reason, n_read)) => {
                    candidates.n_read += n_read;
                    candidates.rejected.push(reject(update, reason));
                }
            }
        }
        candidates.sort()?;
        Ok(candidates)
    }

    fn sort(&mut self) -> Result<(), Error> {
        self.inputs.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        for run in self.inputs.chunk_by_mut(|a, b| a.fingerprint == b.fingerprint) {
            if run.len() > 1 {
                for input in run {
                    input.tie = input.file.content_hash()?;
                }
            }
        }
        self.inputs.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        Ok(())
    }

    /// Takes out updates that were found to be bad while they were merged.
    pub(crate) fn refuse(&mut self, refused: Vec<(PathBuf, Reason)>) {
        for (path, reason) in refused {
            if let Some(at) = self.inputs.iter().position(|input| input.update.path == path) {
                let input = self.inputs.remove(at);
                self.n_read += input.file.n_read();
                self.rejected.push(reject(&input.update, reason));
            }
        }
    }

    /// The updates that hold NaN or infinity.
    pub(crate) fn not_finite(&self) -> Result<Vec<(PathBuf, Reason)>, Error> {
        let scan = |input: &Input| {
            let found = input.file.first_invalid()?;
            Ok(found.map(|reason| (input.update.path.clone(), reason)))
        };
        let found: Result<Vec<_>, Error> = self.inputs.par_iter().map(scan).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// Bytes read from all files so far.
    pub(crate) fn n_read(&self) -> u64 {
        self.n_read + self.inputs.iter().map(|input| input.file.n_read()).sum::<u64>()
    }

    /// Checks the files against each other, and whether enough are left.
    pub(crate) fn select(&self, checks: &Checks<'_>) -> Result<Admission<'_>, Error> {
        let Checks { base, options, .. } = *checks;
        let mut rejected = self.rejected.clone();
        let mut inputs: Vec<&Input> = self.inputs.iter().collect();
        let mut keep = |inputs: &mut Vec<&Input>,
                        check: &mut dyn FnMut(&Input) -> Option<Reason>| {
            inputs.retain(|input| match check(input) {
                Some(reason) => {
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
            tensors = most_common(&inputs, |input| Some(input.file.shared_tensors()), same);
            if let Some(expected) = &tensors {
                keep(&mut inputs, &mut |input| Reason::mismatch(expected, input.file.tensors()));
            }
            base_hash = most_common(&inputs, |input| input.update.base.clone(), |a, b| a == b);
            if let Some(expected) = &base_hash {
                keep(&mut inputs, &mut |input| other_base(expected, &input.update));
            }
        }
        // What most whole updates hold; of tensors that only parts hold, what the first of them has.
        let whole = |input: &Input| !input.update.partial;
        let voted = most_common(
            &inputs,
            |input| whole(input).then(|| input.integers.clone()),
            |a, b| a == b,
        );
        let mut expected = voted.unwrap_or_default();
        keep(&mut inputs, &mut |input| {
            let differs = input.integers.iter().any(|(name, hash)| {
                expected.entry(name.clone()).or_insert_with(|| hash.clone()) != hash
            });
            differs.then_some(Reason::Integers)
        });
        if options.rules.reduce == Reducer::Nova {
            let steps: Vec<f64> = inputs.iter().map(|input| input.update.steps).collect();
            if !steps.is_empty() {
                let limit = MOST_STEPS * median(&steps);
                keep(&mut inputs, &mut |input| {
                    let steps = input.update.steps;
                    (steps > limit).then_some(Reason::Steps { steps, limit })
                });
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
        let fails = |rejected: &Rejected| match options.rules.tolerance {
            Tolerance::KeepGoing => false,
            Tolerance::BadValues => {
                !matches!(rejected.reason, Reason::Value { .. } | Reason::Norm { .. })
            }
            Tolerance::Strict => true,
        };
        if rejected.iter().any(fails) {
            return Err(Error::Rejected { n_updates: self.n_updates, rejected });
        }
        let Some(tensors) = tensors.filter(|_| !inputs.is_empty()) else {
            return Err(Error::NothingAdmitted { rejected });
        };
        if inputs.iter().all(|input| input.update.weight == 0.0) {
            return Err(Error::ZeroWeights { n_updates: inputs.len() });
        }
        let found = inputs.iter().filter(|input| input.update.weight > 0.0).count();
        if found < options.rules.quorum {
            return Err(Error::Quorum { quorum: options.rules.quorum, found, rejected });
        }
        Ok(Admission { inputs, tensors, base_hash, rejected })
    }
}

impl Input {
    /// Node, content, weight, path: where a rule is undecided the first node counts.
    fn sort_key(&self) -> (Option<&str>, &str, &str, u64, &Path) {
        let Update { node, weight, path, .. } = &self.update;
        (node.as_deref(), &self.fingerprint, &self.tie, weight.to_bits(), path)
    }
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
        if let Some(first) = seen.insert(identity(path), path) {
            return Err(Error::SameFile { first: first.clone(), second: path.clone() });
        }
    }
    if updates.iter().all(|update| update.weight == 0.0) {
        return Err(Error::ZeroWeights { n_updates: updates.len() });
    }
    Ok(())
}

/// What two names of one file have in common.
#[cfg(unix)]
fn identity(path: &Path) -> (PathBuf, u64, u64) {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata(path) {
        Ok(metadata) => (PathBuf::new(), metadata.dev(), metadata.ino()),
        Err(_) => (path.to_owned(), 0, 0),
    }
}

/// What two names of one file have in common.
#[cfg(not(unix))]
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Everything that can be checked on one file but its floats; a failure comes with the bytes read.
fn check_file(
    update: &Update,
    checks: &Checks<'_>,
    layouts: &Mutex<BTreeSet<Arc<[TensorInfo]>>>,
    keep_open: bool,
) -> Result<Input, (Reason, u64)> {
    let mut file = WeightFile::open(&update.path).map_err(|error| (Reason::of(error), 0))?;
    let n_read = file.n_read();
    let fail = |reason| (reason, n_read);
    if let Some(TensorInfo { name, dtype, .. }) = unsupported(file.tensors()) {
        return Err(fail(Reason::Unsupported { tensor: name.clone(), dtype: *dtype }));
    }
    if let Some(base) = checks.base {
        let mismatch = if update.partial {
            Reason::mismatch_of_part(base.file.tensors(), file.tensors())
        } else {
            Reason::mismatch(base.file.tensors(), file.tensors())
        };
        let reason = mismatch.or_else(|| {
            let is_older = update.base.as_deref().is_some_and(|hash| checks.older.contains(&hash));
            let late = is_older || checks.options.rules.reduce.takes_any_base();
            if late { None } else { other_base(&base.hash, update) }
        });
        if let Some(reason) = reason {
            return Err(fail(reason));
        }
    }
    if let Some(max_age) = checks.options.rules.max_age.filter(|&max_age| update.age > max_age) {
        return Err(fail(Reason::Age { age: update.age, max_age }));
    }
    let steps = update.steps;
    if !(steps.is_finite() && steps > 0.0) {
        return Err(fail(Reason::Steps { steps, limit: f64::MAX }));
    }
    if update.weight == 0.0
        && let Some(reason) = file.first_invalid().map_err(|error| fail(Reason::of(error)))?
    {
        // Its values are not looked at again.
        return Err(fail(reason));
    }
    let integers = file.integers(|name| checks.keep_local.matches(name)).map_err(fail)?;
    let fingerprint = file.fingerprint().map_err(|error| fail(Reason::of(error)))?;
    if !keep_open {
        file.close();
    }
    // The set only ever grows by whole entries, so it is sound even if another thread panicked.
    let mut layouts = layouts.lock().unwrap_or_else(PoisonError::into_inner);
    let tensors = file.shared_tensors();
    let known = layouts.get(&tensors).map_or_else(|| Arc::clone(&tensors), Arc::clone);
    layouts.insert(Arc::clone(&known));
    drop(layouts);
    file.share(known);
    // -0 is a zero like any other.
    let update = Update { weight: update.weight + 0.0, ..update.clone() };
    Ok(Input { update, fingerprint, tie: String::new(), integers, position: 0, file })
}

/// What most updates have, each node (or file without a node) voting once for each value it has;
/// of values with as many votes, the one of the first update.
///
/// Updates of weight 0 have no vote, unless there are no others.
fn most_common<T>(
    sorted: &[&Input],
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

fn other_base(expected: &str, update: &Update) -> Option<Reason> {
    let found = update.base.as_deref().filter(|&found| found != expected)?;
    Some(Reason::Base { expected: expected.to_owned(), found: found.to_owned() })
}

fn reject(update: &Update, reason: Reason) -> Rejected {
    Rejected { path: update.path.clone(), node: update.node.clone(), reason }
}
