//! Buffers of the passes; they grow to the largest chunk and are kept.

use crate::attention::{attention_backward_scratch, attention_forward_scratch};
use crate::config::EncoderConfig;
use crate::dims::AttnDims;

/// Memory for the passes of an [`Encoder`](crate::Encoder), reused from call to call.
///
/// It grows on first use and then stays: steps of the same size allocate nothing large. With more
/// than one thread the work runs in the calling rayon pool.
///
/// Each thread keeps the activations of one chunk, 128 tokens or one longer window: for a gradient
/// `3·d_model + n_layers·(6·d_model + 2·kv_width + 2·d_ff)` values a token, and about as much as
/// one block for what flows back. [`Workspace::recompute`] keeps one block instead of `n_layers`.
/// Each of up to 16 lanes has a gradient of the size of the model besides.
#[derive(Debug)]
pub struct Workspace {
    pub(crate) workers: Vec<Activations>,
    pub(crate) lane_grads: Vec<Vec<f32>>,
}

impl Workspace {
    /// A workspace for so many threads, at least one.
    pub fn new(threads: usize) -> Self {
        let workers = (0..threads.max(1)).map(|_| Activations::default()).collect();
        Self { workers, lane_grads: Vec::new() }
    }

    /// Keeps only the input of each block, and computes the block again in the backward pass
    /// ([arXiv 1604.06174](https://arxiv.org/abs/1604.06174)): less memory, more time (15 to 20 % on
    /// the models measured), the same bits.
    #[must_use]
    pub fn recompute(mut self) -> Self {
        for worker in &mut self.workers {
            worker.recompute = true;
        }
        self
    }

    /// Bytes held for activations and gradients of lanes.
    pub fn bytes(&self) -> usize {
        let floats = |buffers: &[Vec<f32>]| buffers.iter().map(Vec::capacity).sum::<usize>();
        let of_workers = self.workers.iter().map(Activations::floats).sum::<usize>();
        4 * (of_workers + floats(&self.lane_grads))
    }
}

/// What one block keeps for its backward pass; `rows` are the tokens of the chunk.
#[derive(Debug, Default)]
pub(crate) struct BlockActivations {
    pub(crate) norm1: Vec<f32>,         // (rows, d_model)
    pub(crate) stats1: Vec<(f32, f32)>, // (rows)
    pub(crate) qkv: Vec<f32>,           // (rows, qkv_width)
    pub(crate) softmax: Vec<f32>,       // per window (2, n_heads, tokens)
    pub(crate) attended: Vec<f32>,      // (rows, d_model)
    pub(crate) middle: Vec<f32>,        // (rows, d_model), after the attention branch
    pub(crate) norm2: Vec<f32>,         // (rows, d_model)
    pub(crate) stats2: Vec<(f32, f32)>, // (rows)
    pub(crate) hidden: Vec<f32>,        // (rows, d_ff), before GELU
    pub(crate) activated: Vec<f32>,     // (rows, d_ff)
}

/// Buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    /// Whether blocks are computed again in the backward pass.
    recompute: bool,
    /// Tokens of each window of the chunk.
    pub(crate) tokens: Vec<usize>,
    pub(crate) patches: Vec<f32>, // (rows, patch_width)
    /// Input of each block and output of the last; two that alternate without a backward pass.
    pub(crate) x: Vec<Vec<f32>>, // (rows, d_model) each
    pub(crate) blocks: Vec<BlockActivations>,
    pub(crate) normed: Vec<f32>, // (rows, d_model)
    pub(crate) stats: Vec<(f32, f32)>,
    pub(crate) pooled: Vec<f32>,   // (windows, d_model)
    pub(crate) logits: Vec<f32>,   // (windows or rows, n_outputs)
    pub(crate) d_logits: Vec<f32>, // as logits
    pub(crate) branch: Vec<f32>,   // (rows, d_model)
    pub(crate) scratch: Vec<f32>,
    pub(crate) d_x: Vec<f32>,      // (rows, d_model)
    pub(crate) d_normed: Vec<f32>, // (rows, d_model)
    pub(crate) d_hidden: Vec<f32>, // (rows, d_ff)
    pub(crate) d_qkv: Vec<f32>,    // (rows, qkv_width)
    pub(crate) d_pooled: Vec<f32>, // (windows, d_model)
}

