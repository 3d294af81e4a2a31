//! What updates must agree on: each node has a vote.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::adapter_config::CONFIG_NAME;
use crate::check::{Checks, other_base};
use crate::factors::of_factors;
use crate::input::Input;
use crate::layout::advised;
use crate::reject::{Reason, Rejected};
use crate::{Dtype, Error, TensorInfo};

/// The updates that passed all checks so far.
pub(crate) struct Left<'a> {
    pub(crate) inputs: Vec<&'a Input>,
    pub(crate) rejected: Vec<Rejected>,
}

impl<'a> Left<'a> {
    /// Leaves out those that a check has something against.
    pub(crate) fn keep(&mut self, check: &mut dyn FnMut(&'a Input) -> Option<Reason>) {
        self.inputs.retain(|&input| match check(input) {
            Some(reason) => {
                self.rejected.push(input.update.reject(reason));
                false
            }
            None => true,
        });
    }
}

/// The tensors and the hash of the base; without one those that most updates have.
pub(crate) fn agree(
    left: &mut Left<'_>,
    checks: &Checks<'_>,
) -> (Option<Arc<[TensorInfo]>>, Option<String>) {
    same_base_model(left);
    if let Some(base) = checks.base {
        return (Some(Arc::clone(&base.layout)), Some(base.hash.clone()));
    }
    let has_config = |input: &Input| input.factors.as_ref()?.has_config;
    if let Some(of_most) = most_common(&left.inputs, has_config) {
        left.keep(&mut |input| {
            let own = has_config(input).filter(|own| *own != of_most)?;
            let problem = if own {
                "an adapter_config.json stands beside it, and most others have none".to_owned()
            } else {
                "no adapter_config.json stands beside it as with most others, and its scale is not \
                 known"
                    .to_owned()
            };
            Some(Reason::Adapter { problem })
        });
    }
    let tensors = most_common(&left.inputs, |input| Some(Layout(Arc::clone(&input.layout))));
    let tensors = tensors.map(|Layout(tensors)| tensors);
    if let Some(expected) = &tensors {
        left.keep(&mut |input| {
            let reason = Reason::mismatch(expected, &input.layout)?;
            let reason = advised(reason, expected, &input.layout, Reason::mismatch);
            Some(of_factors(reason, input.factors.as_ref()))
        });
    }
    let base_hash = most_common(&left.inputs, |input| input.update.base.clone());
    if let Some(expected) = &base_hash {
        left.keep(&mut |input| other_base(expected, &input.update));
    }
    (tensors, base_hash)
}

/// Adapters belong to the model that most of them say they belong to; those that do not say are
/// believed. Of a tie nobody knows which is meant.
fn same_base_model(left: &mut Left<'_>) {
    let Some(Vote { value: expected, is_tied, .. }) =
        vote_on(&left.inputs, |input| input.base_model.clone())
    else {
        return;
    };
    left.keep(&mut |input| {
        let own = input.base_model.as_ref()?;
        let whose = match (is_tied, *own == expected) {
            (false, true) => return None,
            (false, false) => format!("those of most others to {expected:?}"),
            (true, false) => format!("those of as many others to {expected:?}"),
            (true, true) => "those of as many others to another one".to_owned(),
        };
        let problem = format!(
            "its adapters belong to the base model {own:?} by {CONFIG_NAME}, {whose}; if these are one \
             and the same, write one name into all"
        );
        Some(Reason::Adapter { problem })
    });
}

/// Tensors that are not averaged, and for which no rule says otherwise, are what most whole updates
/// hold; those that only parts hold are what the first of them has.
///
/// # Errors
/// If this machine cannot read them.
pub(crate) fn same_integers(left: &mut Left<'_>) -> Result<(), Error> {
    let whole = |input: &Input| !input.update.partial;
    let vote = |input: &Input| whole(input).then(|| input.integers.clone());
    let (voted, of_most) =
        vote_on(&left.inputs, vote).map(|vote| (vote.value, vote.of_most)).unwrap_or_default();
    let holder = left.inputs.iter().copied().find(|&i| whole(i) && i.integers == voted);
    // Of each tensor the hash, and who holds that.
    let mut expected: BTreeMap<String, (String, &Input, bool)> = BTreeMap::new();
    for (name, hash) in voted {
        if let Some(holder) = holder {
            expected.insert(name, (hash, holder, of_most));
        }
    }
    let mut failed = Ok(());
    left.keep(&mut |input| {
        let mut differing = None;
        for (name, hash) in &input.integers {
            let entry = || (hash.clone(), input, false);
            let (other, holder, of_most) = expected.entry(name.clone()).or_insert_with(entry);
            if differing.is_none() && other != hash {
                differing = Some((name, *holder, *of_most));
            }
        }
        let (tensor, holder, of_most) = differing?;
        // Of a file that cannot be read any more it is known that it differs.
        let unknown = || (0, "other values".to_owned(), "not".to_owned());
        let found = input.file.first_difference(&holder.file, tensor);
        let (index, found, expected) = match found.map_err(Reason::try_from) {
            Ok(Some(found)) => found,
            Ok(None) | Err(Ok(_)) => unknown(),
            Err(Err(error)) => {
                failed = Err(error);
                return None;
            }
        };
        Some(Reason::Integers { tensor: tensor.clone(), index, found, expected, of_most })
    });
    failed
}

/// What most updates have, each node (or file without a node) voting once for each value it has;
/// of values with as many votes, the one of the first update.
///
/// Updates of weight 0 have no vote, unless there are no others.
pub(crate) fn most_common<T: Ord>(
    sorted: &[&Input],
    value: impl Fn(&Input) -> Option<T>,
) -> Option<T> {
    vote_on(sorted, value).map(|vote| vote.value)
}

/// What came of a vote.
struct Vote<T> {
    value: T,
    /// Whether it has more than half of the votes.
    of_most: bool,
    /// Whether another one has as many.
    is_tied: bool,
}

/// The same, with how clear it is.
fn vote_on<T: Ord>(sorted: &[&Input], value: impl Fn(&Input) -> Option<T>) -> Option<Vote<T>> {
    let anyone = sorted.iter().all(|input| input.update.weight == 0.0);
    // Of each value who has it, and the place of the first who does.
    let mut groups: BTreeMap<T, (BTreeSet<&Path>, usize)> = BTreeMap::new();
    let voting = sorted.iter().filter(|input| anyone || input.update.weight > 0.0);
    for (place, input) in voting.enumerate() {
        let Some(value) = value(input) else { continue };
        let voter = input.update.node.as_deref().map_or(input.update.path.as_path(), Path::new);
        groups.entry(value).or_insert_with(|| (BTreeSet::new(), place)).0.insert(voter);
    }
    let most = |(voters, first): &(BTreeSet<&Path>, usize)| (voters.len(), Reverse(*first));
    let n_votes: usize = groups.values().map(|(voters, _)| voters.len()).sum();
    let counts: Vec<usize> = groups.values().map(|(voters, _)| voters.len()).collect();
    let (value, (voters, _)) = groups.into_iter().max_by_key(|(_, group)| most(group))?;
    let n = voters.len();
    let is_tied = counts.into_iter().filter(|&count| count == n).count() > 1;
    Some(Vote { value, of_most: 2 * n > n_votes, is_tied })
}

/// The tensors of a file but for where they lie: equal are those that [`Reason::mismatch`] finds no
/// difference between.
struct Layout(Arc<[TensorInfo]>);

impl Ord for Layout {
    fn cmp(&self, other: &Self) -> Ordering {
        fn parts(tensors: &[TensorInfo]) -> impl Iterator<Item = (&String, &Dtype, &Vec<usize>)> {
            tensors.iter().map(|TensorInfo { name, dtype, shape, .. }| (name, dtype, shape))
        }
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        parts(&self.0).cmp(parts(&other.0))
    }
}

impl PartialOrd for Layout {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Layout {}
