//! The forward pass over one chunk of windows.

use super::drops::DropSite;
use super::embed::cut_patches;
use super::lanes::Lane;
use super::layers::{apply, norm_forward};
use super::model::Encoder;
use super::workspace::{Activations, BlockActivations, attn_dims};
use crate::attention::{Rows, RowsMut, attention_forward};
use crate::config::EncoderConfig;
use crate::gelu::gelu_forward;
use crate::layout::Affine;
use crate::linear::linear_residual;
use crate::simd::add;

impl Encoder {
    /// Fills `acts` up to the tokens behind the last norm.
    pub(crate) fn forward_chunk(
        &self,
        params: &[f32],
        chunk: &Lane<'_>,
        acts: &mut Activations,
        seed: Option<u64>,
    ) {
        let Activations { tokens, patches, x, .. } = acts;
        cut_patches(&self.config, chunk, patches);
        self.embed(params, tokens, patches, &mut x[0]);
        for i in 0..self.config.n_layers {
            self.forward_block(params, i, chunk, acts, seed);
        }
        let Activations { x, normed, stats, .. } = acts;
        norm_forward(params, &self.slots.norm, normed, stats, &x[self.config.n_layers % x.len()]);
    }

    /// One block: from `x[i]` to `x[i + 1]`, and what its backward pass needs.
    pub(crate) fn forward_block(
        &self,
        params: &[f32],
        i: usize,
        chunk: &Lane<'_>,
        acts: &mut Activations,
        seed: Option<u64>,
    ) {
        let Activations { tokens, x, blocks, branch, scratch, .. } = acts;
        let (n_x, n_blocks, slots) = (x.len(), blocks.len(), &self.slots.blocks[i]);
        let (before, after) = x.split_at_mut((i % n_x).max((i + 1) % n_x));
        let (input, output) = if i % n_x < (i + 1) % n_x {
            (&before[i % n_x], &mut after[0])
        } else {
            (&after[0], &mut before[(i + 1) % n_x])
        };
        let block = &mut blocks[i % n_blocks];
        // 1. the attention branch
        self.attend(params, i, tokens, chunk.first_window, seed, input, block, scratch);
        let BlockActivations { attended, middle, norm2, stats2, hidden, activated, .. } = block;
        let dropout = self.dropout(seed, DropSite::Attention(i));
        add_branch(
            params,
            &slots.proj,
            attended,
            input,
            middle,
            |branch| {
                self.drop(dropout, chunk, tokens, self.config.d_model, branch);
            },
            dropout.is_some().then_some(&mut *branch),
        );
        // 2. the MLP branch
        norm_forward(params, &slots.norm2, norm2, stats2, middle);
        apply(params, &slots.fc1, hidden, norm2);
        gelu_forward(activated, hidden);
        let dropout = self.dropout(seed, DropSite::Hidden(i));
        self.drop(dropout, chunk, tokens, self.config.d_ff, activated);
        let dropout = self.dropout(seed, DropSite::Mlp(i));
        add_branch(
            params,
            &slots.fc2,
            activated,
            middle,
            output,
            |branch| {
                self.drop(dropout, chunk, tokens, self.config.d_model, branch);
            },
            dropout.is_some().then_some(&mut *branch),
        );
    }

    /// `attended = attention(qkv(norm1(input)))`, window by window.
    #[expect(clippy::too_many_arguments, reason = "the parts of one block")]
    fn attend(
        &self,
        params: &[f32],
        index: usize,
        tokens: &[usize],
        first_window: usize,
        seed: Option<u64>,
        input: &[f32],
        block: &mut BlockActivations,
        scratch: &mut [f32],
    ) {
        let slots = &self.slots.blocks[index];
        let (d, n_heads, width) =
            (self.config.d_model, self.config.n_heads, self.config.qkv_width());
        let BlockActivations { norm1, stats1, qkv, softmax, attended, .. } = block;
        norm_forward(params, &slots.norm1, norm1, stats1, input);
        apply(params, &slots.qkv, qkv, norm1);
        let mut row = 0;
        for (window, &seq) in (first_window..).zip(tokens) {
            let qkv = &mut qkv[row * width..(row + seq) * width];
            if let Some(rotary) = &self.rotary {
                // Queries and keys lie side by side, so they turn as the heads of one row.
                rotary.rotate(qkv, width, n_heads + self.config.n_kv_heads(), 0);
            }
            attention_forward(
                RowsMut::new(&mut attended[row * d..(row + seq) * d], d),
                &mut softmax[2 * row * n_heads..2 * (row + seq) * n_heads],
                fused(qkv, &self.config),
                attn_dims(&self.config, seq),
                &self.attn_options(seed, index, window),
                1,
                scratch,
            );
            row += seq;
        }
    }
}

/// Queries, keys and values inside one fused buffer of `[seq, qkv_width]`.
pub(crate) fn fused<'a>(qkv: &'a [f32], config: &EncoderConfig) -> [Rows<'a>; 3] {
    let (d, kv) = (config.d_model, config.kv_width());
    [0, d, d + kv].map(|column| Rows::new(&qkv[column..], config.qkv_width()))
}

/// `out = residual + drop(layer(x))`; without dropout straight into `out`.
fn add_branch(
    params: &[f32],
    layer: &Affine,
    x: &[f32],
    residual: &[f32],
    out: &mut [f32],
    drop: impl Fn(&mut [f32]),
    buffer: Option<&mut Vec<f32>>,
) {
    if let Some(branch) = buffer {
        apply(params, layer, branch, x);
        drop(branch);
        add(out, residual, branch);
    } else {
        let (weight, bias) = (&params[layer.weight.clone()], &params[layer.bias.clone()]);
        linear_residual(out, residual, x, weight, bias);
    }
}
