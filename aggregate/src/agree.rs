//! What updates must agree on: each node has a vote.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::TensorInfo;
use crate::check::{Checks, other_base};
use crate::input::Input;
use crate::reject::{Reason, Rejected};

/// The updates that passed all checks so far.
pub(crate) struct Left<'a> {
    pub(crate) inputs: Vec<&'a Input>,
    pub(crate) rejected: Vec<Rejected>,
}

impl Left<'_> {
    /// Leaves out those that a check has something against.
    pub(crate) fn keep(&mut self, check: &mut dyn FnMut(&Input) -> Option<Reason>) {
        self.inputs.retain(|input| match check(input) {
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
pub(crate) fn same_integers(left: &mut Left<'_>) {
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
