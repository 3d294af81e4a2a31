//! What attention looks at: the probabilities of every head, and their rollout over the layers.

use super::batch::Batch;
use super::forward::fused;
use super::lanes::{run_lanes, split};
use super::model::Encoder;
use super::workspace::{Activations, Workspace, attn_dims};
use crate::attention::Problem;
use crate::attention::reference::weights;
use crate::config::Pooling;

impl Encoder {
    /// Attention probabilities of every layer and head, window after window; overwrites `out`.
    ///
    /// They are computed plainly, as the fused kernel never holds them: for people and tests, not for speed.
    /// A query that sees no key has zeros, as it has under the kernel.
    ///
    /// # Shapes
    /// `out`: of each window `[n_layers, n_heads, tokens, tokens]`, queries before keys, the class token, if
    /// there is one, first; [`Encoder::n_attention_weights`] counts all.
    ///
    /// # Panics
    /// If `params` or `out` has the wrong length.
    ///
    /// ```
    /// use attn_core::{Batch, Encoder, EncoderConfig, Workspace};
    ///
    /// let encoder = Encoder::new(EncoderConfig { seq_len: 9, ..EncoderConfig::default() })?;
    /// let window: Vec<f32> = (0..9).map(|t| (t as f32).sin()).collect();
    /// let batch = Batch::new(encoder.config(), &window, &[9])?;
    /// let mut weights = vec![0.0; encoder.n_attention_weights(&batch)];
    /// assert_eq!(weights.len(), 2 * 4 * 9 * 9); // layers, heads, tokens, tokens
    /// encoder.attention_weights(&encoder.init(1), &batch, &mut Workspace::new(1), &mut weights);
    /// assert!(weights.chunks(9).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    /// # Ok::<(), attn_core::DimsError>(())
    /// ```
    pub fn attention_weights(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        workspace: &mut Workspace,
        out: &mut [f32],
    ) {
        self.check(params, self.n_attention_weights(batch), out.len());
        let n_heads = self.config.n_heads;
        let size = |seq: usize| self.weights_of(seq);
        self.over_attention(params, batch, workspace, (out, size), |layer, problem, own| {
            let seq = problem.dims.seq_q;
            let of_layer = &mut own[layer * n_heads * seq * seq..][..n_heads * seq * seq];
            for (i, row) in of_layer.chunks_exact_mut(seq).enumerate() {
                for (out, p) in row.iter_mut().zip(weights(problem, i / seq, i % seq)) {
                    *out = p as f32;
                }
            }
        });
    }

    /// Attention rollout: how much of each token reaches the answer, when in each layer half of a token stays
    /// where it is and half goes the way of the mean over heads ([arXiv 2005.00928](https://arxiv.org/abs/2005.00928)):
    /// `r·Ã_L·…·Ã_1` with `Ã = Ā/2 + I/2`. `r` is what the head reads: `1/tokens` each under mean pooling, the
    /// class token, or the last token. Overwrites `out`.
    ///
    /// Of each window the values sum to 1, but for what queries lose that see no key. Memory grows with the
    /// number of tokens, not with its square.
    ///
    /// # Shapes
    /// `out`: `[n_tokens]`, window after window, see [`Encoder::n_tokens`].
    ///
    /// # Panics
    /// If `params` or `out` has the wrong length.
    ///
    /// ```
    /// use attn_core::{Batch, Encoder, EncoderConfig, Workspace};
    ///
    /// let encoder = Encoder::new(EncoderConfig { seq_len: 9, patch_len: 2, ..EncoderConfig::default() })?;
    /// let window: Vec<f32> = (0..9).map(|t| (t as f32).sin()).collect();
    /// let batch = Batch::new(encoder.config(), &window, &[9])?;
    /// let mut relevance = vec![0.0; encoder.n_tokens(&batch)]; // five patches, the last one padded
    /// encoder.attention_rollout(&encoder.init(1), &batch, &mut Workspace::new(1), &mut relevance);
    /// assert!((relevance.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    /// # Ok::<(), attn_core::DimsError>(())
    /// ```
    pub fn attention_rollout(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        workspace: &mut Workspace,
        out: &mut [f32],
    ) {
        self.check(params, self.n_tokens(batch), out.len());
        let (n_layers, n_heads) = (self.config.n_layers, self.config.n_heads);
        self.over_attention(params, batch, workspace, (out, |seq| seq), |layer, problem, own| {
            if layer + 1 == n_layers {
                read_out(self.config.pooling, own);
            }
            // From the last layer down a row is multiplied, so that no matrix is ever kept.
            let mut below: Vec<f64> = own.iter().map(|&r| 0.5 * f64::from(r)).collect();
            for (query, &above) in own.iter().enumerate().filter(|(_, r)| **r > 0.0) {
                let share = 0.5 * f64::from(above) / n_heads as f64;
                for head in 0..n_heads {
                    for (r, p) in below.iter_mut().zip(weights(problem, head, query)) {
                        *r += share * p;
                    }
                }
            }
            for (r, below) in own.iter_mut().zip(below) {
                *r = below as f32;
            }
        });
    }

