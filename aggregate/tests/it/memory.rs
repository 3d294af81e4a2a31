//! Files in memory and open files give the bits of files on a disk.

use std::collections::BTreeMap;

use aggregate::{
    Options, Reducer, Rules, TensorData, TensorRef, Tolerance, Update, WeightFile, aggregate,
    aggregate_in_memory, merge_slices, weight_file,
};
use proptest::prelude::*;

use crate::support::{Folder, keep_going, with};

/// The bytes of a small model of two dtypes.
fn tensors<'a>(narrow: &'a [f32], wide: &'a [f64]) -> [TensorRef<'a>; 2] {
    [
        TensorRef { name: "a", shape: &[9], data: TensorData::F32(narrow) },
        TensorRef { name: "b", shape: &[3], data: TensorData::F64(wide) },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Two rounds of every rule with a server step that remembers: updates, base, state and results
    /// on a disk, and all of it in memory.
    #[test]
    fn memory_has_the_bits_of_files(seed in any::<u32>(), bucket in prop::option::of(1..3usize)) {
        for name in Reducer::NAMES {
            let folder = Folder::new();
            let reduce: Reducer = name.parse().unwrap();
            let n = if name == "slerp" { 2 } else { 7 };
            let rules = Rules {
                reduce,
                bucket,
                server: "sgd:lr=0.5,momentum=0.9".parse().unwrap(),
                tolerance: Tolerance::Strict,
                ..Rules::default()
            };
            let rules = if rules.validate().is_ok() { rules } else { Rules { bucket: None, ..rules } };
            let save = |name: &str, seed: u64| {
                let narrow = testkit::sequence(seed, 9);
                let wide: Vec<f64> =
                    testkit::sequence(seed + 1, 3).iter().map(|&v| f64::from(v) / 3.0).collect();
                let path = folder.save(name, &tensors(&narrow, &wide));
                (path.clone(), weight_file(path, &tensors(&narrow, &wide), &BTreeMap::new()).unwrap())
            };
            let seed = u64::from(seed) << 8;
            let (out, mut model) = save("out", seed + 99);
            let mut state: Option<WeightFile> = None;
            for round in 0..2 {
                let files: Vec<_> =
                    (0..n).map(|i| save(&format!("n{i}"), seed + 7 * round + i)).collect();
                let claims = |i: usize, update: Update| Update {
                    node: Some(format!("n{i}")),
                    loss: Some(1.0 + i as f64 / 3.0),
                    steps: 1.0 + i as f64,
                    ..update
                };
                let paths: Vec<Update> =
                    files.iter().enumerate().map(|(i, f)| claims(i, Update::new(&f.0, 1.0))).collect();
                let memory: Vec<Update> = files
                    .iter()
                    .enumerate()
                    .map(|(i, f)| claims(i, Update::of_file(f.1.clone(), 1.0)))
                    .collect();
                let at = folder.path("state");
                let options = Options {
                    rules: rules.clone(),
                    base: Some(out.clone()),
                    state_in: Some(at.clone()).filter(|_| round > 0),
                    state_out: Some(at),
                    ..Options::default()
                };
                let open = std::iter::once(model).chain(state.take()).collect();
                let in_memory = Options { open, ..options.clone() };
                let merged =
                    aggregate_in_memory(&memory, &in_memory, &out, &|_| Ok(BTreeMap::new())).unwrap();
                // The disk still has what memory started from.
                let report = aggregate(&paths, &options, &out, &|_| Ok(BTreeMap::new())).unwrap();
                prop_assert_eq!(&merged.report.out_hash, &report.out_hash, "{}", name);
                prop_assert_eq!(&merged.report.summary, &report.summary);
                let kept = merged.state.as_ref().unwrap().content_hash().unwrap();
                prop_assert_eq!(kept, aggregate::hash_file(folder.path("state")).unwrap());
                (model, state) = (merged.model, merged.state);
            }
        }
    }
}

#[test]
fn slices_are_models() {
    let rows: Vec<Vec<f32>> = (0..7).map(|i| testkit::sequence(i, 40)).collect();
    let models: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let base = testkit::sequence(99, 40);
    let folder = Folder::new();
    for name in Reducer::NAMES.into_iter().filter(|&name| name != "q-fedavg") {
        let reducer: Reducer = name.parse().unwrap();
        let n = if name == "slerp" { 2 } else { 7 };
        let weights: Vec<f64> = (1..=n).map(|i| i as f64).collect();
        let found = merge_slices(&models[..n], &weights, Some(&base), &reducer).unwrap();
        let save = |i: usize| folder.save_f32(&format!("{i}"), &rows[i]);
        let updates: Vec<Update> = (0..n).map(|i| Update::new(save(i), weights[i])).collect();
        let options = Options { base: Some(folder.save_f32("base", &base)), ..keep_going() };
        let options = with(&options, |r| {
            r.reduce = reducer;
            r.max_deviation = aggregate::Limit::OFF;
        });
        folder.merge(&updates, &options).unwrap();
        let file = WeightFile::open(folder.path("out")).unwrap();
        testkit::assert_same_bits(name, &found, &file.read_f32("w").unwrap());
    }
    let error = |models: &[&[f32]], weights: &[f64], rule: &str| {
        merge_slices(models, weights, None, &rule.parse().unwrap()).unwrap_err().to_string()
    };
    assert!(error(&models, &[1.0], "mean").contains("1 weights for 7 models"));
    assert!(error(&[], &[], "mean").contains("no updates"));
    assert!(error(&models, &[1.0; 7], "ties").contains("ties moves a base file"));
    assert!(
        error(&[&[1.0], &[f32::NAN]], &[1.0; 2], "mean")
            .contains("model 1: tensor \"w\" holds NaN")
    );
    let base = Some(&base[..]);
    let text = merge_slices(&models, &[1.0; 7], base, &"q-fedavg".parse().unwrap()).unwrap_err();
    assert!(text.to_string().contains("does not state its loss"), "{text}");
}

/// What was opened is merged, whatever has its name by then.
#[test]
fn an_open_file_is_the_file_that_is_merged() {
    let folder = Folder::new();
    let opened = WeightFile::open(folder.save_f32("a", &[1.0])).unwrap();
    let mut closed = opened.clone();
    closed.close();
    folder.save_f32("a", &[5.0]);
    let b = Update::new(folder.save_f32("b", &[3.0]), 1.0);
    folder.merge(&[Update::of_file(opened, 1.0), b.clone()], &keep_going()).unwrap();
    #[cfg(unix)]
    assert_eq!(folder.merged(), [2.0]);
    // Without a handle another file under its name is noticed.
    let one = with(&keep_going(), |r| r.quorum = aggregate::Quorum::AtLeast(1));
    let report = folder.merge(&[Update::of_file(closed, 1.0), b], &one).unwrap();
    assert_eq!(report.summary.rejected[0].reason, aggregate::Reason::Changed);
    // And bytes that are no file are refused as on a disk.
    let error = WeightFile::of_bytes("x", &b"garbage!"[..]).unwrap_err().to_string();
    assert!(error.contains("x is not a valid safetensors file"), "{error}");
}
