//! Which updates count: each is checked alone, then beside the others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use crate::check::{Checks, check_file, check_list, linked, other_base};
use crate::claims::{Claim, cap_weights};
use crate::input::Input;
use crate::names::{Named, have_namesakes, rivals};
use crate::reject::{Reason, Rejected};
use crate::update::MAX_OPEN_FILES;
use crate::{Error, TensorInfo, Tolerance, Update};

/// All updates that passed the checks made on one file alone.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// In an order that does not depend on how they were listed.
    inputs: Vec<Input>,
    /// The others, and those that were found out later.
    rejected: Vec<Rejected>,
    n_updates: usize,
    /// How many nodes are in the list; a file without a name counts as one.
    n_nodes: usize,
    /// Bytes read from files that were rejected at once.
    n_read: u64,
}

/// The updates that count.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    /// In the order of the candidates; at least one has a weight above 0.
    pub(crate) inputs: Vec<&'a Input>,
    /// What each of them counts, see [`cap_weights`].
    pub(crate) weights: Vec<f64>,
    pub(crate) tensors: Arc<[TensorInfo]>,
    /// The base's hash, or else the one the updates agree on.
    pub(crate) base_hash: Option<String>,
    /// Sorted by path.
    pub(crate) rejected: Vec<Rejected>,
    n_nodes: usize,
}

impl Candidates {
    /// Checks the list, then each file alone: header, names, shapes, dtypes, integers, base, age.
    ///
    /// # Errors
    /// If the list is wrong, or this machine cannot read a file.
    pub(crate) fn open(updates: &[Update], checks: &Checks<'_>) -> Result<Self, Error> {
        check_list(updates)?;
        let layouts = Mutex::new(BTreeSet::new());
        let keep_open = updates.len() <= MAX_OPEN_FILES;
        let linked = linked(updates);
        let check = |(update, linked): (&Update, &Option<PathBuf>)| match linked {
            Some(of) => Ok(Err((Reason::Copy { of: of.clone() }, 0))),
            None => check_file(update, checks, &layouts, keep_open),
        };
        let checked: Result<Vec<_>, Error> = updates.par_iter().zip(&linked).map(check).collect();
        let single = updates.iter().zip(&linked).filter(|(_, linked)| linked.is_none());
        let mut candidates = Self {
            inputs: Vec::with_capacity(updates.len()),
            rejected: Vec::new(),
            n_updates: updates.len(),
            n_nodes: count_nodes(single.map(|(update, _)| update)),
            n_read: 0,
        };
        for (position, (update, result)) in updates.iter().zip(checked?).enumerate() {
            match result {
                Ok(input) => candidates.inputs.push(Input { position, ..input }),
                Err((reason, n_read)) => {
                    candidates.n_read += n_read;
                    candidates.rejected.push(reject(update, reason));
                }
            }
        }
        candidates.sort()?;
        // Who is left out for a name must at least be sound: a node may send again what was broken.
        let named: Vec<Named<'_>> = candidates.inputs.iter().map(Input::named).collect();
        let has_namesake = have_namesakes(&named);
        let refused = candidates.scan(|i| has_namesake[i])?;
        candidates.refuse(refused);
        Ok(candidates)
    }