    /// Values that [`Encoder::attention_weights`] fills for a batch: `Σ n_layers · n_heads · tokens²`.
    ///
    /// # Panics
    /// If there are more than memory has addresses.
    pub fn n_attention_weights(&self, batch: &Batch<'_>) -> usize {
        let mut sizes = batch.lengths.iter().map(|&len| self.weights_of(self.config.tokens(len)));
        sizes.try_fold(0, usize::checked_add).expect("attention weights beyond all memory")
    }

    fn weights_of(&self, seq: usize) -> usize {
        let per_row = (self.config.n_layers * self.config.n_heads).checked_mul(seq);
        let all = per_row.and_then(|values| values.checked_mul(seq));
        all.expect("attention weights beyond all memory")
    }

    /// Hands each window's attention to `fill`, from the last layer to the first, with the window's part of
    /// `out`, whose size follows from its number of tokens.
    fn over_attention(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        workspace: &mut Workspace,
        (mut out, size): (&mut [f32], impl Fn(usize) -> usize + Sync),
        fill: impl Fn(usize, &Problem<'_>, &mut [f32]) + Sync,
    ) {
        let config = &self.config;
        let sizes =
            |lengths: &[usize]| lengths.iter().map(|&len| size(config.tokens(len))).sum::<usize>();
        let mut lanes = Vec::new();
        for windows in split(config, batch) {
            let own = out.split_off_mut(..sizes(windows.lengths)).expect("the length was checked");
            lanes.push((windows, own));
        }
        run_lanes(&mut workspace.workers, lanes, |acts, (windows, mut out)| {
            for chunk in windows.chunks(config) {
                let of_chunk =
                    out.split_off_mut(..sizes(chunk.lengths)).expect("the length was checked");
                acts.prepare(config, chunk.lengths, true);
                self.forward_chunk(params, &chunk, acts, None);
                for layer in (0..config.n_layers).rev() {
                    if acts.blocks.len() == 1 && layer + 1 < config.n_layers {
                        // Its activations were not kept.
                        self.forward_block(params, layer, &chunk, acts, None);
                    }
                    self.each_window(acts, layer, |problem, before| {
                        let before = before.iter().map(|&seq| size(seq)).sum::<usize>();
                        let own = &mut of_chunk[before..][..size(problem.dims.seq_q)];
                        fill(layer, problem, own);
                    });
                }
            }
        });
    }

    /// Hands on the attention of one layer, window by window, with the numbers of tokens of those before it.
    fn each_window(
        &self,
        acts: &Activations,
        layer: usize,
        mut hand_on: impl FnMut(&Problem<'_>, &[usize]),
    ) {
        let (block, width) = (&acts.blocks[layer % acts.blocks.len()], self.config.qkv_width());
        let options = self.attn_options(None, layer, 0);
        let mut row = 0;
        for (window, &seq) in acts.tokens.iter().enumerate() {
            let qkv = fused(&block.qkv[row * width..(row + seq) * width], &self.config);
            let problem = Problem::new(qkv, attn_dims(&self.config, seq), &options);
            hand_on(&problem, &acts.tokens[..window]);
            row += seq;
        }
    }
}

/// What of each token the head reads.
fn read_out(pooling: Pooling, own: &mut [f32]) {
    let seq = own.len();
    own.fill(0.0);
    match pooling {
        Pooling::Mean => own.fill(1.0 / seq as f32),
        Pooling::ClassToken => own[0] = 1.0,
        Pooling::Last => own[seq - 1] = 1.0,
    }
}
