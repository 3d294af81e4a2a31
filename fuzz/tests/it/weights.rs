//! Single weight files: open, and read every value.

use std::path::Path;

use aggregate::WeightFile;
use edgectl_fuzz::Campaign;

/// Reads all that a file says it holds; whether it opens.
pub(crate) fn read_all(path: &Path) -> bool {
    let Ok(file) = WeightFile::open(path) else { return false };
    for tensor in file.tensors() {
        let mut n_seen = 0;
        if file.visit_f64(&tensor.name, |values| n_seen += values.len()).is_ok() {
            assert_eq!(n_seen, tensor.n_elements(), "{tensor:?}");
        }
        let _ = file.read_f32(&tensor.name);
    }
    file.content_hash().expect("a file that opened can be hashed");
    true
}

#[test]
fn weights() {
    Campaign::new("weights", 5000)
        .damaged("x.safetensors", "weights")
        .run(|folder, _| read_all(&folder.join("x.safetensors")));
}
