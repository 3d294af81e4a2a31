//! Which updates count, and that their order never matters.

use std::path::PathBuf;

use aggregate::{Dtype, Error, Limit, Options, Reducer, Spent, Tolerance, Update};

use crate::support::{Folder, f32_tensor, keep_going, raw_tensor, reasons, with};

/// Merges the updates in both directions, and returns file name and reason of every rejection.
pub(crate) fn rejections(
    folder: &Folder,
    updates: &[Update],
    options: &Options,
) -> Vec<(String, String)> {
    let merge = |updates: &[Update]| {
        let mut report = folder.merge(updates, options).unwrap();
        // Times, and how far the others were when a bad value was found, are those of the threads.
        (report.spent, report.bytes_read) = (Spent::default(), 0);
        report
    };
    let forth = merge(updates);
    let reversed: Vec<_> = updates.iter().rev().cloned().collect();
    assert_eq!(forth, merge(&reversed));
    assert_eq!(forth.summary.admitted.len() + forth.summary.rejected.len(), updates.len());
    reasons(&forth.summary.rejected)
}

pub(crate) fn message(result: Result<aggregate::Report, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn every_kind_of_bad_update_is_left_out_with_its_reason() {
    let folder = Folder::new();
    let w = |values| f32_tensor("w", &[2], values);
    let flag = |byte| raw_tensor("flag", &[1], Dtype::BOOL, byte);
    let base = folder.save("base", &[w(&[0.0, 0.0]), flag(&[0])]);
    let good = folder.save("good", &[w(&[1.0, 2.0]), flag(&[1])]);
    let paths = [
        folder.save("a-extra", &[w(&[9.0, 9.0]), flag(&[1]), f32_tensor("z", &[], &[1.0])]),
        folder.save("b-missing", &[w(&[9.0, 9.0])]),
        folder.save("c-shape", &[f32_tensor("w", &[1, 2], &[9.0, 9.0]), flag(&[1])]),
        folder.save("d-dtype", &[raw_tensor("w", &[2], Dtype::BF16, &[0; 4]), flag(&[1])]),
        folder.save("e-nan", &[w(&[1.0, f32::NAN]), flag(&[1])]),
        folder.save("f-infinite", &[w(&[f32::NEG_INFINITY, 1.0]), flag(&[1])]),
        folder.save("g-flag", &[w(&[1.0, 2.0]), flag(&[2])]),
        folder.save("h-f8", &[raw_tensor("w", &[2], Dtype::F8_E4M3, &[0; 2]), flag(&[1])]),
        folder.save_bytes("i-garbage", b"not weights"),
        folder.save_bytes("j-empty", b""),
        folder.path("k-absent"),
    ];
    let mut updates: Vec<_> = paths.iter().map(|path| Update::new(path, 1.0)).collect();
    updates.push(Update::new(&good, 1.0));
    let other = folder.save("l-base", &[w(&[5.0, 5.0]), flag(&[1])]);
    updates.push(Update { base: Some("0123".into()), ..Update::new(other, 1.0) });

    let options = Options { base: Some(base.clone()), ..keep_going() };
    let found = rejections(&folder, &updates, &options);
    let base_hash = aggregate::hash_file(&base).unwrap();
    let expected = [
        ("a-extra", "tensor \"z\" is not expected"),
        ("b-missing", "tensor \"flag\" is missing"),
        ("c-shape", "tensor \"w\" has shape [1, 2], expected [2]"),
        ("d-dtype", "tensor \"w\" has dtype BF16, expected F32"),
        ("e-nan", "tensor \"w\" holds NaN at element 1"),
        ("f-infinite", "tensor \"w\" holds -inf at element 0"),
        ("g-flag", "tensor \"flag\" holds the byte 2, not a boolean, at element 0"),
        ("h-f8", "tensor \"w\" has dtype F8_E4M3, expected F32"),
        ("i-garbage", "not a valid safetensors file: it claims a header of "),
        ("j-empty", "not a valid safetensors file: the file is empty"),
        ("k-absent", "cannot be read: "),
        ("l-base", &format!("started from another base: hash 0123, expected {base_hash}")),
    ];
    assert_eq!(found.len(), expected.len());
    for ((name, reason), (expected_name, expected_reason)) in found.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!(reason.starts_with(expected_reason), "{name}: {reason}");
    }
    assert_eq!(folder.merged(), [1.0, 2.0]);

    // Where rejections fail the merge, the same list is an error that names them all, and nothing is written.
    std::fs::remove_file(folder.path("out")).unwrap();
    let text =
        message(folder.merge(&updates, &with(&options, |r| r.tolerance = Tolerance::Strict)));
    assert!(text.starts_with("12 of 13 updates rejected, and nothing was merged:\n"), "{text}");
    assert!(text.contains("e-nan: tensor \"w\" holds NaN at element 1"), "{text}");
    // And without the good one, there is nothing to merge.
    updates.retain(|update| update.path != good);
    let text = message(folder.merge(&updates, &options));
    assert!(text.starts_with("none of the 12 updates can be merged:\n"), "{text}");
    assert!(!folder.path("out").exists());
    assert!(folder.list().iter().all(|name| !name.contains("incomplete")));
}

