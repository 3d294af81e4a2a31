//! The arrows between the modules of each crate: an order of the modules, and no circle of files.
//!
//! A file uses another if it names what that defines, outside tests and comments: in a `use`, or in a
//! path that begins with `crate`, `super`, `self`, a child or an import. A name that a `pub use` hands
//! on is its definer's, and handing on from below is no use.

/// What may not be: circles, and uses against an order.
mod laws;
/// What a file names.
mod names;
/// Planted circles and uses against the order are found.
mod planted;
/// Source as words and signs.
mod tokens;
/// The files of a crate, and which uses what of which other.
mod tree;

use std::fs;
use std::path::Path;

use laws::{circle, disorder};
use tree::Tree;

/// The modules below the root of each crate; each uses only those before it.
const ORDER: [(&str, &str); 10] = [
    (
        "attn-core",
        "dims rng simd dropout gelu layer_norm attention linear
         config layout reference encoder loss predict",
    ),
    (
        "optim",
        "error bits state step slot threads lanes rule parts slices pass memory
         optimizer checks clip decay moments group pattern group_config groups
         fused adagrad adam adamw amsgrad lamb lion nadam radam rmsprop schedule_free sgd yogi
         config
         accumulate federated guard plateau private schedule",
    ),
    (
        "aggregate",
        "problem advice dispatch spent dtype float_dtype tensor factor_names adapters limit quorum reject
         layout names
         target_error error message adapter_config source header shards target targets atomic read
         layouts spool update factors input sink running_hash tensor_writer write
         model_writer sidecar blocks rows
         precision quantize memory_file residual difference encode decode
         base median patterns carry spelling accountant privacy
         private_round server_step
         cohort columns kernels state mover gram magnitudes sparse sphere plan basis reduce
         reducers claims rules options check agree admit
         pages stack lost report stack_rules run far merge_block totals summary outputs attempt merge slices fault",
    ),
    (
        "preprocess",
        "two_sum dispatch random cap quantiles polyphase rows stage error step clock window scale around order order_filter polynomial each_value row_map
         projection picture stft covariance channel_stats moments stats spec sos steps on_channels config chain
         pipeline per_node per_window known scope tensors statistics rounds node_rounds streamer align augment",
    ),
    (
        "monitor",
        "error random detector cusum buckets adwin ddm ks ks_window page_hinkley watch passages scores settle calibrate
         probabilities temperature conformal reservoir attribution sureness",
    ),
    (
        "rounds",
        "error file hash name key layout pack urls store roster signed message board presign desk seat",
    ),
    (
        "engine",
        "system interrupt outcome lines nearest typed diverged metrics plot models
         data job cli run windows
         signals checkpoint padding evaluate explain training tuning adapting federation fleet live
         output bench commands",
    ),
    ("edgectl", ""),
    ("testkit", ""),
    ("fuzz", "reshape edit campaign"),
];

/// The workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn tree(name: &str) -> Tree {
    let src = Path::new(ROOT).join(name).join("src");
    Tree::read(&|path| fs::read_to_string(src.join(path)).ok())
}

/// What a law says of each crate and its order, one line each.
fn broken(law: impl Fn(&Tree, &str) -> Vec<String>) -> String {
    let lines = ORDER.iter().flat_map(|(name, order)| {
        law(&tree(name), order).into_iter().map(move |line| format!("{name}: {line}\n"))
    });
    lines.collect()
}

#[test]
fn no_files_of_a_crate_need_each_other() {
    let lines = broken(|tree, _| circle(tree));
    assert!(
        lines.is_empty(),
        "circles of files: move what they need of each other into a file of its own\n{lines}"
    );
}

#[test]
fn modules_use_only_those_before_them() {
    let lines = broken(disorder);
    assert!(lines.is_empty(), "against ORDER in edgectl/tests/it/modules.rs\n{lines}");
}

#[test]
fn every_crate_has_an_order_and_is_read() {
    let mut found: Vec<String> = fs::read_dir(ROOT)
        .expect("the workspace")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().join("src/lib.rs").exists())
        .map(|entry| entry.file_name().into_string().expect("a name"))
        .collect();
    let mut ordered = ORDER.map(|(name, _)| name);
    found.sort();
    ordered.sort_unstable();
    assert_eq!(found, ordered, "crates against ORDER");
    let uses = tree("engine").uses();
    assert!(uses["commands::train"]["checkpoint::model"].contains("Checkpoint"), "{uses:?}");
}
