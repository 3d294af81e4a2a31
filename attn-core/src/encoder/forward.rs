//! The forward pass over one chunk of windows.

use super::Encoder;
use super::lanes::Lane;
use super::workspace::{Activations, BlockActivations, attn_dims};
use crate::attention::{AttnDropout, AttnOptions, Rows, attention_forward};
use crate::config::{EncoderConfig, Pooling};
use crate::dropout::Dropout;
use crate::gelu::gelu_forward;
use crate::layer_norm::layer_norm_forward;
use crate::layout::Affine;
use crate::linear::{linear_forward, linear_residual, mat_mut};
use crate::rng::mix;
use crate::simd::{add, add_assign, vectorize};

/// Where values are dropped: after the embedding, and after the two branches of each block.
#[derive(Clone, Copy)]
pub(crate) enum DropSite {
    Embedding,
    Attention(usize),
    Mlp(usize),
}

impl Encoder {
    /// The dropout at a place in this step; `None` when nothing is dropped.
    pub(crate) fn dropout(&self, seed: Option<u64>, site: DropSite) -> Option<Dropout> {
        let number = match site {
            DropSite::Embedding => 0,
            DropSite::Attention(block) => 2 * block as u64 + 1,
            DropSite::Mlp(block) => 2 * block as u64 + 2,
        };
        let rate = self.config.dropout;
        seed.filter(|_| rate > 0.0).map(|seed| Dropout::new(rate, seed, number))
    }

    /// The options of one window's attention in one block; `window` counts through the batch.
    pub(crate) fn attn_options(
        &self,
        seed: Option<u64>,
        block: usize,
        window: usize,
    ) -> AttnOptions<'_> {
        let rate = self.config.attention.dropout;
        // Beside the sites of `dropout`, which count from 0.
        let site = u64::MAX - block as u64;
        AttnOptions {
            scale: None,
            mask: self.config.attention.mask,
            key_mask: None,
            alibi: self.slopes.as_deref(),
            dropout: seed
                .filter(|_| rate > 0.0)
                .map(|seed| AttnDropout { rate, seed: mix(mix(seed, site), window as u64) }),
        }
    }

    /// Number of the chunk's first token row for the dropout masks: windows have numbers of their
    /// own in the batch, whatever lane they are in.
    pub(crate) fn drop_rows(&self, chunk: &Lane<'_>) -> impl Iterator<Item = u64> {
        let rows = self.config.tokens(self.config.seq_len) as u64;
        let first = chunk.first_window as u64;
        (0..chunk.lengths.len() as u64).map(move |w| (first + w) * rows)
    }

    /// Applies a dropout to token rows of `width` values.
    pub(crate) fn drop(
        &self,
        dropout: Option<Dropout>,
        chunk: &Lane<'_>,
        tokens: &[usize],
        x: &mut [f32],
    ) {
        let Some(dropout) = dropout else { return };
        let d = self.config.d_model;
        let mut rest = x;
        for (first_row, &seq) in self.drop_rows(chunk).zip(tokens) {
            let (window, others) = rest.split_at_mut(seq * d);
            dropout.apply(window, d, first_row);
            rest = others;
        }
    }

    /// Fills `acts` up to the logits.
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
        self.drop(self.dropout(seed, DropSite::Embedding), chunk, tokens, &mut x[0]);
        for i in 0..self.config.n_layers {
            self.forward_block(params, i, chunk, acts, seed);
        }
        let Activations { tokens, x, normed, stats, .. } = acts;
        // 3. pool and answer
        let last = &x[self.config.n_layers % x.len()];
        let norm = &self.slots.norm;
        layer_norm_forward(
            normed,
            stats,
            last,
            &params[norm.weight.clone()],
            &params[norm.bias.clone()],
        );
        pool(&self.config, tokens, normed, &mut acts.pooled);
        apply(params, &self.slots.head, &mut acts.logits, &acts.pooled);
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
                self.drop(dropout, chunk, tokens, branch);
            },
            dropout.is_some().then_some(&mut *branch),
        );
        // 2. the MLP branch
        let norm = &slots.norm2;
        layer_norm_forward(
            norm2,
            stats2,
            middle,
            &params[norm.weight.clone()],
            &params[norm.bias.clone()],
        );
        apply(params, &slots.fc1, hidden, norm2);
        gelu_forward(activated, hidden);
        let dropout = self.dropout(seed, DropSite::Mlp(i));
        add_branch(
            params,
            &slots.fc2,
            activated,
            middle,
            output,
            |branch| {
                self.drop(dropout, chunk, tokens, branch);
            },
            dropout.is_some().then_some(&mut *branch),
        );
    }

    /// `x = patches·W + b + positions`, the class token in front of each window.
    fn embed(&self, params: &[f32], tokens: &[usize], patches: &[f32], x: &mut [f32]) {
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
        let norm = &slots.norm1;
        layer_norm_forward(
            norm1,
            stats1,
            input,
            &params[norm.weight.clone()],
            &params[norm.bias.clone()],
        );
        apply(params, &slots.qkv, qkv, norm1);
        let mut row = 0;
        for (window, &seq) in (first_window..).zip(tokens) {
            let qkv = &mut qkv[row * width..(row + seq) * width];
            if let Some(rotary) = &self.rotary {
                // Queries and keys lie side by side, so they turn as the heads of one row.
                rotary.rotate(qkv, width, n_heads + self.config.n_kv_heads(), 0);
            }
            attention_forward(
                mat_mut(&mut attended[row * d..(row + seq) * d], seq, d),
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

/// `out = layer(x)`.
fn apply(params: &[f32], layer: &Affine, out: &mut [f32], x: &[f32]) {
    linear_forward(out, x, &params[layer.weight.clone()], &params[layer.bias.clone()]);
}

/// Cuts windows into patches, one a token; a class token gets an empty one.
fn cut_patches(config: &EncoderConfig, chunk: &Lane<'_>, patches: &mut [f32]) {
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

/// The mean of each window's tokens, its first, or its last.
fn pool(config: &EncoderConfig, tokens: &[usize], x: &[f32], pooled: &mut [f32]) {
    let d = config.d_model;
    let mut rest = x;
    for (pooled, &seq) in pooled.chunks_exact_mut(d).zip(tokens) {
        let (window, others) = rest.split_at(seq * d);
        rest = others;
        match config.pooling {
            Pooling::ClassToken => pooled.copy_from_slice(&window[..d]),
            Pooling::Last => pooled.copy_from_slice(&window[(seq - 1) * d..]),
            Pooling::Mean => vectorize(
                #[inline(always)]
                || {
                    pooled.fill(0.0);
                    for row in window.chunks_exact(d) {
                        for (p, &v) in pooled.iter_mut().zip(row) {
                            *p += v;
                        }
                    }
                    for p in pooled {
                        *p /= seq as f32;
                    }
                },
            ),
        }
    }
}
