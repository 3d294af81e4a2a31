//! Files of different float dtypes become one: what is merged in f64 is rounded once.

use std::collections::BTreeMap;

use aggregate::{
    Dtype, Error, FloatDtype, Options, Reducer, ServerStep, TensorRef, Update, WeightFile,
};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::support::{
    Folder, f32_tensor, from_node, keep_going, raw_tensor, reasons, rows_of_any_float, values, with,
};

/// Values that every float dtype holds exactly.
const SMALL: [f64; 4] = [1.5, -0.75, 0.0, 3.0];

/// Each value in that dtype, rounded once.
fn encoded(dtype: Dtype, values: &[f64]) -> Vec<u8> {
    let one = |&v: &f64| match dtype {
        // None of these values lies just above a tie, which this rounding would take for one.
        Dtype::F16 => f16::from_f64(v).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f64(v).to_le_bytes().to_vec(),
        Dtype::F32 => (v as f32).to_le_bytes().to_vec(),
        _ => v.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(one).collect()
}

fn to(dtype: FloatDtype) -> Options {
    Options { dtype: Some(dtype), ..keep_going() }
}

fn dtype_of_merged(folder: &Folder) -> Dtype {
    WeightFile::open(folder.path("out")).unwrap().tensor("w").unwrap().dtype
}

#[test]
fn every_mixture_gives_the_f64_mean_rounded_once() {
    let rows = [[0.1, -7.3, 2.0, 1e-3], [0.7, 5.5, -3.0, 2e-3], [0.25, 0.125, 9.0, -1e-3]];
    let weights = [1.0, 2.0, 4.0];
    for first in FloatDtype::ALL.map(Dtype::from) {
        for second in FloatDtype::ALL.map(Dtype::from) {
            for out in FloatDtype::ALL {
                let folder = Folder::new();
                let mut updates = Vec::new();
                for (i, row) in rows.iter().enumerate() {
                    let dtype = if i == 1 { second } else { first };
                    let path = folder.save_raw(&format!("n{i}"), dtype, &encoded(dtype, row));
                    updates.push(Update::new(path, weights[i]));
                }
                let read: Vec<Vec<f64>> = updates.iter().map(|u| values(&u.path, "w")).collect();
                folder.merge(&updates, &to(out)).unwrap();
                let mean = |j: usize| {
                    (0..3).map(|i| weights[i] * read[i][j]).sum::<f64>()
                        / weights.iter().sum::<f64>()
                };
                let expected: Vec<f64> = (0..4).map(mean).collect();
                let found = folder.merged();
                assert_eq!(dtype_of_merged(&folder), out.into());
                if out == FloatDtype::F64 {
                    for (found, expected) in found.iter().zip(&expected) {
                        assert!((found - expected).abs() <= 1e-15, "{found} {expected}");
                    }
                } else {
                    let bytes = folder.merged_bytes();
                    assert_eq!(bytes, encoded(out.into(), &expected), "{first} {second} {out}");
                }

                let forth = std::fs::read(folder.path("out")).unwrap();
                updates.reverse();
                folder.merge(&updates, &to(out)).unwrap();
                assert_eq!(forth, std::fs::read(folder.path("out")).unwrap());
            }
        }
    }
}

proptest! {
    /// Of any values, and for every rule that takes so many.
    #[test]
    fn the_dtype_that_files_have_changes_no_bit(
        (dtype, rows) in rows_of_any_float(6),
        rule in 0..Reducer::NAMES.len(),
    ) {
        let own = FloatDtype::ALL.into_iter().find(|d| Dtype::from(*d) == dtype).unwrap();
        let folder = Folder::new();
        let base = folder.save_raw("base", dtype, &vec![0; rows[0].len()]);
        let updates: Vec<Update> = rows.iter().enumerate().map(|(i, row)| {
            let path = folder.save_raw(&format!("n{i}"), dtype, row);
            Update { loss: Some(1.0), ..Update::new(path, 1.0 + i as f64) }
        }).collect();
        let options = with(&keep_going(), |rules| {
            rules.reduce = Reducer::NAMES[rule].parse().unwrap();
        });
        let options = Options { base: Some(base), ..options };
        let plain = folder.merge(&updates, &options).map(|_| std::fs::read(folder.path("out")).unwrap());
        let options = Options { dtype: Some(own), ..options };
        let asked = folder.merge(&updates, &options).map(|_| std::fs::read(folder.path("out")).unwrap());
        match (plain, asked) {
            (Ok(plain), Ok(asked)) => prop_assert_eq!(plain, asked),
            (plain, asked) => {
                let text = |r: Result<Vec<u8>, Error>| r.map_err(|e| e.to_string());
                prop_assert_eq!(text(plain), text(asked));
            }
        }
    }
}

#[test]
fn every_rule_takes_every_mixture_with_a_base_of_its_own() {
    for name in Reducer::NAMES {
        let n = if name == "slerp" { 2 } else { 7 };
        for out in FloatDtype::ALL {
            let folder = Folder::new();
            let base = folder.save_raw("base", Dtype::BF16, &encoded(Dtype::BF16, &[0.5; 4]));
            let mut updates = Vec::new();
            for i in 0..n {
                let dtype = Dtype::from(FloatDtype::ALL[i % 4]);
                let path = folder.save_raw(&format!("n{i}"), dtype, &encoded(dtype, &SMALL));
                updates.push(Update { loss: Some(1.0), ..Update::new(path, 1.0) });
            }
            let options = with(&to(out), |rules| rules.reduce = name.parse().unwrap());
            let options = Options { base: Some(base), ..options };
            let report = folder.merge(&updates, &options).unwrap();
            assert!(report.summary.rejected.is_empty(), "{name}");
            assert_eq!(dtype_of_merged(&folder), out.into(), "{name}");
            assert!(folder.merged().iter().all(|v| v.is_finite()), "{name}");
            if name == "mean" || name == "median" {
                assert_eq!(folder.merged_bytes(), encoded(out.into(), &SMALL), "{name} {out}");
            }
        }
    }
}

#[test]
fn what_stays_the_bases_is_rounded_too() {
    let folder = Folder::new();
    let kept = [0.1, 1e-3];
    let save = |name: &str, dtype, values: &[f64]| {
        let (w, k) = (encoded(dtype, values), encoded(dtype, &kept));
        let step = 7_i64.to_le_bytes();
        let tensors = [
            raw_tensor("w", &[4], dtype, &w),
            raw_tensor("kept", &[2], dtype, &k),
            raw_tensor("step", &[], Dtype::I64, &step),
        ];
        folder.save(name, &tensors)
    };
    let base = save("base", Dtype::F64, &SMALL);
    let updates = [save("a", Dtype::F32, &SMALL), save("b", Dtype::F16, &SMALL)];
    let updates = updates.map(|path| Update::new(path, 1.0));
    let keep = |options: &Options| with(options, |rules| rules.keep_local = vec!["kept".into()]);
    let options = Options { base: Some(base), ..keep(&to(FloatDtype::F32)) };
    folder.merge(&updates, &options).unwrap();
    assert_eq!(folder.merged_bytes_of("kept"), encoded(Dtype::F32, &kept));
    assert_eq!(folder.merged_bytes_of("step"), 7_i64.to_le_bytes());

    // Only in the base there is what f16 does not hold.
    let big = folder.save("big", &[f32_tensor("w", &[1], &[1e6]), f32_tensor("x", &[1], &[0.0])]);
    let part = folder.save("part", &[f32_tensor("x", &[1], &[1.0])]);
    let updates = [Update { partial: true, ..Update::new(part, 1.0) }];
    let options = Options { base: Some(big), ..to(FloatDtype::F16) };
    let error = folder.merge(&updates, &options).unwrap_err().to_string();
    assert!(error.contains("out of the range of F16") && error.contains("\"w\""), "{error}");
}

#[test]
fn the_state_of_the_server_step_keeps_its_dtype() {
    let mut outputs = Vec::new();
    for (dtype, out) in [(Dtype::F16, FloatDtype::F16), (Dtype::F32, FloatDtype::F16)] {
        let folder = Folder::new();
        let mut base = folder.save_raw("base", Dtype::F16, &encoded(Dtype::F16, &SMALL));
        let update = folder.save_raw("a", dtype, &encoded(dtype, &[1.0, 2.0, -1.0, 0.5]));
        for round in 0..3 {
            let options = with(&to(out), |rules| {
                rules.server = ServerStep::Adam {
                    lr: 0.1,
                    beta1: 0.9,
                    beta2: 0.99,
                    tau: 1e-3,
                    bias_correction: false,
                };
            });
            let state = folder.path("state");
            let options = Options {
                base: Some(base.clone()),
                state_in: Some(state.clone()),
                state_out: Some(state),
                ..options
            };
            let next = folder.path(&format!("g{round}"));
            aggregate::aggregate(&[Update::new(&update, 1.0)], &options, &next, &|_| {
                Ok(BTreeMap::new())
            })
            .unwrap();
            base = next;
        }
        let state = WeightFile::open(folder.path("state")).unwrap();
        assert!(state.tensors().iter().all(|t| t.dtype == Dtype::F32));
        outputs.push(std::fs::read(&base).unwrap());
    }
    assert_eq!(outputs[0], outputs[1], "equal values of another dtype move alike");
}

#[test]
fn advice_stands_only_where_it_helps() {
    let folder = Folder::new();
    let save = |name: &str, dtype, n: usize| {
        let path = folder.save_raw(name, dtype, &encoded(dtype, &SMALL[..n]));
        from_node(name, &path, 1.0)
    };
    let merge = |updates: &[Update]| {
        reasons(&folder.merge(updates, &keep_going()).unwrap().summary.rejected)
    };
    let (a, b) = (save("a", Dtype::F32, 4), save("b", Dtype::F32, 4));
    let found = merge(&[a.clone(), b.clone(), save("c", Dtype::BF16, 4)]);
    assert!(found[0].1.contains("dtype BF16, expected F32; ") && found[0].1.contains("dtype: f16"));
    let bytes = [0; 8];
    let integers = folder.save("i", &[raw_tensor("w", &[4], Dtype::I16, &bytes)]);
    let found = merge(&[a.clone(), b.clone(), Update::new(integers, 1.0)]);
    assert!(found[0].1.ends_with("dtype I16, expected F32"), "{found:?}");
    let found = merge(&[a.clone(), b.clone(), save("d", Dtype::F16, 3)]);
    assert!(!found[0].1.contains("dtype: f16"), "the shapes differ too: {found:?}");

    // With a base it is said all the same; and a result of one dtype takes what integers are not.
    let base = Options { base: Some(a.path.clone()), ..keep_going() };
    let c = save("c", Dtype::BF16, 4);
    let report = folder.merge(&[b.clone(), c.clone()], &base).unwrap();
    assert!(reasons(&report.summary.rejected)[0].1.contains("dtype: f16"));
    let asked = Options { dtype: Some(FloatDtype::F64), ..base };
    let integers = Update::new(folder.path("i"), 1.0);
    let report = folder.merge(&[b, c, integers], &asked).unwrap();
    assert_eq!(reasons(&report.summary.rejected).len(), 1);
}

#[test]
fn what_is_not_finite_or_leaves_the_range_is_still_refused() {
    let folder = Folder::new();
    let good = folder.save_raw("a", Dtype::F64, &encoded(Dtype::F64, &[1.0]));
    let nan = folder.save_raw("b", Dtype::BF16, &encoded(Dtype::BF16, &[f64::NAN]));
    let report = folder
        .merge(&[Update::new(&good, 1.0), Update::new(nan, 1.0)], &to(FloatDtype::F32))
        .unwrap();
    assert!(reasons(&report.summary.rejected)[0].1.contains("NaN at element 0"));
    for (value, out) in [(1e6, FloatDtype::F16), (1e40, FloatDtype::F32), (1e40, FloatDtype::Bf16)]
    {
        let path = folder.save_raw("c", Dtype::F64, &encoded(Dtype::F64, &[value]));
        let beyond = Update::new(path, 1.0);
        let error = folder.merge(std::slice::from_ref(&beyond), &to(out)).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { dtype, .. } if dtype == out.into()), "{error}");
        // One alone does not end the merge of others.
        let report = folder.merge(&[Update::new(&good, 1.0), beyond], &to(out)).unwrap();
        let found = reasons(&report.summary.rejected);
        assert!(found.len() == 1 && found[0].1.contains("out of the range"), "{found:?}");
    }
}

