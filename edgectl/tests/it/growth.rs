//! Many updates: the work grows with their number, not with its square.
//!
//! There is no clock here: what grew with the square would take minutes.

use std::collections::BTreeMap;
use std::fs;

use aggregate::{TensorData, TensorRef, write_file};

use crate::support::json;

const N: usize = 10_000;

/// The good and the bad ones each have a folder of their own, and all have one name.
#[test]
fn many_updates_are_merged_and_many_bad_ones_moved_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let shape = &[2][..];
    let content = |values: &[f32]| {
        let w = TensorRef { name: "w", shape, data: TensorData::F32(values) };
        write_file(at.join("one"), &[w], &BTreeMap::new()).expect("written");
        fs::read(at.join("one")).expect("read")
    };
    let (good, bad) = (content(&[1.0, 2.0]), content(&[1.0, f32::NAN]));
    let names: Vec<String> = (0..N).map(|i| format!("n{i}/update.safetensors")).collect();
    for (i, name) in names.iter().enumerate() {
        fs::create_dir(at.join(format!("n{i}"))).expect("a folder");
        fs::write(at.join(name), if i % 2 == 0 { &good } else { &bad }).expect("written");
    }
    fs::create_dir(at.join("refused")).expect("a folder");
    let options = ["--uniform", "--quorum", "1", "--quarantine", "refused", "--out", "o"];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let report = json(at, &[&["aggregate"][..], &names, &options].concat());
    assert_eq!(report["n_updates"], N / 2);
    assert_eq!(report["rejected"].as_array().expect("a list").len(), N / 2);
    assert_eq!(fs::read_dir(at.join("refused")).expect("listed").count(), N / 2);
}
