//! Adapters that are stacked: a damaged file, or its configuration, among good ones.

use std::fs;
use std::path::Path;

use aggregate::{Adapters, FloatDtype, Options, Update, aggregate};
use edgectl_fuzz::Campaign;

use crate::merge::check_output;

/// Stacks four files of which one may be bad, which must work; whether every file was taken.
fn stack(folder: &Path, choice: u64) -> bool {
    let config = r#"{"r": 2, "lora_alpha": 3}"#;
    let good = |i: u64| Update {
        node: Some(i.to_string()),
        adapter_config: Some(config.to_owned()),
        ..Update::new(folder.join(format!("n{i}.safetensors")), 2.0)
    };
    let mut updates: Vec<Update> = (1..=3).map(good).collect();
    updates.push(Update::new(folder.join("bad.safetensors"), 1.0));
    let dtype = FloatDtype::ALL.get(choice as usize % 8).copied();
    let options = Options { adapters: Some(Adapters::Stack), dtype, ..Options::default() };
    let out = folder.join("out.safetensors");
    let result = aggregate(&updates, &options, &out, &|_| Ok([].into()));
    let report = result.unwrap_or_else(|error| panic!("one update ended the merge: {error}"));
    check_output(&out);
    fs::remove_file(&out).expect("it is there");
    report.summary.rejected.is_empty()
}

fn campaign(name: &'static str) -> Campaign {
    Campaign::new(name, 3000)
        .sound("n1.safetensors", "adapter")
        .sound("n2.safetensors", "adapter")
        .sound("n3.safetensors", "adapter")
}

#[test]
fn adapters() {
    campaign("adapters")
        .damaged("bad.safetensors", "adapter")
        .sound("adapter_config.json", "adapter-config")
        .run(stack);
}

#[test]
fn adapter_configs() {
    campaign("adapter_configs")
        .sound("bad.safetensors", "adapter")
        .damaged("adapter_config.json", "adapter-config")
        .run(stack);
}
