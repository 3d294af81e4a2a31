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

/// What helped on other data, to begin with: names of dimensions with the number that is chosen, in
/// multiples of the job's where there is an `x`, or the word.
const KNOWN: [&[(&str, &str)]; 14] = [
    &[("epochs", "2x")],
    &[("epochs", "2x"), ("jitter", "0.1"), ("scale", "0.2")],
    &[("scaling", "robust-scale")],
    &[("positions", "rotary")],
    &[("positions", "sinusoidal"), ("epochs", "2x")],
    &[("epochs", "2x"), ("batch", "16"), ("jitter", "0.1"), ("scale", "0.2")],
    &[("scaling", "window-normalize")],
    &[("time_warp", "0.1"), ("crop", "0.1")],
    &[("patch_len", "2x")],
    &[("patch_len", "0.5x")],
    &[("scaling", "robust-scale"), ("epochs", "2x"), ("crop", "0.1")],
    &[("class_weights", "balanced")],
    &[("n_layers", "1"), ("dropout", "0.2")],
    &[("n_layers", "3"), ("lr", "0.5x")],
];

/// Those of [`KNOWN`] that can be chosen here.
pub(super) fn known_to_help(space: &Space) -> Vec<Candidate> {
    let chosen = |&(name, wanted): &(&str, &str)| {
        let number = space.dimensions.iter().position(|dimension| dimension.name == name)?;
        let dimension = &space.dimensions[number];
        let times = wanted.strip_suffix('x').and_then(|times| times.parse::<f64>().ok());
        let target = match times {
            Some(times) => Some(times * dimension.base.parse::<f64>().ok()?),
            None => wanted.parse().ok(),
        };
        let is = |shown: &str| match (target, shown.parse::<f64>()) {
            (Some(target), Ok(found)) => (found - target).abs() <= 1e-6 * target.abs(),
            _ => shown == wanted,
        };
        dimension.choices.iter().position(|choice| is(&choice.shown)).map(|choice| (number, choice))
    };
    let of =
        |recipe: &&[(&str, &str)]| Candidate { chosen: recipe.iter().filter_map(chosen).collect() };
    KNOWN.iter().map(of).filter(|candidate| !candidate.chosen.is_empty()).collect()
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::space::Facts;
    use super::*;
    use crate::job::Job;

    #[test]
    fn what_is_known_to_help_is_chosen_by_its_value() {
        let written = json!({ "window": { "len": 60 }, "train": { "epochs": 30, "batch": 16, "augment": { "jitter": 0.0, "scale": 0.0 } } });
        let base = Job::of_value(&written, None).expect("a job");
        let facts = Facts { channels: 2, window_len: 60, windows: 90, class_sizes: (10, 80) };
        let space = Space::of(&base, &written, facts);
        let shown: Vec<String> = known_to_help(&space).iter().map(|c| c.shown(&space)).collect();
        for expected in [
            "epochs 60",
            "epochs 60, jitter 0.1, scale 0.2",
            "patch_len 2",
            "class_weights balanced",
        ] {
            assert!(shown.iter().any(|s| s == expected), "{expected} in {shown:?}");
        }
        // A patch of half a step there is not, and the batch is that of the job.
        assert!(shown.iter().all(|s| !s.contains("batch") && s != "as the job is"), "{shown:?}");
    }
}