#[test]
fn without_a_base_the_majority_decides() {
    let folder = Folder::new();
    let small = |name: &str, v: f32| Update::new(folder.save_f32(name, &[v]), 1.0);
    let large = |name: &str, v: f32| Update::new(folder.save_f32(name, &[v, v]), 1.0);
    let found =
        rejections(&folder, &[large("a", 1.0), small("b", 3.0), small("c", 5.0)], &keep_going());
    assert_eq!(found, [("a".into(), "tensor \"w\" has shape [2], expected [1]".into())]);
    assert_eq!(folder.merged(), [4.0]);

    // A tie goes to the file with the lowest fingerprint, that of small files being their hash.
    let pair = [large("a", 1.0), small("b", 3.0)];
    let found = rejections(&folder, &pair, &keep_going());
    let hash = |name: &str| aggregate::hash_file(folder.path(name)).unwrap();
    assert_eq!(found[0].0, if hash("a") < hash("b") { "b" } else { "a" });

    // Weight 0 has no vote.
    let muted = [Update { weight: 0.0, ..large("a", 1.0) }, small("b", 3.0)];
    assert_eq!(rejections(&folder, &muted, &keep_going())[0].0, "a");

    // One node has one vote, however many files it sends.
    let updates: Vec<_> = (0..5)
        .map(|i| Update { node: Some("loud".into()), ..large(&format!("loud{i}"), i as f32) })
        .chain([small("b", 3.0), small("c", 5.0)])
        .collect();
    assert_eq!(rejections(&folder, &updates, &keep_going()).len(), 5);
    assert_eq!(folder.merged(), [4.0]);
}

#[test]
fn stated_bases_must_agree() {
    let folder = Folder::new();
    let update = |name: &str, v: f32, base: Option<&str>| Update {
        base: base.map(str::to_owned),
        ..Update::new(folder.save_f32(name, &[v]), 1.0)
    };
    let updates = [
        update("a", 1.0, Some("old")),
        update("b", 2.0, Some("new")),
        update("c", 4.0, Some("new")),
        update("d", 6.0, None),
    ];
    let found = rejections(&folder, &updates, &keep_going());
    let reason = "started from another base: hash old, expected new";
    assert_eq!(found, [("a".into(), reason.into())]);
    assert_eq!(folder.merged(), [4.0]);
    let report = folder.merge(&updates, &keep_going()).unwrap();
    assert_eq!(report.summary.base_hash.as_deref(), Some("new"));
}

