//! Where blocks begin and end does not show; files that change while they are merged.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Dtype, Rules, ServerStep, TensorData, TensorRef, write_file};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Where the blocks begin and end does not show, in the model or in the state.
    #[test]
    fn block_edges_do_not_show(
        row_bytes in 1..40usize,
        n_elements in 0..20usize,
        n_files in 1..4u64,
        momentum in prop::sample::select(vec![0.0f32, 0.9]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let save = |name: String, seed| {
            let floats = testkit::sequence(seed, n_elements);
            let wide: Vec<f64> = floats.iter().map(|&v| f64::from(v) / 3.0).collect();
            let counts: Vec<i64> = (0..n_elements).map(|i| i64::try_from(i).unwrap() * 1_000_003).collect();
            let flags: Vec<u8> = (0..n_elements).map(|i| (i % 2) as u8).collect();
            let shape = &[n_elements];
            let data = [
                ("a", TensorData::Raw { dtype: Dtype::BOOL, bytes: &flags }),
                ("b", TensorData::F32(&floats)),
                ("c", TensorData::F64(&wide)),
                ("d", TensorData::I64(&counts)),
            ];
            let tensors = data.map(|(name, data)| TensorRef { name, shape, data });
            write_file(path(&name), &tensors, &BTreeMap::new()).unwrap();
            Update::new(path(&name), seed as f64)
        };
        let base = save("base".into(), 99).path;
        let updates: Vec<_> = (1..=n_files).map(|seed| save(seed.to_string(), seed)).collect();

        let mut outputs = Vec::new();
        for row_bytes in [Some(row_bytes), None] {
            // Two rounds, the second with the state of the first.
            let mut base = base.clone();
            for round in 0..2 {
                let options = Options {
                    base: Some(base),
                    rules: Rules {
                        server: ServerStep::Sgd { lr: 0.5, momentum, nesterov: false },
                        ..Rules::default()
                    },
                    state_in: Some(path("state")).filter(|_| round > 0),
                    state_out: Some(path("state")),
                    ..Options::default()
                };
                let out = path(&format!("out{round}"));
                let probe = Probe { row_bytes, admitted: None };
                merge(&updates, &options, (&out, false), &|_| Ok(BTreeMap::new()), &probe).unwrap();
                outputs.push(std::fs::read(&out).unwrap());
                outputs.push(std::fs::read(path("state")).unwrap_or_default());
                base = out;
            }
        }
        let (small, large) = outputs.split_at(4);
        prop_assert_eq!(small, large);
    }
}

/// A folder with updates of one tensor each.
fn updates(n: usize) -> (tempfile::TempDir, Vec<Update>) {
    let folder = tempfile::tempdir().unwrap();
    let save = |i: usize| {
        let path = folder.path().join(format!("n{i}"));
        let tensor = TensorRef { name: "w", shape: &[2], data: TensorData::F32(&[i as f32, 1.0]) };
        write_file(&path, &[tensor], &BTreeMap::new()).unwrap();
        Update::new(path, 1.0)
    };
    let updates = (0..n).map(save).collect();
    (folder, updates)
}

/// Merges, and does something in between; hash of the output, and what was rejected.
fn merge_with(
    folder: &tempfile::TempDir,
    updates: &[Update],
    between: &dyn Fn(),
) -> (String, Vec<crate::Rejected>) {
    let rules = Rules { tolerance: crate::Tolerance::KeepGoing, ..Rules::default() };
    let options = Options { rules, ..Options::default() };
    let probe = Probe { row_bytes: None, admitted: Some(between) };
    let out = folder.path().join("out");
    let metadata = |_: &crate::Summary| Ok(BTreeMap::new());
    let (report, _) = merge(updates, &options, (&out, false), &metadata, &probe).unwrap();
    (report.out_hash, report.summary.rejected)
}

/// A file that is read while it is open stays whole; of more files than stay open, each read needs
/// the name.
#[test]
#[cfg(unix)]
fn an_update_that_vanishes_is_left_out_if_it_is_still_needed() {
    for (n, needed) in [(3, false), (200, true)] {
        let (folder, updates) = updates(n);
        let others = [&updates[..1], &updates[2..]].concat();
        let (without, _) = merge_with(&folder, &others, &|| {});
        let (whole, _) = merge_with(&folder, &updates, &|| {});
        let vanish = || {
            let _ = std::fs::remove_file(&updates[1].path);
        };
        let (hash, rejected) = merge_with(&folder, &updates, &vanish);
        assert_eq!(hash, if needed { without } else { whole });
        assert_eq!(rejected.len(), usize::from(needed));
    }
}

/// A file that is written again while it is read is left out, and the others go on.
#[test]
fn an_update_that_changes_is_left_out() {
    for n in [4, 200] {
        let (folder, updates) = updates(n);
        let others = [&updates[..1], &updates[2..]].concat();
        let (without, _) = merge_with(&folder, &others, &|| {});
        let change = || {
            // In its place, as a node does that does not write and rename.
            let file = std::fs::File::options().write(true).open(&updates[1].path).unwrap();
            file.set_len(7).unwrap();
        };
        let (hash, rejected) = merge_with(&folder, &updates, &change);
        assert_eq!(hash, without);
        assert_eq!((&rejected[0].path, &rejected[0].reason), (&updates[1].path, &Reason::Changed));
    }
}

/// Another file that takes the name between the checks and the sum is noticed, even of the same
/// length and time.
#[test]
#[cfg(unix)]
fn an_update_that_is_replaced_is_noticed() {
    for (n, is_open) in [(4, true), (200, false)] {
        let (folder, updates) = updates(n);
        let (whole, _) = merge_with(&folder, &updates, &|| {});
        let others = [&updates[..1], &updates[2..]].concat();
        let (without, _) = merge_with(&folder, &others, &|| {});
        let replace = || {
            let path = &updates[1].path;
            let time = std::fs::metadata(path).unwrap().modified().unwrap();
            let tensor = TensorRef { name: "w", shape: &[2], data: TensorData::F32(&[9.0, 9.0]) };
            write_file(path, &[tensor], &BTreeMap::new()).unwrap();
            std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        let (hash, rejected) = merge_with(&folder, &updates, &replace);
        // What is open is what was checked, whatever has its name.
        assert_eq!(hash, if is_open { whole } else { without });
        assert_eq!(rejected.len(), usize::from(!is_open));
    }
}
