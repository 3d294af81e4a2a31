//! New candidates: at random around the job, later around the best.

use std::collections::HashSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::candidate::Candidate;
use super::space::Space;

/// Most dimensions that a candidate of the first generation changes.
const MOST_CHANGED: usize = 5;

/// Tries to find a candidate that is new, before there is taken to be none.
const TRIES: usize = 200;

/// A candidate that is not among those known, and that is allowed; `None` if none was found.
pub(super) fn propose(
    space: &Space,
    parents: &[Candidate],
    known: &HashSet<Candidate>,
    rng: &mut ChaCha8Rng,
    allowed: impl Fn(&Candidate) -> bool,
) -> Option<Candidate> {
    if space.dimensions.is_empty() {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let found = match parents {
            [] => at_random(space, rng),
            _ => child(space, parents, rng),
        };
        (!known.contains(&found) && allowed(&found)).then_some(found)
    })
}

fn at_random(space: &Space, rng: &mut ChaCha8Rng) -> Candidate {
    let mut found = Candidate::default();
    for _ in 0..rng.random_range(1..=MOST_CHANGED) {
        change(&mut found, space, rng);
    }
    found
}

/// One of the parents, half of the time with the settings of another one where they differ, and one to three
/// settings changed.
fn child(space: &Space, parents: &[Candidate], rng: &mut ChaCha8Rng) -> Candidate {
    let one = rng.random_range(0..parents.len());
    let other = rng.random_range(0..parents.len());
    let mut found = parents[one].clone();
    if rng.random_range(0..2) == 0 {
        for dimension in 0..space.dimensions.len() {
            if rng.random_range(0..2) == 0 {
                continue;
            }
            match parents[other].chosen.get(&dimension) {
                Some(&choice) => _ = found.chosen.insert(dimension, choice),
                None => _ = found.chosen.remove(&dimension),
            }
        }
    }
    for _ in 0..rng.random_range(1..=3) {
        change(&mut found, space, rng);
    }
    found
}

/// Another setting of one dimension, as in the job or not.
fn change(candidate: &mut Candidate, space: &Space, rng: &mut ChaCha8Rng) {
    let dimension = rng.random_range(0..space.dimensions.len());
    let n_choices = space.dimensions[dimension].choices.len();
    let choice = rng.random_range(0..=n_choices);
    if choice == n_choices {
        candidate.chosen.remove(&dimension);
    } else {
        candidate.chosen.insert(dimension, choice);
    }
}
