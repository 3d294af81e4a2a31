//! The backward pass over one chunk: the steps of the forward pass, undone in reverse.

use super::drops::DropSite;
use super::forward::fused;
use super::lanes::Lane;
use super::layers::{layer_input, layer_params, norm_backward};
use super::model::Encoder;
use super::workspace::{Activations, BlockActivations, attn_dims};
use crate::attention::{Rows, RowsMut, attention_backward};
use crate::dropout::Dropout;
use crate::gelu::gelu_backward;

impl Encoder {
    /// Adds the chunk's gradient to `grad`; `acts.d_normed` holds that at the tokens behind the last
    /// norm.
    pub(crate) fn backward_chunk(
        &self,
        params: &[f32],
        chunk: &Lane<'_>,
        acts: &mut Activations,
        seed: Option<u64>,
        grad: &mut [f32],
    ) {
        let config = &self.config;
        let Activations { x, d_x, d_normed, .. } = acts;
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
            let dropout = self.dropout(seed, DropSite::Hidden(i));
            self.drop(dropout, chunk, tokens, self.config.d_ff, d_hidden);
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
            let (d_q, d_kv) = RowsMut::new(&mut d_qkv[wide.clone()], width).split_at_column(d);
            let (d_k, d_v) = d_kv.split_at_column(config.kv_width());
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
        self.drop(dropout, chunk, tokens, self.config.d_model, branch);
        branch
    }
}
