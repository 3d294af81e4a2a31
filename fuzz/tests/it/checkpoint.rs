//! Checkpoints: the metadata of edgectl inside a weight file.

use edgectl::checkpoint::Checkpoint;
use edgectl_fuzz::Campaign;

#[test]
fn checkpoints() {
    Campaign::new("checkpoints", 5000).damaged("m.safetensors", "checkpoint").run(|folder, _| {
        let Ok(checkpoint) = Checkpoint::read(&folder.join("m.safetensors")) else { return false };
        assert_eq!(checkpoint.params.len(), checkpoint.encoder.n_params());
        true
    });
}
