//! A round of edgectl: a damaged update among those of three nodes.

use std::fs;
use std::path::{Path, PathBuf};

use aggregate::Rules;
use edgectl::checkpoint::{Checkpoint, Provenance};
use edgectl::federation::{Merge, merge};
use edgectl_fuzz::Campaign;

use crate::merge::check_output;

/// The updates of three nodes from one base, which is the first of the files.
fn nodes(folder: &Path) -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/checkpoint");
    let base = folder.join("g.safetensors");
    fs::copy(corpus.join("g.safetensors"), &base).expect("the scratch folder has room");
    let hash = aggregate::hash_file(&base).expect("readable");
    let global = Checkpoint::read(&base).expect("sound");
    let update = |i: u8| {
        let mut update = global.clone();
        update.params.iter_mut().for_each(|value| *value += 0.01 * f32::from(i));
        update.meta.provenance = Provenance {
            node: Some(format!("node_{i}")),
            base: Some(hash.clone()),
            examples: 20,
            local_steps: 5,
            ..Provenance::default()
        };
        let path = folder.join(format!("{i}.safetensors"));
        update.write(&path).expect("written");
        path
    };
    std::iter::once(base.clone()).chain((1..=3).map(update)).collect()
}

/// Merges with whatever the fourth file is; whether it was taken.
fn round(nodes: &[PathBuf], folder: &Path, choice: u64) -> bool {
    let (base, updates) = nodes.split_first().expect("a base");
    let bad = folder.join("bad.safetensors");
    let updates = [updates, &[bad]].concat();
    let reduce = ["mean", "median", "geometric-median", "nova"][choice as usize % 4];
    let rules = Rules { reduce: reduce.parse().expect("a reducer"), ..Rules::default() };
    let out = folder.join("out.safetensors");
    let merged = merge(&updates, &Merge::new(rules, Some(base), &out));
    let merged = merged.unwrap_or_else(|error| panic!("{reduce}: one update ended it: {error:#}"));
    assert!(merged.refused.len() <= 2, "{:?}", merged.refused);
    check_output(&out);
    fs::remove_file(&out).expect("it is there");
    merged.refused.is_empty()
}

#[test]
fn rounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let nodes = nodes(folder.path());
    Campaign::new("rounds", 3000)
        .damaged("bad.safetensors", "checkpoint")
        .run(|folder, choice| round(&nodes, folder, choice));
}
