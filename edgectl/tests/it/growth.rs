//! Many updates: the work grows with their number, not with its square.
//!
//! There is no clock here: what grew with the square would take minutes.

use std::collections::BTreeMap;
use std::fmt::Write;
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

/// Each node takes the model, and none a list of all nodes.
#[test]
fn many_nodes_are_simulated() {
    const N: usize = 3_000;
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let mut rows = String::from("node,split,label,x0,x1,x2,x3\n");
    for node in 0..N {
        for (row, split) in ["train", "train", "train", "test"].into_iter().enumerate() {
            let label = if (node + row) % 2 == 0 { "even" } else { "odd" };
            let _ = writeln!(
                rows,
                "n{node},{split},{label},{row},{},{label_n},0",
                node % 7,
                label_n = label.len()
            );
        }
    }
    fs::write(at.join("nodes.csv"), rows).expect("written");
    let job = r#"data = { format = "wide", node = "node", split = "split", label = "label" }
        model = { d_model = 4, n_heads = 1, n_layers = 1, d_ff = 4 }
        train.epochs = 1
        federation.rounds = 2"#;
    fs::write(at.join("job.toml"), job).expect("written");
    let report =
        json(at, &["simulate", "--config", "job.toml", "--data", "nodes.csv", "--out", "run"]);
    assert_eq!(report["nodes"].as_array().map(Vec::len), Some(N));
    assert_eq!(report["rounds"][1]["n"], N);
    let mut files: Vec<String> = fs::read_dir(at.join("run"))
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let expected = ["global.safetensors", "global.safetensors.server", "report.json", "rounds"];
    assert_eq!(files, expected);
}
