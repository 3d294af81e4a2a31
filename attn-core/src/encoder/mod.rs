//! The encoder: patch embedding, pre-norm blocks, pooling, head; forward and backward.

mod backward;
mod forward;
mod init;
mod lanes;
mod workspace;

use rayon::prelude::*;

use crate::attention::{Rotary, alibi_slopes};
use crate::config::{EncoderConfig, Positions};
use crate::dims::DimsError;
use crate::layout::{Layout, Slots, lay_out};
use crate::loss::CrossEntropy;
use lanes::{Lane, run_lanes, split};

pub use workspace::Workspace;
pub(crate) use workspace::attn_dims;

/// Windows of one batch, one after the other: what padding would add is never stored or computed.
///
/// Logits and gradients are those of a padded batch with a key-padding mask and a mean over the
/// valid tokens.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    values: &'a [f32],
    lengths: &'a [usize],
}

impl<'a> Batch<'a> {
    /// Checks windows against a model.
    ///
    /// # Shapes
    /// `values`: `[Σ lengths, channels]`, row-major; `lengths`: time steps of each window.
    ///
    /// # Errors
    /// If there is no window, one is empty or longer than the model's `seq_len`, or the number of
    /// values is not `Σ lengths · channels`.
    pub fn new(
        config: &EncoderConfig,
        values: &'a [f32],
        lengths: &'a [usize],
    ) -> Result<Self, DimsError> {
        if lengths.is_empty() {
            return Err(DimsError::new("the batch holds no window"));
        }
        if let Some((i, len)) =
            lengths.iter().enumerate().find(|(_, len)| **len == 0 || **len > config.seq_len)
        {
            return Err(DimsError::new(format!(
                "window {i} has {len} steps, the model takes 1 to {}",
                config.seq_len
            )));
        }
        let expected = lengths.iter().sum::<usize>() * config.channels;
        if values.len() != expected {
            return Err(DimsError::new(format!(
                "the windows hold {} values, lengths and {} channels ask for {expected}",
                values.len(),
                config.channels
            )));
        }
        Ok(Self { values, lengths })
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no window; never true for a batch that was made.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
}

/// What a gradient pass saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepStats {
    /// Mean loss over the batch, weighted as the loss says.
    pub loss: f64,
    /// Windows whose largest logit was that of the target.
    pub correct: usize,
}

/// A transformer encoder for windows of a time series.
///
/// It owns sizes and names, not the weights: those are one flat vector that the caller keeps,
/// moves with an optimizer, averages or stores.
///
/// `x = patches·W + b + positions`; each block `x += proj(attention(norm1(x)))`, then
/// `x += fc2(gelu(fc1(norm2(x))))`; at last `head(pool(norm(x)))` (pre-norm,
/// [arXiv 2002.04745](https://arxiv.org/abs/2002.04745)).
///
/// ```
/// use attn_core::{
///     AttentionConfig, Batch, Encoder, EncoderConfig, Pooling, Positions, Task, Workspace,
/// };
///
/// let encoder = Encoder::new(EncoderConfig {
///     channels: 3, seq_len: 20, patch_len: 4, d_model: 16, n_heads: 2, n_layers: 1, d_ff: 32,
///     dropout: 0.0, positions: Positions::Learned, pooling: Pooling::Mean,
///     attention: AttentionConfig::default(),
///     task: Task::Classification { n_classes: 5 },
/// })?;
/// let params = encoder.init(42);
/// let windows = vec![0.5; (20 + 7) * 3];
/// let batch = Batch::new(encoder.config(), &windows, &[20, 7])?;
/// let mut logits = vec![0.0; 2 * 5];
/// encoder.forward(&params, &batch, &mut Workspace::new(1), &mut logits);
/// assert!(logits.iter().all(|l| l.is_finite()));
/// # Ok::<(), attn_core::DimsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Encoder {
    config: EncoderConfig,
    layout: Layout,
    slots: Slots,
    /// `[tokens(seq_len), d_model]` for sinusoidal positions, else empty.
    sinusoids: Vec<f32>,
    /// For rotary positions.
    rotary: Option<Rotary>,
    /// `[n_heads]` for ALiBi.
    slopes: Option<Vec<f32>>,
}

