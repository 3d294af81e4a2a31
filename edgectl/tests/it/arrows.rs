//! The arrows between the crates, and what each leaf may depend on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Direct dependencies of each crate that others reuse alone, and of the command. A new name here
/// is a decision: everyone who takes the crate takes it too, if it is not behind a feature (glob, rayon and serde of
/// optim, serde of attn-core and of monitor).
const ALLOWED: [(&str, &[&str]); 7] = [
    ("attn-core", &["faer", "pulp", "rayon", "serde"]),
    ("optim", &["glob", "pulp", "rayon", "serde", "thiserror"]),
    ("monitor", &["serde", "thiserror"]),
    ("preprocess", &["faer", "pulp", "realfft", "serde", "thiserror"]),
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
    (
        "rounds",
        &[
            "async-trait",
            "blake3",
            "bytes",
            "ed25519-dalek",
            "futures",
            "getrandom",
            "hex",
            "http-body",
            "http-body-util",
            "humantime",
            "object_store",
            "rustls",
            "rustls-native-certs",
            "serde",
            "serde_json",
            "tempfile",
            "thiserror",
            "tokio",
            "toml",
            "ureq",
            "url",
            "zeroize",
            "zstd",
        ],
    ),
    ("edgectl", &["clap", "engine"]),
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
    assert!(found["engine"].len() > 10, "the table of dependencies was not read");
}

#[test]
fn only_the_engine_prints_and_only_aggregate_opens_safetensors() {
    let found = dependencies();
    for (name, dependencies) in &found {
        let has = |dependency: &str| dependencies.iter().any(|d| d == dependency);
        if name != "engine" && name != "edgectl" {
            for printing in ["clap", "indicatif", "anyhow", "comfy-table"] {
                assert!(!has(printing), "{name} depends on {printing}");
            }
        }
        if name != "aggregate" && name != "testkit" {
            assert!(!has("safetensors"), "{name} depends on safetensors");
        }
    }
}

/// What is handed to the dispatcher of instruction sets is compiled for the oldest processor unless it
/// is always inlined: ten times slower, without a word.
#[test]
fn closures_for_the_vector_units_are_always_inlined() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let (mut n, mut wrong) = (0, Vec::new());
    for name in ["attn-core", "optim", "preprocess", "aggregate"] {
        for path in sources(&root.join(name).join("src")) {
            let text = fs::read_to_string(&path).expect("a source");
            for call in ["vectorize(", "vectorized("] {
                for (at, _) in text.match_indices(call) {
                    let argument = text[at + call.len()..].trim_start();
                    if argument.starts_with("f:") || argument.starts_with("work:") {
                        continue; // its own definition
                    }
                    n += 1;
                    let is_closure = argument.starts_with('|') || argument.starts_with("#[inline]");
                    if is_closure {
                        wrong.push(format!("{}: {}", path.display(), &argument[..20]));
                    }
                }
            }
            let bare = text
                .match_indices(".dispatch(")
                .filter(|(at, call)| text[at + call.len()..].trim_start().starts_with(['|', 'm']));
            wrong.extend(bare.map(|(at, _)| format!("{}: byte {at}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "not marked #[inline(always)]: {wrong:#?}");
    assert!(n > 20, "{n} calls were found");
}

/// All source files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let below = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}
