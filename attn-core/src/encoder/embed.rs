//! From windows to tokens, and back: patches, positions, class token.

use super::lanes::Lane;
use super::layers::{apply, layer_input, layer_params};
use super::model::Encoder;
use crate::config::{EncoderConfig, Pooling};
use crate::simd::add_assign;

impl Encoder {
    /// `x = patches·W + b + positions`, the class token in front of each window.
    pub(super) fn embed(&self, params: &[f32], tokens: &[usize], patches: &[f32], x: &mut [f32]) {
        let d = self.config.d_model;
        apply(params, &self.slots.patch, x, patches);
        let positions =
            self.slots.pos_embed.clone().map_or(self.sinusoids.as_slice(), |r| &params[r]);
        let added = !positions.is_empty();
        let mut rest = x;
        for &seq in tokens {
            let (window, others) = rest.split_at_mut(seq * d);
            if let Some(cls) = &self.slots.cls_token {
                window[..d].copy_from_slice(&params[cls.clone()]);
            }
            if added {
                add_assign(window, &positions[..seq * d]);
            }
            rest = others;
        }
    }

    /// Gradients of patch embedding, positions and class token; `d_x` is used up.
    pub(super) fn embed_backward(
        &self,
        grad: &mut [f32],
        tokens: &[usize],
        patches: &[f32],
        d_x: &mut [f32],
    ) {
        let d = self.config.d_model;
        let mut rest = &mut *d_x;
        for &seq in tokens {
            let (window, others) = rest.split_at_mut(seq * d);
            if let Some(pos) = &self.slots.pos_embed {
                add_assign(&mut grad[pos.clone()][..seq * d], window);
            }
            if let Some(cls) = &self.slots.cls_token {
                add_assign(&mut grad[cls.clone()], &window[..d]);
                // The class token took the place of the patch embedding there.
                window[..d].fill(0.0);
            }
            rest = others;
        }
        layer_params(&self.slots.patch, grad, d_x, patches);
    }

    /// Gradient of the windows' values from what [`embed_backward`](Self::embed_backward) leaves of `d_x`;
    /// overwrites `d_values`, and `patches` is used up.
    pub(super) fn values_backward(
        &self,
        params: &[f32],
        chunk: &Lane<'_>,
        d_x: &[f32],
        patches: &mut [f32],
        d_values: &mut [f32],
    ) {
        layer_input(params, &self.slots.patch, patches, d_x);
        let config = &self.config;
        let width = config.patch_width();
        let class_token = usize::from(config.pooling == Pooling::ClassToken) * width;
        let (mut rest, mut d_rest) = (&*patches, d_values);
        for &len in chunk.lengths {
            let (window, others) = rest.split_at(class_token + config.patches(len) * width);
            let (own, d_others) = d_rest.split_at_mut(len * config.channels);
            // What padded the last patch is no value of the window.
            own.copy_from_slice(&window[class_token..][..own.len()]);
            (rest, d_rest) = (others, d_others);
        }
    }
}

/// Cuts windows into patches, one a token; a class token gets an empty one.
pub(super) fn cut_patches(config: &EncoderConfig, chunk: &Lane<'_>, patches: &mut [f32]) {
    let width = config.patch_width();
    let class_token = usize::from(config.pooling == Pooling::ClassToken) * width;
    let (mut rest, mut values) = (patches, chunk.values);
    for &len in chunk.lengths {
        let (window, other_values) = values.split_at(len * config.channels);
        let (rows, others) = rest.split_at_mut(class_token + config.patches(len) * width);
        rows[..class_token].fill(0.0);
        let rows = &mut rows[class_token..];
        rows[..window.len()].copy_from_slice(window);
        rows[window.len()..].fill(0.0);
        (rest, values) = (others, other_values);
    }
}
