//! Files of other programs: every dtype is shown and carried, and readers take what is merged.

use std::collections::BTreeMap;
use std::path::Path;

use aggregate::{Dtype, TensorData, TensorRef, WeightFile, write_file};

use crate::support::{fails, json, ok};

/// A file with one f32 tensor, tensors of bytes, and metadata.
fn save(folder: &Path, name: &str, raw: &[(&str, Dtype, &[usize], &[u8])], meta: &[(&str, &str)]) {
    let w = TensorRef { name: "w", shape: &[2], data: TensorData::F32(&[1.0, 3.0]) };
    let raw = raw.iter().map(|&(name, dtype, shape, bytes)| {
        let data = TensorData::Raw { dtype, bytes };
        TensorRef { name, shape, data }
    });
    let tensors: Vec<TensorRef<'_>> = std::iter::once(w).chain(raw).collect();
    let meta = meta.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    write_file(folder.join(name), &tensors, &meta).expect("written");
}

/// The metadata of a merge of files with that metadata, but for what the merge says of itself.
fn merged(inputs: &[&[(&str, &str)]], base: Option<&[(&str, &str)]>) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("n{i}")).collect();
    let mut args = vec!["aggregate", "--uniform", "--out", "o"];
    for (name, meta) in names.iter().zip(inputs) {
        save(folder.path(), name, &[], meta);
        args.push(name);
    }
    if let Some(base) = base {
        save(folder.path(), "base", &[], base);
        args.extend(["--base", "base"]);
    }
    ok(folder.path(), &args);
    // What was merged is merged again.
    ok(folder.path(), &["aggregate", "o", "--uniform", "--out", "again"]);
    let metadata = |name| {
        let mut all = WeightFile::open(folder.path().join(name)).expect("valid").metadata().clone();
        assert!(all.remove("edgectl.merge").is_some());
        all
    };
    assert_eq!(metadata("o"), metadata("again"));
    metadata("o")
}

#[test]
fn what_readers_take_they_take_merged() {
    let pt = &[("format", "pt")][..];
    let none = &[][..];
    for (what, inputs, base, expected) in [
        ("all have none", &[none, none][..], None, pt),
        ("one has a format", &[none, &[("format", "np")]], None, &[("format", "np")]),
        ("most have", &[pt, pt, &[("format", "mlx")]], None, pt),
        ("none has a format", &[&[("a", "1")], &[("a", "1")]], None, &[("a", "1")]),
        ("some have nothing", &[&[("a", "1")], none, none], None, pt),
        ("keys of most", &[&[("a", "1"), ("b", "2")], &[("a", "1")], none], None, {
            &[("a", "1"), ("format", "pt")]
        }),
        ("keys of half", &[&[("a", "1"), ("format", "pt")], &[("format", "pt")]], None, pt),
        ("the base decides", &[pt, pt], Some(&[("format", "np"), ("c", "3")][..]), {
            &[("c", "3"), ("format", "np")]
        }),
        ("a base with none", &[pt, none], Some(none), pt),
    ] {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(merged(inputs, base), expected, "{what}");
    }
}

#[test]
fn every_dtype_of_the_format_is_shown_and_carried() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let read = [
        Dtype::BOOL,
        Dtype::U8,
        Dtype::I8,
        Dtype::I16,
        Dtype::U16,
        Dtype::F16,
        Dtype::BF16,
        Dtype::I32,
        Dtype::U32,
        Dtype::F32,
        Dtype::F64,
        Dtype::I64,
        Dtype::U64,
    ];
    let opaque = [
        Dtype::F4,
        Dtype::F6_E2M3,
        Dtype::F6_E3M2,
        Dtype::F8_E5M2,
        Dtype::F8_E4M3,
        Dtype::F8_E8M0,
        Dtype::F8_E4M3FNUZ,
        Dtype::F8_E5M2FNUZ,
        Dtype::C64,
    ];
    for dtype in read.into_iter().chain(opaque) {
        let ones = vec![1; dtype.bitsize()];
        for name in ["a", "b"] {
            save(at, name, &[("q", dtype, &[2, 4], &ones), ("empty", dtype, &[0], &[])], &[]);
        }
        ok(at, &["aggregate", "a", "b", "--uniform", "--out", "o"]);
        for name in ["a", "o"] {
            let report = json(at, &["inspect", name]);
            let tensors = report["tensors"].as_array().expect("a list");
            let q = tensors.iter().find(|t| t["name"] == "q").expect("it is shown");
            assert_eq!(q["dtype"], dtype.to_string());
            assert_eq!(q["shape"], serde_json::json!([2, 4]));
            assert_eq!(q["mean"].is_number(), read.contains(&dtype), "{dtype}");
            assert_eq!(q["not_finite"].is_null(), opaque.contains(&dtype), "{dtype}");
            assert!(ok(at, &["inspect", name]).contains(&dtype.to_string()), "{dtype}");
        }
    }
}

#[test]
fn counters_take_the_largest_and_the_rest_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let names = ["n0", "n1", "n2"];
    for (name, n) in names.into_iter().zip([120_i64, 80, 95]) {
        let bytes = n.to_le_bytes();
        save(at, name, &[("bn.num_batches_tracked", Dtype::I64, &[], &bytes)], &[]);
    }
    let args = |more: &[&'static str]| {
        [&["aggregate", "n0", "n1", "n2", "--uniform", "--out", "o"][..], more].concat()
    };
    let value = |tensor: &str| {
        let mut value = f64::NAN;
        let file = WeightFile::open(at.join("o")).expect("valid");
        file.visit_f64(tensor, |values| value = values[0]).expect("read");
        value
    };
    let is = |found: f64, expected: f64| (found - expected).abs() < 0.5;
    ok(at, &args(&["--strict"]));
    assert!(is(value("bn.num_batches_tracked"), 120.0));

    for (name, n) in names.into_iter().zip([7_i64, 8, 9]) {
        save(at, name, &[("ids", Dtype::I64, &[1], &n.to_le_bytes())], &[]);
    }
    let says = ["\"ids\" holds ", "no value has a majority", "carry"];
    fails(at, &args(&["--strict"]), &says);
    ok(at, &args(&["--strict", "--carry", "ids=max"]));
    assert!(is(value("ids"), 9.0));
    fails(at, &args(&["--carry", "ids=max,x=y=max"]), &["x=y=max", "no tensor has such a name"]);
    fails(at, &args(&["--carry", "ids=base"]), &["base"]);
    ok(at, &args(&["--strict", "--carry", "ids=base", "--base", "n1"]));
    assert!(is(value("ids"), 8.0));
}
