//! Fresh parameters.

use super::sinusoid::sinusoid;
use crate::layout::{Layout, TensorSpec};
use crate::rng::{mix, normal, uniform};

/// Deviation of the class token at the start, as in ViT and BERT.
const TOKEN_DEVIATION: f64 = 0.02;

/// A tensor's numbers depend on the seed and its place in the list only.
///
/// Linear layers start as `nn.Linear` of `PyTorch` does, weights and biases from U(±1/√inputs), but those around
/// attention have no biases, and queries, keys and values are drawn as three square layers from
/// U(±√(6/(inputs + outputs))) (Glorot and Bengio 2010). Learned positions start as the sinusoidal ones, so that they
/// tell places apart from the first step. Of the ways tried this one learned most from small data.
pub(crate) fn init(layout: &Layout, seed: u64) -> Vec<f32> {
    let mut params = vec![0.0; layout.n_params()];
    let mut inputs = 1;
    for (i, tensor) in layout.tensors().iter().enumerate() {
        // A bias stands behind the weight of its layer.
        inputs = if let [_, inputs] = tensor.shape[..] { inputs } else { inputs };
        fill(tensor, inputs, mix(seed, i as u64 + 1), &mut params[tensor.range.clone()]);
    }
    params
}

fn fill(tensor: &TensorSpec, inputs: usize, key: u64, values: &mut [f32]) {
    let name = tensor.name.as_str();
    let (is_weight, is_matrix) = (name.ends_with("weight"), tensor.shape.len() == 2);
    let bound = if name == "cls_token" {
        for (i, v) in values.iter_mut().enumerate() {
            *v = (TOKEN_DEVIATION * normal(key, i as u64)) as f32;
        }
        return;
    } else if name == "pos_embed" {
        let width = tensor.shape.last().copied().unwrap_or(1);
        for (i, v) in values.iter_mut().enumerate() {
            *v = sinusoid(i / width, i % width, width);
        }
        return;
    } else if name.contains("norm") {
        return values.fill(if is_weight { 1.0 } else { 0.0 });
    } else if is_matrix && name.ends_with("qkv.weight") {
        (3.0 / inputs as f64).sqrt()
    } else if name.contains("attn") && !is_weight {
        return;
    } else {
        1.0 / (inputs as f64).sqrt()
    };
    for (i, v) in values.iter_mut().enumerate() {
        *v = (bound * (2.0 * uniform(key, i as u64) - 1.0)) as f32;
    }
}
