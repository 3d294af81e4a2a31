//! A model's weights and tables in the form that answers are computed from.

use super::packed::{PackedLinear, Precision};
use crate::attention::{AttnOptions, Rotary, Rows, Strided};
use crate::config::EncoderConfig;
use crate::encoder::Encoder;
use crate::gelu::gelu_in_place;
use crate::layer_norm::normalize;
use crate::layout::Affine;
use crate::simd::{LANES, add_assign};

/// Weights and tables, which do not change.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) config: EncoderConfig,
    pub(super) patch: PackedLinear,
    pub(super) cls_token: Option<Vec<f32>>,
    /// `[positions, d_stride]`, with the bias of the patch embedding; one row without positions.
    positions: Vec<f32>,
    /// `[d_stride]`
    pub(super) patch_bias: Vec<f32>,
    pub(super) blocks: Vec<PreparedBlock>,
    pub(super) head: PackedLinear,
    pub(super) rotary: Option<Rotary>,
    pub(super) slopes: Option<Vec<f32>>,
    /// Rows of tokens are this long: whole vectors.
    pub(super) d_stride: usize,
}

#[derive(Debug, Clone)]
pub(super) struct PreparedBlock {
    pub(super) qkv: PackedLinear,
    pub(super) proj: PackedLinear,
    pub(super) fc1: PackedLinear,
    pub(super) fc2: PackedLinear,
}

impl Prepared {
    pub(super) fn new(encoder: &Encoder, params: &[f32], precision: Precision) -> Self {
        let config = encoder.config().clone();
        assert_eq!(params.len(), encoder.n_params(), "predictor: parameters found and expected");
        let (slots, d) = (encoder.slots(), config.d_model);
        let d_stride = d.next_multiple_of(LANES);
        let part = |range: &std::ops::Range<usize>| &params[range.clone()];
        let layer = |layer: &Affine, norm: Option<&Affine>, precision| {
            let norm = norm.map(|n| (part(&n.weight), part(&n.bias)));
            PackedLinear::new(part(&layer.weight), part(&layer.bias), norm, precision)
        };
        // Patch embedding and head are small, and every answer passes through them: they stay exact.
        let mut patch = layer(&slots.patch, None, Precision::F32);
        let mut cls_token = slots.cls_token.as_ref().map(|cls| part(cls).to_vec());
        let table = slots.pos_embed.as_ref().map_or(encoder.sinusoids(), part);
        let n_rows = (table.len() / d).max(1);
        let mut positions = vec![0.0; n_rows * d_stride];
        for (t, row) in positions.chunks_exact_mut(d_stride).enumerate() {
            if !table.is_empty() {
                row[..d].copy_from_slice(&table[t * d..(t + 1) * d]);
            }
            match &mut cls_token {
                // The class token takes the place of a patch, and of its bias.
                Some(cls) if t == 0 && !table.is_empty() => add_assign(cls, &row[..d]),
                _ => add_assign(row, &patch.bias),
            }
        }
        let patch_bias = std::mem::replace(&mut patch.bias, vec![0.0; d_stride]);
        let blocks = slots
            .blocks
            .iter()
            .map(|b| PreparedBlock {
                qkv: layer(&b.qkv, Some(&b.norm1), precision),
                proj: layer(&b.proj, None, precision),
                fc1: layer(&b.fc1, Some(&b.norm2), precision),
                fc2: layer(&b.fc2, None, precision),
            })
            .collect();
        let head = layer(&slots.head, Some(&slots.norm), Precision::F32);
        let (rotary, slopes) = encoder.tables();
        Self {
            config,
            patch,
            cls_token,
            positions,
            patch_bias,
            blocks,
            head,
            rotary,
            slopes,
            d_stride,
        }
    }

    pub(super) fn layers(&self) -> impl Iterator<Item = &PackedLinear> {
        let blocks = self.blocks.iter().flat_map(|b| [&b.qkv, &b.proj, &b.fc1, &b.fc2]);
        [&self.patch, &self.head].into_iter().chain(blocks)
    }

    /// Rows of the table of positions; one where there are none.
    pub(super) fn n_positions(&self) -> usize {
        self.positions.len() / self.d_stride
    }

    /// What is added to the patch embedding of a token.
    pub(super) fn position(&self, token: usize) -> &[f32] {
        let row = if self.n_positions() == 1 { 0 } else { token };
        &self.positions[row * self.d_stride..][..self.d_stride]
    }

    /// Queries, keys and values inside rows of the packed layer's outputs.
    pub(super) fn fused<'a>(&self, qkv: &'a [f32]) -> [Rows<'a>; 3] {
        let (d, kv) = (self.config.d_model, self.config.kv_width());
        [0, d, d + kv].map(|column| Rows::new(&qkv[column..], self.blocks[0].qkv.stride))
    }

    pub(super) fn options(&self) -> AttnOptions<'_> {
        AttnOptions {
            mask: self.config.attention.mask,
            alibi: self.slopes.as_deref(),
            ..AttnOptions::default()
        }
    }

    /// `2 · multiplications` of a window of so many tokens.
    pub(super) fn flops(&self, tokens: usize) -> f64 {
        let c = &self.config;
        let linear = c.d_model * (c.qkv_width() + c.d_model + 2 * c.d_ff);
        2.0 * (c.n_layers * tokens) as f64 * (linear + 2 * tokens * c.d_model) as f64
    }

    /// `x += mlp(norm(x))`.
    pub(super) fn mlp(
        &self,
        block: &PreparedBlock,
        x: &mut [f32],
        normed: &mut [f32],
        hidden: &mut [f32],
        weights: &mut [f32],
    ) {
        let (d, stride) = (self.config.d_model, self.d_stride);
        let rows = x.len() / stride;
        normalize(&mut normed[..rows * stride], x, d, stride);
        block.fc1.forward(hidden, Strided { values: normed, stride }, rows, weights);
        let hidden = &mut hidden[..rows * block.fc1.stride];
        gelu_in_place(hidden);
        block.fc2.add(x, Strided { values: hidden, stride: block.fc1.stride }, rows, weights);
    }
}
