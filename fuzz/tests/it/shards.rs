//! Models in several files: the index and its shards.

use edgectl_fuzz::Campaign;

use crate::weights::read_all;

#[test]
fn shards() {
    Campaign::new("shards", 5000)
        .damaged("m.safetensors.index.json", "index")
        .damaged("m-1.safetensors", "m-1")
        .damaged("m-2.safetensors", "m-2")
        .run(|folder, _| read_all(&folder.join("m.safetensors.index.json")));
}