#[test]
fn shards_hold_the_dtype_that_was_asked_for() {
    let folder = Folder::new();
    let save = |name: &str, dtype| {
        let bytes = encoded(dtype, &SMALL);
        let tensors = ["a", "b", "w"].map(|name| raw_tensor(name, &[4], dtype, &bytes));
        Update::new(folder.save(name, &tensors), 1.0)
    };
    let updates = [save("x", Dtype::F64), save("y", Dtype::F16)];
    let options = Options { shard_bytes: Some(16), ..to(FloatDtype::Bf16) };
    let out = folder.path("m.safetensors.index.json");
    aggregate::aggregate(&updates, &options, &out, &|_| Ok(BTreeMap::new())).unwrap();
    let file = WeightFile::open(&out).unwrap();
    assert_eq!(file.paths().len(), 3, "an index and two shards");
    for tensor in file.tensors() {
        assert_eq!(tensor.dtype, Dtype::BF16);
        assert_eq!(file.read_f32(&tensor.name).unwrap(), SMALL.map(|v| v as f32));
    }
}

/// A tensor without elements, and files without floats.
#[test]
fn nothing_to_convert_is_no_error() {
    let folder = Folder::new();
    let update =
        |name: &str, tensors: &[TensorRef<'_>]| Update::new(folder.save(name, tensors), 1.0);
    let a = update(
        "a",
        &[raw_tensor("w", &[0], Dtype::F16, &[]), raw_tensor("i", &[1], Dtype::U8, &[3])],
    );
    let b = update(
        "b",
        &[raw_tensor("w", &[0], Dtype::F64, &[]), raw_tensor("i", &[1], Dtype::U8, &[3])],
    );
    folder.merge(&[a, b], &to(FloatDtype::F32)).unwrap();
    assert_eq!(dtype_of_merged(&folder), Dtype::F32);
    assert_eq!(folder.merged_bytes_of("i"), [3]);
}
