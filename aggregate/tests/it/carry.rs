//! Tensors that are not averaged: what becomes of them under every rule, in every dtype.

use aggregate::{Dtype, Options, Reducer, TensorRef, Tolerance, Update, WeightFile};

use crate::support::{
    DTYPES, Folder, f32_tensor, from_node, keep_going, raw_tensor, reasons, with,
};

/// The dtypes of the format that are not read.
const OPAQUE: [Dtype; 9] = [
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

/// All that are not averaged.
fn carried() -> impl Iterator<Item = Dtype> {
    DTYPES[4..].iter().chain(&OPAQUE).copied()
}

/// The integers, which may be counters.
fn integers() -> impl Iterator<Item = Dtype> {
    DTYPES[5..].iter().copied()
}

/// Updates of nodes `n0`, `n1` and so on.
fn updates(folder: &Folder, n: usize, save: impl Fn(&str, usize)) -> Vec<Update> {
    let update = |i: usize| {
        let node = format!("n{i}");
        save(&node, i);
        let update = from_node(&node, &folder.path(&node), 1.0);
        Update { loss: Some(1.0), ..update }
    };
    (0..n).map(update).collect()
}

/// A counter's bytes, that of the second update with the highest bit.
fn count(dtype: Dtype, i: usize) -> Vec<u8> {
    let mut bytes = vec![0; dtype.bitsize() / 8];
    bytes[0] = [3, 0, 9, 1, 5, 2, 4][i];
    if i == 1 {
        *bytes.last_mut().unwrap() = 0x80;
    }
    bytes
}

#[test]
fn every_rule_carries_every_dtype_and_the_largest_counter() {
    for name in Reducer::NAMES {
        let folder = Folder::new();
        let n = if name == "slerp" { 2 } else { 7 };
        let save = |file: &str, i: Option<usize>| {
            let values = testkit::sequence(i.map_or(99, |i| i as u64), 5);
            let names: Vec<(String, String, Dtype)> =
                carried().map(|d| (format!("same.{d}"), format!("count.{d}"), d)).collect();
            let byte = u8::from(i.is_some());
            let same: Vec<Vec<u8>> = names.iter().map(|(.., d)| vec![byte; d.bitsize()]).collect();
            let counts: Vec<Vec<u8>> =
                integers().map(|d| i.map_or(vec![0; d.bitsize() / 8], |i| count(d, i))).collect();
            let mut tensors: Vec<TensorRef<'_>> = vec![f32_tensor("w", &[5], &values)];
            for ((name, _, dtype), bytes) in names.iter().zip(&same) {
                tensors.push(raw_tensor(name, &[2, 4], *dtype, bytes));
            }
            let counters = names.iter().filter(|(.., d)| integers().any(|i| i == *d));
            for ((_, name, dtype), bytes) in counters.zip(&counts) {
                tensors.push(raw_tensor(name, &[], *dtype, bytes));
            }
            folder.save(file, &tensors);
        };
        save("base", None);
        let updates = updates(&folder, n, |file, i| save(file, Some(i)));
        let strict = with(&keep_going(), |rules| {
            rules.reduce = name.parse().unwrap();
            rules.tolerance = Tolerance::Strict;
        });
        let with_base = Options { base: Some(folder.path("base")), ..strict.clone() };
        let needs_base = strict.rules.needs_base().is_some();
        for options in [Some(with_base), Some(strict).filter(|_| !needs_base)].iter().flatten() {
            folder.merge(&updates, options).unwrap();
            for dtype in carried() {
                let found = folder.merged_bytes_of(&format!("same.{dtype}"));
                assert_eq!(found, vec![1; dtype.bitsize()], "{name} {dtype}");
            }
            for dtype in integers() {
                let largest = match dtype {
                    Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => 1,
                    _ if n == 2 => 0,
                    _ => 2,
                };
                let found = folder.merged_bytes_of(&format!("count.{dtype}"));
                assert_eq!(found, count(dtype, largest), "{name} {dtype}");
            }
        }
    }
}

#[test]
fn what_differs_is_named_or_kept_local() {
    for dtype in carried() {
        let folder = Folder::new();
        let save = |file: &str, byte: u8| {
            let bytes = [&vec![0; dtype.bitsize() * 2 - 1][..], &[byte]].concat();
            let tensors = [f32_tensor("w", &[1], &[1.0]), raw_tensor("q", &[16], dtype, &bytes)];
            folder.save(file, &tensors);
        };
        save("base", 0);
        let updates = updates(&folder, 3, |file, i| save(file, u8::from(i == 1)));
        let report = folder.merge(&updates, &keep_going()).unwrap();
        let found = reasons(&report.summary.rejected);
        assert_eq!((found.len(), &*found[0].0), (1, "n1"), "{dtype}");
        let says = ["\"q\"", "most others", "carry"];
        assert!(says.iter().all(|text| found[0].1.contains(text)), "{dtype}: {}", found[0].1);

        let options = Options { base: Some(folder.path("base")), ..keep_going() };
        let options = with(&options, |rules| rules.keep_local = vec!["q".to_owned()]);
        let report = folder.merge(&updates, &options).unwrap();
        assert!(report.summary.rejected.is_empty(), "{dtype}");
        assert_eq!(folder.merged_bytes_of("q"), vec![0; dtype.bitsize() * 2], "{dtype}");
    }
}

#[test]
fn a_rule_says_how_what_differs_is_carried() {
    let folder = Folder::new();
    let save = |file: &str, ids: [i16; 3], flags: [u8; 2]| {
        let ids = ids.map(i16::to_le_bytes).concat();
        let tensors = [
            f32_tensor("w", &[1], &[1.0]),
            raw_tensor("ids", &[3], Dtype::I16, &ids),
            raw_tensor("flags", &[2], Dtype::BOOL, &flags),
        ];
        folder.save(file, &tensors);
    };
    save("base", [7, 8, 9], [0, 0]);
    let of = [([1, -5, 300], [0, 1]), ([-2, -4, 2], [0, 0]), ([0, -9, 299], [1, 0])];
    let updates = updates(&folder, 3, |file, i| save(file, of[i].0, of[i].1));
    let options = Options { base: Some(folder.path("base")), ..keep_going() };
    for (carry, ids, flags) in [
        (&["*=max"][..], [1, -4, 300], [1, 1]),
        (&["ids=first", "*=max"], [1, -5, 300], [1, 1]),
        (&["fl*=base", "ids=max"], [1, -4, 300], [0, 0]),
        (&["*=base"], [7, 8, 9], [0, 0]),
    ] {
        let carry = carry.iter().map(|&text| text.to_owned()).collect();
        let options = with(&options, |rules| rules.carry = carry);
        let reversed: Vec<Update> = updates.iter().rev().cloned().collect();
        for updates in [&updates, &reversed] {
            let report = folder.merge(updates, &options).unwrap();
            assert!(report.summary.rejected.is_empty());
            let found = folder.merged_bytes_of("ids");
            assert_eq!(found, ids.map(i16::to_le_bytes).concat(), "{:?}", options.rules.carry);
            assert_eq!(folder.merged_bytes_of("flags"), flags, "{:?}", options.rules.carry);
        }
    }
    for (carry, says) in [("none=max", "no tensor"), ("w=first", "floats"), ("ids=sum", "expected")]
    {
        let options = with(&options, |rules| rules.carry = vec![carry.to_owned()]);
        let error = folder.merge(&updates, &options).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(carry), "{error}");
    }
    let options = with(&keep_going(), |rules| rules.carry = vec!["ids=base".to_owned()]);
    assert!(folder.merge(&updates, &options).unwrap_err().to_string().contains("base"));
}

#[test]
fn every_dtype_is_written_and_read_back() {
    for dtype in DTYPES.iter().chain(&OPAQUE).copied() {
        let folder = Folder::new();
        let path = folder.save_raw("a", dtype, &vec![1; dtype.bitsize()]);
        let file = WeightFile::open(&path).unwrap();
        let tensor = &file.tensors()[0];
        assert_eq!((tensor.dtype, &tensor.shape[..]), (dtype, &[8][..]));
        assert_eq!(file.visit_f64("w", |_| ()).is_ok(), DTYPES.contains(&dtype), "{dtype}");
    }
}