    fn sort(&mut self) -> Result<(), Error> {
        self.inputs.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        let mut refused = Vec::new();
        for run in self.inputs.chunk_by_mut(|a, b| a.fingerprint == b.fingerprint) {
            if run.len() > 1 {
                for input in run {
                    match input.file.content_hash() {
                        Ok(hash) => input.tie = hash,
                        Err(error) => {
                            refused.push((input.update.path.clone(), Reason::try_from(error)?));
                        }
                    }
                }
            }
        }
        self.refuse(refused);
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

    /// The updates that hold NaN or infinity, or cannot be read any more.
    pub(crate) fn not_finite(&self) -> Result<Vec<(PathBuf, Reason)>, Error> {
        self.scan(|_| true)
    }

    fn scan(&self, which: impl Fn(usize) -> bool + Sync) -> Result<Vec<(PathBuf, Reason)>, Error> {
        let scan = |(i, input): (usize, &Input)| {
            let found = match which(i) {
                true => input.file.first_invalid(),
                false => Ok(None),
            };
            let reason = found.or_else(|error| Reason::try_from(error).map(Some))?;
            Ok(reason.map(|reason| (input.update.path.clone(), reason)))
        };
        let found: Result<Vec<_>, Error> = self.inputs.par_iter().enumerate().map(scan).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// The update that an error met while merging is about, with the reason to leave it out; the
    /// error itself if it is about none, or this machine's fault.
    pub(crate) fn blame(&self, error: Error) -> Result<Vec<(PathBuf, Reason)>, Error> {
        let (Error::Read { path, .. } | Error::Changed { path }) = &error else {
            return Err(error);
        };
        let holds = |input: &&Input| input.file.paths().contains(&path.as_path());
        let Some(input) = self.inputs.iter().find(holds) else { return Err(error) };
        let path = input.update.path.clone();
        Ok(vec![(path, Reason::try_from(error)?)])
    }

    /// Bytes read from all files so far.
    pub(crate) fn n_read(&self) -> u64 {
        self.n_read + self.inputs.iter().map(|input| input.file.n_read()).sum::<u64>()
    }

    /// Checks the files against each other, and whether enough are left.
    pub(crate) fn select(&self, checks: &Checks<'_>) -> Result<Admission<'_>, Error> {
        let rules = &checks.options.rules;
        let mut left =
            Left { inputs: self.inputs.iter().collect(), rejected: self.rejected.clone() };
        let (tensors, base_hash) = agree(&mut left, checks);
        same_integers(&mut left);
        let named: Vec<Named<'_>> = left.inputs.iter().map(|input| input.named()).collect();
        let mut reasons = rivals(&named).into_iter();
        left.keep(&mut |_| reasons.next().flatten());
        let updates: Vec<&Update> = left.inputs.iter().map(|input| &input.update).collect();
        let mut doubts = rules.reduce.doubts(&updates).into_iter();
        left.keep(&mut |_| doubts.next().flatten());

        let Left { inputs, mut rejected } = left;
        rejected.sort_by(|a, b| a.path.cmp(&b.path));
        let fails = |rejected: &Rejected| match rules.tolerance {
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
        let weight = |input: &&Input| input.update.weight;
        let found = inputs.iter().filter(|input| weight(input) > 0.0).count();
        if found == 0 {
            return Err(Error::ZeroWeights { n_updates: inputs.len() });
        }
        // Private merging gives all the same weight, and tells nothing of a single one.
        let weights = match rules.privacy {
            Some(_) => inputs.iter().map(weight).collect(),
            None => {
                let claim =
                    |input: &&Input| Claim { weight: weight(input), n_nodes: input.update.n_nodes };
                cap_weights(&inputs.iter().map(claim).collect::<Vec<_>>(), rules.max_weight)
            }
        };
        let n_nodes = self.n_nodes;
        let admission = Admission { inputs, weights, tensors, base_hash, rejected, n_nodes };
        if rules.quorum.is_met(found, n_nodes) {
            return Ok(admission);
        }
        Err(admission.too_few(found, format!("the quorum is {}", rules.quorum)))
    }
}

impl Admission<'_> {
    /// The error for a rule that needs more updates than are left.
    pub(crate) fn too_few(&self, found: usize, needed: String) -> Error {
        Error::Quorum { found, of: self.n_nodes, needed, rejected: self.rejected.clone() }
    }
}

/// The updates that passed all checks so far.
struct Left<'a> {
    inputs: Vec<&'a Input>,
    rejected: Vec<Rejected>,
}

impl Left<'_> {
    fn keep(&mut self, check: &mut dyn FnMut(&Input) -> Option<Reason>) {
        self.inputs.retain(|input| match check(input) {
            Some(reason) => {
                self.rejected.push(reject(&input.update, reason));
                false
            }
            None => true,
        });
    }
}

/// The tensors and the hash of the base; without one those that most updates have.
fn agree(left: &mut Left<'_>, checks: &Checks<'_>) -> (Option<Arc<[TensorInfo]>>, Option<String>) {
    if let Some(base) = checks.base {
        return (Some(base.file.shared_tensors()), Some(base.hash.clone()));
    }
    let same = |a: &Arc<[TensorInfo]>, b: &Arc<[TensorInfo]>| {
        Arc::ptr_eq(a, b) || Reason::mismatch(a, b).is_none()
    };
    let tensors = most_common(&left.inputs, |input| Some(input.file.shared_tensors()), same);
    if let Some(expected) = &tensors {
        left.keep(&mut |input| Reason::mismatch(expected, input.file.tensors()));
    }
    let base_hash = most_common(&left.inputs, |input| input.update.base.clone(), |a, b| a == b);
    if let Some(expected) = &base_hash {
        left.keep(&mut |input| other_base(expected, &input.update));
    }
    (tensors, base_hash)
}

/// Integers are what most whole updates hold; of tensors that only parts hold, what the first of
/// them has.
fn same_integers(left: &mut Left<'_>) {
    let whole = |input: &Input| !input.update.partial;
    let voted = most_common(
        &left.inputs,
        |input| whole(input).then(|| input.integers.clone()),
        |a, b| a == b,
    );
    let mut expected = voted.unwrap_or_default();
    left.keep(&mut |input| {
        let differs = input.integers.iter().any(|(name, hash)| {
            expected.entry(name.clone()).or_insert_with(|| hash.clone()) != hash
        });
        differs.then_some(Reason::Integers)
    });
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

/// How many distinct names there are with a weight; each file without a name counts as one.
fn count_nodes<'a>(updates: impl Iterator<Item = &'a Update>) -> usize {
    let mut names = BTreeSet::new();
    let mut n_unknown = 0;
    for update in updates.filter(|update| update.weight > 0.0) {
        match &update.node {
            Some(node) => {
                names.insert(node.as_str());
            }
            None => n_unknown += 1,
        }
    }
    names.len() + n_unknown
}

fn reject(update: &Update, reason: Reason) -> Rejected {
    Rejected { path: update.path.clone(), node: update.node.clone(), reason }
}
