//! The backward pass over one chunk: the steps of the forward pass, undone in reverse.

use super::Encoder;
use super::forward::{DropSite, fused};
use super::lanes::Lane;
use super::workspace::{Activations, BlockActivations, attn_dims};
use crate::attention::{Rows, attention_backward};
use crate::config::{EncoderConfig, Pooling};
use crate::dropout::Dropout;
use crate::gelu::gelu_backward;
use crate::layer_norm::layer_norm_backward;
use crate::layout::Affine;
use crate::linear::{linear_backward_input, linear_backward_params, mat_mut};
use crate::simd::{add_assign, vectorize};

impl Encoder {
    /// Adds the chunk's gradient to `grad`; `acts.logits` holds the gradient at the logits.
    pub(crate) fn backward_chunk(
        &self,
        params: &[f32],
        chunk: &Lane<'_>,
        acts: &mut Activations,
        seed: Option<u64>,
        grad: &mut [f32],
    ) {
        let config = &self.config;
        let Activations { tokens, x, d_x, d_normed, .. } = acts;
        // 3. head, pooling, last norm
        let head = &self.slots.head;
        layer_params(head, grad, &acts.logits, &acts.pooled);
        layer_input(params, head, &mut acts.d_pooled, &acts.logits);
        unpool(config, tokens, &acts.d_pooled, d_normed);
        d_x.fill(0.0);
        norm_backward(
            params,
            &self.slots.norm,
            grad,
            d_x,
            d_normed,
            (&x[config.n_layers], &acts.stats),
        );
        for (i, slots) in self.slots.blocks.iter().enumerate().rev() {
            if acts.blocks.len() == 1 && i + 1 < config.n_layers {
                // Its activations were not kept.
                self.forward_block(params, i, chunk, acts, seed);
            }
            let Activations {
                tokens,
                x,
                blocks,
                branch,
                d_x,
                d_normed,
                d_hidden,
                d_qkv,
                scratch,
                ..
            } = acts;
            let block = &blocks[i % blocks.len()];
            // 2. the MLP branch
            let dropout = self.dropout(seed, DropSite::Mlp(i));
            let d_branch = self.dropped(dropout, chunk, tokens, d_x, branch);
            layer_params(&slots.fc2, grad, d_branch, &block.activated);
            layer_input(params, &slots.fc2, d_hidden, d_branch);
            gelu_backward(d_hidden, &block.hidden);
            layer_params(&slots.fc1, grad, d_hidden, &block.norm2);
            layer_input(params, &slots.fc1, d_normed, d_hidden);
            norm_backward(
                params,
                &slots.norm2,
                grad,
                d_x,
                d_normed,
                (&block.middle, &block.stats2),
            );
            // 1. the attention branch
            let dropout = self.dropout(seed, DropSite::Attention(i));
            let d_branch = self.dropped(dropout, chunk, tokens, d_x, branch);
            layer_params(&slots.proj, grad, d_branch, &block.attended);
            // d_normed holds the gradient at the attention's output until its backward is done
            layer_input(params, &slots.proj, d_normed, d_branch);
            self.attend_backward(i, tokens, chunk, seed, block, (d_normed, d_qkv), scratch);
            layer_params(&slots.qkv, grad, d_qkv, &block.norm1);
            layer_input(params, &slots.qkv, d_normed, d_qkv);
            norm_backward(params, &slots.norm1, grad, d_x, d_normed, (&x[i], &block.stats1));
        }
        let Activations { tokens, patches, d_x, .. } = acts;
        self.drop(self.dropout(seed, DropSite::Embedding), chunk, tokens, d_x);
        self.embed_backward(grad, tokens, patches, d_x);
    }

    /// `d_qkv` from the gradient at the attention's output, window by window.
    #[expect(clippy::too_many_arguments, reason = "the parts of one block")]
    fn attend_backward(
        &self,
        index: usize,
        tokens: &[usize],
        chunk: &Lane<'_>,
        seed: Option<u64>,
        block: &BlockActivations,
        (d_attended, d_qkv): (&[f32], &mut [f32]),
        scratch: &mut [f32],
    ) {
        let config = &self.config;
        let (d, n_heads, width) = (config.d_model, config.n_heads, config.qkv_width());
        let mut row = 0;
        for (window, &seq) in (chunk.first_window..).zip(tokens) {
            let (narrow, wide) = (row * d..(row + seq) * d, row * width..(row + seq) * width);
            let (d_q, d_kv) = mat_mut(&mut d_qkv[wide.clone()], seq, width).split_at_col_mut(d);
            let (d_k, d_v) = d_kv.split_at_col_mut(config.kv_width());
            attention_backward(
                [d_q, d_k, d_v],
                Rows::new(&d_attended[narrow.clone()], d),
                Rows::new(&block.attended[narrow], d),
                &block.softmax[2 * row * n_heads..2 * (row + seq) * n_heads],
                fused(&block.qkv[wide.clone()], config),
                attn_dims(config, seq),
                &self.attn_options(seed, index, window),
                1,
                scratch,
            );
            if let Some(rotary) = &self.rotary {
                rotary.rotate_back(&mut d_qkv[wide], width, n_heads + config.n_kv_heads(), 0);
            }
            row += seq;
        }
    }

    /// The gradient behind a dropout: `d_x` itself where nothing is dropped.
    fn dropped<'b>(
        &self,
        dropout: Option<Dropout>,
        chunk: &Lane<'_>,
        tokens: &[usize],
        d_x: &'b [f32],
        branch: &'b mut Vec<f32>,
    ) -> &'b [f32] {
        if dropout.is_none() {
            return d_x;
        }
        branch.copy_from_slice(d_x);
        self.drop(dropout, chunk, tokens, branch);
        branch
    }

    fn embed_backward(&self, grad: &mut [f32], tokens: &[usize], patches: &[f32], d_x: &mut [f32]) {
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
}

/// Weight and bias of a layer, both inside `grad`: the bias follows the weight.
fn layer_params(layer: &Affine, grad: &mut [f32], d_out: &[f32], x: &[f32]) {
    let (d_weight, d_bias) =
        grad[layer.weight.start..layer.bias.end].split_at_mut(layer.weight.len());
    linear_backward_params(d_weight, d_bias, d_out, x);
}

fn layer_input(params: &[f32], layer: &Affine, d_x: &mut [f32], d_out: &[f32]) {
    linear_backward_input(d_x, d_out, &params[layer.weight.clone()], layer.bias.len());
}

fn norm_backward(
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

/// Spreads the gradient of the pooled vector over the tokens; overwrites `d_x`.
fn unpool(config: &EncoderConfig, tokens: &[usize], d_pooled: &[f32], d_x: &mut [f32]) {
    let d = config.d_model;
    let mut rest = d_x;
    for (d_pooled, &seq) in d_pooled.chunks_exact(d).zip(tokens) {
        let (window, others) = rest.split_at_mut(seq * d);
        rest = others;
        match config.pooling {
            Pooling::ClassToken => {
                window[..d].copy_from_slice(d_pooled);
                window[d..].fill(0.0);
            }
            Pooling::Last => {
                let (before, last) = window.split_at_mut((seq - 1) * d);
                before.fill(0.0);
                last.copy_from_slice(d_pooled);
            }
            Pooling::Mean => vectorize(
                #[inline(always)]
                || {
                    let share = 1.0 / seq as f32;
                    for row in window.chunks_exact_mut(d) {
                        for (o, &g) in row.iter_mut().zip(d_pooled) {
                            *o = g * share;
                        }
                    }
                },
            ),
        }
    }
}