impl Encoder {
    /// A model of these sizes.
    ///
    /// # Errors
    /// As [`EncoderConfig::validate`].
    pub fn new(config: EncoderConfig) -> Result<Self, DimsError> {
        config.validate()?;
        let (layout, slots) = lay_out(&config);
        let n_positions = config.tokens(config.seq_len);
        let (mut table, mut rotary, mut slopes) = (Vec::new(), None, None);
        match config.positions {
            Positions::Learned => {}
            Positions::Sinusoidal => table = sinusoids(n_positions, config.d_model),
            Positions::Rotary => rotary = Some(Rotary::new(n_positions, config.head_dim())),
            Positions::Alibi => slopes = Some(alibi_slopes(config.n_heads)),
        }
        Ok(Self { config, layout, slots, sinusoids: table, rotary, slopes })
    }

    /// The sizes.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Names and places of the tensors in the flat vector.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// `[positions, d_model]`, empty unless positions are sinusoidal.
    pub(crate) fn sinusoids(&self) -> &[f32] {
        &self.sinusoids
    }

    /// Angles of rotary positions, slopes of ALiBi.
    pub(crate) fn tables(&self) -> (Option<Rotary>, Option<Vec<f32>>) {
        (self.rotary.clone(), self.slopes.clone())
    }

    /// Length of the flat vector.
    pub fn n_params(&self) -> usize {
        self.layout.n_params()
    }

