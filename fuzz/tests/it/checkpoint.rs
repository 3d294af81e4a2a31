//! Checkpoints: the metadata of edgectl inside a weight file.

use std::path::Path;

use edgectl::checkpoint::Checkpoint;
use edgectl_fuzz::Campaign;

/// The largest table of positions, which is in no file.
const TABLE_BYTES: u64 = 4 << 24;

/// Reads a checkpoint; whether that worked.
fn read(path: &Path) -> bool {
    let Ok(checkpoint) = Checkpoint::read(path) else { return false };
    assert_eq!(checkpoint.params.len(), checkpoint.encoder.n_params());
    true
}

#[test]
fn checkpoints() {
    Campaign::new("checkpoints", 5000)
        .damaged("m.safetensors", "checkpoint")
        .allow(TABLE_BYTES + (4 << 20))
        .run(|folder, _| read(&folder.join("m.safetensors")));
}
