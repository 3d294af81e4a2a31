//! What the README says about the crate itself.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that are built for this one with some features, itself left out.
fn built_with(features: &str) -> usize {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["--package", "attn-core", "--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let crates: BTreeSet<&str> = lines.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.len() - 1
}

#[test]
fn the_number_of_crates_is_as_stated() {
    let readme = include_str!("../../README.md");
    for (row, features) in [("| none |", ""), ("| `serde` |", "serde")] {
        let row = readme.lines().find(|line| line.starts_with(row)).expect("a row of the table");
        let stated = row.trim_end_matches(" |").rsplit(' ').next().expect("a number");
        assert_eq!(stated, built_with(features).to_string(), "crates with features {features:?}");
    }
}
