//! `aggregate` on files of other programs: every width of float, integers that are carried, models
//! in several files.

use std::fs;
use std::path::Path;

use serde_json::{Map, json as value};

use crate::hashes::{Hashes, json};

const FILES: [&str; 5] =
    ["a.safetensors", "b.safetensors", "c.safetensors", "d.safetensors", "e.safetensors"];

/// Bits that repeat for a seed.
fn bits(seed: u64, n: usize) -> impl Iterator<Item = u64> {
    let step = |state: u64| {
        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
    };
    let mut state = step(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    std::iter::repeat_with(move || {
        state = step(state);
        state ^ (state >> 29)
    })
    .take(n)
}

/// A model of another program: tensors of all kinds, written byte by byte.
fn save(at: &Path, name: &str, seed: u64) {
    let float = |bits: u64| (bits >> 40) as f32 / 8_388_608.0 - 1.0;
    let double = |bits: u64| (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
    // Sign and fraction as they come, exponents of numbers between about 1/64 and 2.
    let half = |bits: u64| (bits as u16 & 0x83FF) | ((9 + (bits >> 20) as u16 % 7) << 10);
    let brain = |bits: u64| (bits as u16 & 0x807F) | ((121 + (bits >> 20) as u16 % 7) << 7);
    let mut tensors: Vec<(&str, &str, Vec<usize>, Vec<u8>)> = vec![
        (
            "w32",
            "F32",
            vec![37, 53],
            bits(seed, 37 * 53).flat_map(|b| float(b).to_le_bytes()).collect(),
        ),
        (
            "w16",
            "F16",
            vec![1000],
            bits(seed + 1, 1000).flat_map(|b| half(b).to_le_bytes()).collect(),
        ),
        (
            "wb16",
            "BF16",
            vec![10, 100],
            bits(seed + 2, 1000).flat_map(|b| brain(b).to_le_bytes()).collect(),
        ),
        (
            "w64",
            "F64",
            vec![700],
            bits(seed + 3, 700).flat_map(|b| double(b).to_le_bytes()).collect(),
        ),
        ("none", "F32", vec![0, 4], Vec::new()),
        ("scalar", "F32", vec![], float(seed << 50).to_le_bytes().to_vec()),
    ];
    // The same in all: integers are carried.
    for (name, dtype, width) in
        [("i64", "I64", 8), ("i32", "I32", 4), ("i16", "I16", 2), ("u8", "U8", 1)]
    {
        tensors.push((name, dtype, vec![5], bits(9, 5 * width).map(|b| (b >> 33) as u8).collect()));
    }
    tensors.push(("flags", "BOOL", vec![4], vec![1, 0, 0, 1]));

    let mut header = Map::new();
    let mut values: Vec<u8> = Vec::new();
    // Wide elements first, so that all are aligned.
    tensors.sort_by_key(|(_, dtype, ..)| std::cmp::Reverse(width_of(dtype)));
    for (name, dtype, shape, bytes) in tensors {
        let begin = values.len();
        values.extend(bytes);
        let tensor =
            value!({"dtype": dtype, "shape": shape, "data_offsets": [begin, values.len()]});
        header.insert(name.to_owned(), tensor);
    }
    let mut header = serde_json::to_vec(&header).expect("JSON");
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(values);
    fs::write(at.join(name), file).expect("written");
}

fn width_of(dtype: &str) -> u32 {
    match dtype.trim_start_matches(|c: char| c.is_ascii_alphabetic()) {
        "64" => 8,
        "32" => 4,
        "16" => 2,
        _ => 1,
    }
}

#[test]
fn every_dtype() {
    let Some(mut hashes) = Hashes::of("other-files") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for (i, name) in FILES.into_iter().enumerate() {
        save(at, name, 100 + 10 * i as u64);
    }
    save(at, "base.safetensors", 1);
    for (n, base, args) in [
        (5, false, "--uniform"),
        (5, false, "--weights 0.1,0.2,0.3,0.25,0.15"),
        (5, false, "--uniform --reduce median"),
        (5, false, "--uniform --reduce trimmed-mean"),
        (5, false, "--uniform --reduce krum"),
        (5, false, "--uniform --reduce geometric-median"),
        (2, false, "--uniform --reduce slerp"),
        (5, true, "--uniform"),
        (5, true, "--uniform --reduce centred-clipping"),
        (5, true, "--uniform --reduce norm-clipped-mean:max_norm=1"),
        (5, true, "--uniform --reduce multi-krum"),
        (5, true, "--uniform --strategy ties"),
        (5, true, "--uniform --strategy ties:density=0.5"),
        (5, true, "--uniform --strategy dare"),
        (5, true, "--weights 3,1,1,2,1 --strategy linear"),
        (5, true, "--uniform --strategy fedadam"),
        (5, true, "--uniform --strategy fedavgm"),
        (5, true, "--uniform --keep-local w16,wb*"),
    ] {
        let mut all = vec!["aggregate"];
        all.extend(&FILES[..n]);
        all.extend(args.split(' '));
        if base {
            all.extend(["--base", "base.safetensors"]);
        }
        let _ = fs::remove_file(at.join("m.safetensors.server"));
        json(at, &[&all[..], &["--out", "m.safetensors"]].concat());
        let place = if base { "base " } else { "" };
        hashes.model(&format!("{place}{n} {args}"), &at.join("m.safetensors"));
    }

    // In several files, and back.
    let parts = ["--out", "big.safetensors.index.json", "--shard-size", "6KB", "--uniform"];
    json(at, &[&["aggregate"], &FILES[..3], &parts].concat());
    let again = ["aggregate", "big.safetensors.index.json", "--out", "small.safetensors"];
    json(at, &again);
    hashes.model("several files", &at.join("small.safetensors"));
    hashes.check();
}