#[test]
fn the_operators_mistakes_are_errors() {
    let folder = Folder::new();
    let (a, b) = (folder.save_f32("a", &[1.0]), folder.save_f32("b", &[3.0]));
    let merge = |updates: &[Update]| message(folder.merge(updates, &keep_going()));
    assert!(merge(&[]).contains("no updates to merge"));
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        let text = merge(&[Update::new(&a, 1.0), Update::new(&b, weight)]);
        assert!(text.contains(&format!("b is {weight}, expected a finite number")), "{text}");
    }
    assert!(merge(&[Update::new(&a, 0.0), Update::new(&b, -0.0)]).contains("of all 2 updates"));
    let text = merge(&[Update::new(&a, 1.0), Update::new(&a, 1.0)]);
    assert!(text.contains("are the same file; name each update once"), "{text}");
    let spelled = folder.path(".").join("a");
    assert!(merge(&[Update::new(&a, 1.0), Update::new(spelled, 1.0)]).contains("the same file"));
    let missing = Options { base: Some(folder.path("none")), ..keep_going() };
    let text = message(folder.merge(&[Update::new(&a, 1.0)], &missing));
    assert!(text.contains("cannot read") && text.contains("none"), "{text}");
    // Only updates of weight 0 are left.
    let broken = folder.save_f32("broken", &[f32::NAN]);
    assert!(merge(&[Update::new(&a, 0.0), Update::new(broken, 1.0)]).contains("of all 1 updates"));
    assert!(!folder.path("out").exists());
}

#[test]
fn the_output_may_replace_the_base() {
    let folder = Folder::new();
    let a = folder.save_f32("a", &[1.0]);
    let base = folder.save_f32("out", &[0.0]);
    let base_hash = aggregate::hash_file(&base).unwrap();
    let update = Update { base: Some(base_hash.clone()), ..Update::new(a, 2.0) };
    let options = Options { base: Some(base), ..keep_going() };
    let report = folder.merge(&[update], &options).unwrap();
    assert_eq!(folder.merged(), [1.0]);
    assert_eq!(report.summary.base_hash, Some(base_hash));
    assert_eq!(report.summary.admitted[0].share.to_bits(), 1f64.to_bits());
    assert_eq!(report.out_hash, aggregate::hash_file(folder.path("out")).unwrap());
    assert_eq!(folder.list(), ["a", "out"]);
}

/// Also where the other values are equal, or the rule sorts them before anything is checked.
#[test]
fn every_rule_finds_values_that_are_not_finite() {
    // The rule for two has none to compare with.
    let rules: Vec<&str> = Reducer::NAMES.into_iter().filter(|&name| name != "slerp").collect();
    for (rule, dtype, value) in rules
        .iter()
        .flat_map(|rule| [(rule, Dtype::F32), (rule, Dtype::F64)])
        .flat_map(|(rule, dtype)| [f64::NAN, f64::INFINITY].map(|value| (rule, dtype, value)))
    {
        let folder = Folder::new();
        let save = |name: &str, values: [f64; 2]| {
            let bytes: Vec<u8> = match dtype {
                Dtype::F32 => values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            };
            folder.save_raw(name, dtype, &bytes)
        };
        let base = save("base", [0.0, 0.0]);
        let update = |path: PathBuf| Update { loss: Some(1.0), ..Update::new(path, 1.0) };
        let mut updates: Vec<_> =
            (0..3).map(|i| update(save(&format!("n{i}"), [1.0, f64::from(i)]))).collect();
        updates.push(update(save("bad", [value, 1.0])));
        let options = Options { base: Some(base), ..keep_going() };
        let options = with(&options, |r| {
            r.reduce = rule.parse().unwrap();
            r.max_deviation = Limit::OFF;
        });
        let found = rejections(&folder, &updates, &options);
        assert_eq!(found.len(), 1, "{rule} {dtype} {value}: {found:?}");
        assert_eq!(found[0].0, "bad", "{rule} {dtype} {value}");
        if matches!(*rule, "median" | "trimmed-mean") {
            let options = with(&options, |r| r.bucket = Some(2));
            assert_eq!(rejections(&folder, &updates, &options).len(), 1, "{rule} of buckets");
        }
    }
}

#[test]
fn of_two_updates_the_one_that_is_not_finite_is_found() {
    for n_good in [1, 3] {
        let folder = Folder::new();
        let save = |name: &str, value: f64| {
            Update::new(folder.save_raw(name, Dtype::F64, &value.to_le_bytes()), 1.0)
        };
        let mut updates: Vec<_> = (0..n_good).map(|i| save(&format!("n{i}"), 1.0)).collect();
        updates.push(save("bad", f64::NAN));
        let found = rejections(&folder, &updates, &keep_going());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(folder.merged(), [1.0]);
    }
}
