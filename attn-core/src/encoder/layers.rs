//! Layers and norms whose parameters lie in the flat vector, forward and backward.

use crate::layer_norm::{layer_norm_backward, layer_norm_forward};
use crate::layout::Affine;
use crate::linear::{linear_backward_input, linear_backward_params, linear_forward};

/// `out = layer(x)`.
pub(super) fn apply(params: &[f32], layer: &Affine, out: &mut [f32], x: &[f32]) {
    linear_forward(out, x, &params[layer.weight.clone()], &params[layer.bias.clone()]);
}

/// Weight and bias of a layer, both inside `grad`: the bias follows the weight.
pub(super) fn layer_params(layer: &Affine, grad: &mut [f32], d_out: &[f32], x: &[f32]) {
    let (d_weight, d_bias) =
        grad[layer.weight.start..layer.bias.end].split_at_mut(layer.weight.len());
    linear_backward_params(d_weight, d_bias, d_out, x);
}

/// `d_x = d_out · weight`.
pub(super) fn layer_input(params: &[f32], layer: &Affine, d_x: &mut [f32], d_out: &[f32]) {
    linear_backward_input(d_x, d_out, &params[layer.weight.clone()], layer.bias.len());
}

/// `out = norm(x)`, and what its backward pass needs.
pub(super) fn norm_forward(
    params: &[f32],
    norm: &Affine,
    out: &mut [f32],
    stats: &mut [(f32, f32)],
    x: &[f32],
) {
    let (weight, bias) = (&params[norm.weight.clone()], &params[norm.bias.clone()]);
    layer_norm_forward(out, stats, x, weight, bias);
}

/// Adds to `d_x` and to the norm's gradient.
pub(super) fn norm_backward(
    params: &[f32],
    norm: &Affine,
    grad: &mut [f32],
    d_x: &mut [f32],
    d_out: &[f32],
    (x, stats): (&[f32], &[(f32, f32)]),
) {
    let (d_weight, d_bias) = grad[norm.weight.start..norm.bias.end].split_at_mut(norm.weight.len());
    layer_norm_backward(d_x, d_weight, d_bias, d_out, x, stats, &params[norm.weight.clone()]);
}
