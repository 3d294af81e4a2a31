//! Which updates count: each is checked alone, then beside the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use crate::adapters::{Sign, sign};
use crate::agree::{Left, agree, most_common, same_integers};
use crate::check::{Checks, check_file, check_list, linked};
use crate::claims::{Claim, bound_steps, cap_weights};
use crate::input::Input;
use crate::layouts::Layouts;
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
    /// What the length of local training counts, of those with a weight above 0.
    pub(crate) steps: Vec<f64>,
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
        let layouts = Layouts::default();
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
                    candidates.rejected.push(update.reject(reason));
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

    /// A file and by what it is known to hold adapters, if most updates are.
    pub(crate) fn adapter(&self) -> Option<(PathBuf, Sign)> {
        let sorted: Vec<&Input> = self.inputs.iter().collect();
        // Files of one layout share the list of tensors.
        let mut known: BTreeMap<*const TensorInfo, Option<Sign>> = BTreeMap::new();
        for input in &sorted {
            let tensors = input.file.tensors();
            known.entry(tensors.as_ptr()).or_insert_with(|| sign(tensors));
        }
        let of = |input: &Input| known.get(&input.file.tensors().as_ptr())?.as_ref();
        most_common(&sorted, |input| Some(of(input).is_some())).filter(|of_most| *of_most)?;
        sorted.iter().find_map(|input| Some((input.update.path.clone(), of(input)?.clone())))
    }

    /// Whether no update passed the checks.
    pub(crate) fn is_empty(&self) -> bool {
        self.inputs.is_empty()
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
        // Of two reasons the first counts.
        let mut reasons: BTreeMap<PathBuf, Reason> = refused.into_iter().rev().collect();
        if reasons.is_empty() {
            return;
        }
        let (n_read, rejected) = (&mut self.n_read, &mut self.rejected);
        self.inputs.retain(|input| match reasons.remove(&input.update.path) {
            Some(reason) => {
                *n_read += input.file.n_read();
                rejected.push(input.update.reject(reason));
                false
            }
            None => true,
        });
    }

    /// The updates that hold NaN or infinity, or cannot be read any more.
    pub(crate) fn not_finite(&self) -> Result<Vec<(PathBuf, Reason)>, Error> {
        self.scan(|_| true)
    }

    fn scan(&self, which: impl Fn(usize) -> bool + Sync) -> Result<Vec<(PathBuf, Reason)>, Error> {
        let scan = |(i, input): (usize, &Input)| {
            let found = if which(i) { input.file.first_invalid() } else { Ok(None) };
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
        same_integers(&mut left)?;
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
        let weights = if rules.privacy.is_some() {
            inputs.iter().map(weight).collect()
        } else {
            let claim =
                |input: &&Input| Claim { weight: weight(input), n_nodes: input.update.n_nodes };
            cap_weights(&inputs.iter().map(claim).collect::<Vec<_>>(), rules.max_weight)
        };
        let counting = inputs.iter().filter(|input| weight(input) > 0.0);
        let steps: Vec<f64> = counting.map(|input| input.update.steps).collect();
        let steps = bound_steps(&steps, rules.max_weight);
        let n_nodes = self.n_nodes;
        let admission = Admission { inputs, weights, steps, tensors, base_hash, rejected, n_nodes };
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