    /// Fresh parameters: Xavier-uniform weights, zero biases, unit norms, positions and class
    /// token normal with deviation 0.02. The same seed gives the same bits.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        init::init(&self.layout, seed)
    }

    /// Logits of every window, without dropout; overwrites `logits`, `[windows, n_outputs]`.
    ///
    /// The bits do not depend on the workspace's number of threads.
    ///
    /// # Panics
    /// If `params` or `logits` have the wrong length.
    pub fn forward(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        workspace: &mut Workspace,
        logits: &mut [f32],
    ) {
        let n_outputs = self.config.task.n_outputs();
        self.check(params, batch.len() * n_outputs, logits.len());
        let mut rest = logits;
        let mut lanes = Vec::new();
        for windows in split(&self.config, batch) {
            let (own, others) = rest.split_at_mut(windows.lengths.len() * n_outputs);
            rest = others;
            lanes.push((windows, own));
        }
        run_lanes(&mut workspace.workers, lanes, |acts, (windows, logits)| {
            let mut done = 0;
            for chunk in windows.chunks(&self.config) {
                acts.prepare(&self.config, &chunk, false);
                self.forward_chunk(params, &chunk, acts, None);
                let n = chunk.lengths.len() * n_outputs;
                logits[done..done + n].copy_from_slice(&acts.logits[..n]);
                done += n;
            }
        });
    }

    /// Loss of a batch and its gradient; overwrites `grad`.
    ///
    /// `dropout_seed` numbers the step and draws the dropout masks; `None` leaves dropout out.
    /// The bits do not depend on the workspace's number of threads.
    ///
    /// # Panics
    /// If `params`, `grad` or `targets` have the wrong length, or a target is no class.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step takes just these, each a different thing"
    )]
    pub fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        targets: &[u32],
        loss: &CrossEntropy,
        dropout_seed: Option<u64>,
        workspace: &mut Workspace,
        grad: &mut [f32],
    ) -> StepStats {
        self.check(params, self.n_params(), grad.len());
        assert_eq!(batch.len(), targets.len(), "encoder: windows and targets differ in number");
        let normalizer = loss.normalizer(targets);
        let dropout_seed = dropout_seed
            .filter(|_| self.config.dropout > 0.0 || self.config.attention.dropout > 0.0);
        let windows = split(&self.config, batch);
        let Workspace { workers, lane_grads } = workspace;
        lane_grads.resize_with(windows.len().max(lane_grads.len()), Vec::new);
        let mut stats = vec![(0.0_f64, 0_usize); windows.len()];
        let lanes: Vec<(Lane<'_>, &mut Vec<f32>, &mut (f64, usize))> = windows
            .into_iter()
            .zip(lane_grads.iter_mut())
            .zip(&mut stats)
            .map(|((windows, grad), stats)| (windows, grad, stats))
            .collect();
        let n_lanes = lanes.len();
        run_lanes(workers, lanes, |acts, (windows, grad, stats)| {
            grad.clear();
            grad.resize(self.n_params(), 0.0);
            for chunk in windows.chunks(&self.config) {
                acts.prepare(&self.config, &chunk, true);
                self.forward_chunk(params, &chunk, acts, dropout_seed);
                let targets = &targets[chunk.first_window..][..chunk.lengths.len()];
                let (sum, correct) = self.loss_chunk(targets, loss, normalizer, acts);
                stats.0 += sum;
                stats.1 += correct;
                self.backward_chunk(params, &chunk, acts, dropout_seed, grad);
            }
        });
        sum_lanes(grad, &lane_grads[..n_lanes], workers.len() > 1);
        StepStats {
            loss: stats.iter().map(|s| s.0).sum::<f64>() / normalizer,
            correct: stats.iter().map(|s| s.1).sum(),
        }
    }

    /// Turns `acts.logits` into their gradient; returns the summed loss and the right answers.
    fn loss_chunk(
        &self,
        targets: &[u32],
        loss: &CrossEntropy,
        normalizer: f64,
        acts: &mut workspace::Activations,
    ) -> (f64, usize) {
        let mut sum = 0.0;
        let mut correct = 0;
        for (logits, &target) in
            acts.logits.chunks_exact_mut(self.config.task.n_outputs()).zip(targets)
        {
            let at_target = logits[target as usize];
            correct += usize::from(logits.iter().all(|&l| l <= at_target));
            sum += loss.loss_and_gradient(logits, target, normalizer);
        }
        (sum, correct)
    }

    fn check(&self, params: &[f32], expected: usize, found: usize) {
        assert_eq!(params.len(), self.n_params(), "encoder: parameters found and expected");
        assert_eq!(found, expected, "encoder: output values found and expected");
    }
}

/// `grad = Σ lanes`, each parameter in the order of the lanes.
fn sum_lanes(grad: &mut [f32], lanes: &[Vec<f32>], parallel: bool) {
    const PIECE: usize = 16 * 1024;
    let sum = |(piece, grad): (usize, &mut [f32])| {
        let range = piece * PIECE..piece * PIECE + grad.len();
        grad.copy_from_slice(&lanes[0][range.clone()]);
        for lane in &lanes[1..] {
            crate::simd::add_assign(grad, &lane[range.clone()]);
        }
    };
    if parallel && grad.len() > 4 * PIECE {
        grad.par_chunks_mut(PIECE).enumerate().for_each(sum);
    } else {
        grad.chunks_mut(PIECE).enumerate().for_each(sum);
    }
}

/// `sin(pos / 10000^(2i/d))` at column 2i, `cos` of the same at 2i + 1.
pub(crate) fn sinusoid(position: usize, column: usize, d_model: usize) -> f32 {
    let exponent = (column - column % 2) as f64 / d_model as f64;
    let angle = position as f64 / 10_000_f64.powf(exponent);
    (if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
}

/// [`sinusoid`] of every position and column.
fn sinusoids(positions: usize, d_model: usize) -> Vec<f32> {
    (0..positions * d_model).map(|i| sinusoid(i / d_model, i % d_model, d_model)).collect()
}
