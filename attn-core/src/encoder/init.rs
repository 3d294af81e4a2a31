//! Fresh parameters.

use crate::layout::{Layout, TensorSpec};
use crate::rng::{mix, normal, uniform};

/// Deviation of positions and class token at the start, as in ViT and BERT.
const EMBEDDING_DEVIATION: f64 = 0.02;

/// A tensor's numbers depend on the seed and its place in the list only.
pub(crate) fn init(layout: &Layout, seed: u64) -> Vec<f32> {
    let mut params = vec![0.0; layout.n_params()];
    for (i, tensor) in layout.tensors().iter().enumerate() {
        fill(tensor, mix(seed, i as u64 + 1), &mut params[tensor.range.clone()]);
    }
    params
}

fn fill(tensor: &TensorSpec, key: u64, values: &mut [f32]) {
    let name = tensor.name.as_str();
    if name == "cls_token" || name == "pos_embed" {
        for (i, v) in values.iter_mut().enumerate() {
            *v = (EMBEDDING_DEVIATION * normal(key, i as u64)) as f32;
        }
    } else if name.ends_with("weight") && tensor.shape.len() == 2 {
        // Queries, keys and values are layers of their own in one tensor, drawn as square ones.
        let square = name.ends_with("qkv.weight");
        let outputs = if square { tensor.shape[1] } else { tensor.shape[0] };
        let bound = (6.0 / (outputs + tensor.shape[1]) as f64).sqrt();
        for (i, v) in values.iter_mut().enumerate() {
            *v = (bound * (2.0 * uniform(key, i as u64) - 1.0)) as f32;
        }
    } else if name.ends_with("weight") {
        values.fill(1.0);
    }
}