impl Activations {
    /// Gives every buffer its length for windows of these lengths; only the first of its size
    /// allocates. Those of the answers get theirs with them.
    pub(crate) fn prepare(&mut self, config: &EncoderConfig, lengths: &[usize], backward: bool) {
        self.tokens.clear();
        self.tokens.extend(lengths.iter().map(|&len| config.tokens(len)));
        let rows: usize = self.tokens.iter().sum();
        let (d, d_ff) = (config.d_model, config.d_ff);
        let scratch =
            self.tokens.iter().map(|&seq| scratch(config, seq, backward)).max().unwrap_or(0);
        set(&mut self.patches, rows * config.patch_width());
        self.x.resize_with(if backward { config.n_layers + 1 } else { 2 }, Vec::new);
        for x in &mut self.x {
            set(x, rows * d);
        }
        let n_blocks = if backward && !self.recompute { config.n_layers } else { 1 };
        self.blocks.resize_with(n_blocks, Default::default);
        for block in &mut self.blocks {
            for buffer in
                [&mut block.norm1, &mut block.attended, &mut block.middle, &mut block.norm2]
            {
                set(buffer, rows * d);
            }
            set(&mut block.qkv, rows * config.qkv_width());
            set(&mut block.softmax, 2 * rows * config.n_heads);
            set(&mut block.hidden, rows * d_ff);
            set(&mut block.activated, rows * d_ff);
            set(&mut block.stats1, rows);
            set(&mut block.stats2, rows);
        }
        set(&mut self.normed, rows * d);
        set(&mut self.stats, rows);
        set(&mut self.branch, rows * d);
        set(&mut self.scratch, scratch);
        if backward {
            set(&mut self.d_x, rows * d);
            set(&mut self.d_normed, rows * d);
            set(&mut self.d_hidden, rows * d_ff);
            set(&mut self.d_qkv, rows * config.qkv_width());
        }
    }
}

impl Activations {
    /// Values held.
    fn floats(&self) -> usize {
        let of_block = |b: &BlockActivations| {
            let buffers = [
                &b.norm1,
                &b.qkv,
                &b.softmax,
                &b.attended,
                &b.middle,
                &b.norm2,
                &b.hidden,
                &b.activated,
            ];
            buffers.map(Vec::capacity).iter().sum::<usize>()
                + 2 * (b.stats1.capacity() + b.stats2.capacity())
        };
        let own = [
            &self.patches,
            &self.normed,
            &self.pooled,
            &self.logits,
            &self.d_logits,
            &self.branch,
            &self.scratch,
            &self.d_x,
            &self.d_normed,
            &self.d_hidden,
            &self.d_qkv,
            &self.d_pooled,
        ];
        own.map(Vec::capacity).iter().sum::<usize>()
            + self.x.iter().map(Vec::capacity).sum::<usize>()
            + self.blocks.iter().map(of_block).sum::<usize>()
            + 2 * self.stats.capacity()
    }
}

/// Sizes of one window's attention; the configuration was validated.
pub(crate) fn attn_dims(config: &EncoderConfig, seq: usize) -> AttnDims {
    AttnDims {
        seq_q: seq,
        seq_kv: seq,
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads(),
        head_dim: config.head_dim(),
    }
}

fn scratch(config: &EncoderConfig, seq: usize, backward: bool) -> usize {
    let dims = attn_dims(config, seq);
    let forward = attention_forward_scratch(dims, 1);
    if backward { forward.max(attention_backward_scratch(dims, 1)) } else { forward }
}

/// Gives a buffer its length; what is new is zero.
pub(crate) fn set<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) {
    buffer.resize(len, T::default());
}
