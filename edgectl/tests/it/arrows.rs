//! The arrows between the crates, and what each leaf may depend on.

use std::collections::BTreeMap;
use std::process::Command;

/// Direct dependencies of each crate that others reuse alone. A new name here is a decision:
/// everyone who takes the crate takes it too, if it is not behind a feature (glob, rayon and serde of
/// optim, serde of attn-core).
const ALLOWED: [(&str, &[&str]); 4] = [
    ("attn-core", &["faer", "pulp", "rayon", "serde"]),
    ("optim", &["glob", "pulp", "rayon", "serde", "thiserror"]),
    ("preprocess", &["serde", "thiserror"]),
    (
        "aggregate",
        &[
            "blake3",
            "bytemuck",
            "faer",
            "getrandom",
            "half",
            "optim",
            "pulp",
            "rand",
            "rand_chacha",
            "rand_distr",
            "rayon",
            "safetensors",
            "serde",
            "serde_json",
            "tempfile",
            "thiserror",
        ],
    ),
];

/// Direct dependencies that are built into each crate of the workspace, not only into its tests.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let normal = dependencies.iter().filter(|d| d["kind"].is_null());
            (text(&package["name"]), normal.map(|d| text(&d["name"])).collect())
        })
        .collect()
}

#[test]
fn leaves_depend_on_what_the_table_says_and_nothing_else() {
    let found = dependencies();
    for (leaf, allowed) in ALLOWED {
        let mut names = found[leaf].clone();
        names.sort();
        assert_eq!(names, allowed, "direct dependencies of {leaf}");
    }
    assert!(found["edgectl"].len() > 10, "the table of dependencies was not read");
}

#[test]
fn only_edgectl_prints_and_only_aggregate_opens_safetensors() {
    let found = dependencies();
    for (name, dependencies) in &found {
        let has = |dependency: &str| dependencies.iter().any(|d| d == dependency);
        if name != "edgectl" {
            for printing in ["clap", "indicatif", "anyhow", "comfy-table"] {
                assert!(!has(printing), "{name} depends on {printing}");
            }
        }
        if name != "aggregate" && name != "testkit" {
            assert!(!has("safetensors"), "{name} depends on safetensors");
        }
    }
}
