//! The gradient of a batch under a loss that the caller brings.

use std::ops::AddAssign;

use rayon::prelude::*;

use super::batch::Batch;
use super::head::Answers;
use super::lanes::{Lane, run_lanes, split};
use super::model::Encoder;
use super::workspace::{Activations, Workspace, set};

impl Encoder {
    /// The gradient of a loss over a batch, which the caller brings; overwrites `grad`, and gives
    /// the sum of what the loss gave for each window. [`CrossEntropy::gradient`] is this with its
    /// own loss.
    ///
    /// `dropout_seed` numbers the step and draws the dropout masks; `None` leaves dropout out.
    ///
    /// # The loss
    /// `loss(window, logits, d_logits)` is called once for each window of the batch, with its place
    /// there and its logits (`[n_outputs]`). It writes `∂L/∂logits` into `d_logits` (`[n_outputs]`,
    /// zeros beforehand) for the loss `L` of the *whole* batch: for a mean over windows it divides
    /// by their number. What it returns is summed: an `f64`, or any type of yours with the sum, the
    /// hits, ….
    ///
    /// Windows are handled side by side on the workspace's threads and in no order, hence `Fn` and
    /// `Sync`: a window's targets are looked up by its place. The sums are made in a fixed order, so
    /// that neither they nor the gradient depend on the number of threads in any bit.
    ///
    /// # Panics
    /// If `params` or `grad` has the wrong length, or the loss panics.
    ///
    /// ```
    /// use attn_core::{Batch, Encoder, EncoderConfig, Workspace};
    ///
    /// // The squared error of two outputs for each window.
    /// let encoder = Encoder::new(EncoderConfig { seq_len: 8, ..EncoderConfig::default() })?;
    /// let values: Vec<f32> = (0..8 + 5).map(|t| (t as f32).sin()).collect();
    /// let targets = [[1.0, -1.0], [0.5, 2.0]];
    /// let batch = Batch::new(encoder.config(), &values, &[8, 5])?;
    /// let squared = |window: usize, found: &[f32], d: &mut [f32]| {
    ///     let mut sum = 0.0;
    ///     for ((d, y), target) in d.iter_mut().zip(found).zip(targets[window]) {
    ///         *d = y - target;
    ///         sum += f64::from(*d).powi(2) / 2.0;
    ///     }
    ///     sum
    /// };
    /// let (mut params, mut grad) = (encoder.init(3), vec![0.0; encoder.n_params()]);
    /// let mut workspace = Workspace::new(1);
    /// let mut step = || {
    ///     let loss = encoder.gradient(&params, &batch, squared, None, &mut workspace, &mut grad);
    ///     params.iter_mut().zip(&grad).for_each(|(p, g)| *p -= 0.005 * g);
    ///     loss
    /// };
    /// let first = step();
    /// assert!((0..100).map(|_| step()).last() < Some(0.1 * first));
    /// # Ok::<(), attn_core::DimsError>(())
    /// ```
    ///
    /// [`CrossEntropy::gradient`]: crate::CrossEntropy::gradient
    pub fn gradient<R: Default + AddAssign + Send>(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        loss: impl Fn(usize, &[f32], &mut [f32]) -> R + Sync,
        dropout_seed: Option<u64>,
        workspace: &mut Workspace,
        grad: &mut [f32],
    ) -> R {
        self.check(params, self.n_params(), grad.len());
        self.over_lanes(Answers::Windows, params, batch, loss, dropout_seed, workspace, grad)
    }

    /// The same for a loss over the answers to tokens: `loss` gets all of a window's, the head
    /// applied to each token by itself (`[tokens, n_outputs]`, as
    /// [`Outputs::token_outputs`](crate::Outputs::token_outputs)), and writes their gradient. Tokens
    /// without a target keep the zeros. Pooling takes no part.
    ///
    /// # Panics
    /// As [`Encoder::gradient`].
    pub fn gradient_tokens<R: Default + AddAssign + Send>(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        loss: impl Fn(usize, &[f32], &mut [f32]) -> R + Sync,
        dropout_seed: Option<u64>,
        workspace: &mut Workspace,
        grad: &mut [f32],
    ) -> R {
        self.check(params, self.n_params(), grad.len());
        self.over_lanes(Answers::Tokens, params, batch, loss, dropout_seed, workspace, grad)
    }

    #[expect(clippy::too_many_arguments, reason = "those of `gradient`, and what it answers for")]
    fn over_lanes<R: Default + AddAssign + Send>(
        &self,
        answers: Answers,
        params: &[f32],
        batch: &Batch<'_>,
        loss: impl Fn(usize, &[f32], &mut [f32]) -> R + Sync,
        dropout_seed: Option<u64>,
        workspace: &mut Workspace,
        grad: &mut [f32],
    ) -> R {
        let dropout_seed = dropout_seed
            .filter(|_| self.config.dropout > 0.0 || self.config.attention_dropout() > 0.0);
        let windows = split(&self.config, batch);
        let Workspace { workers, lane_grads } = workspace;
        lane_grads.resize_with(windows.len().max(lane_grads.len()), Vec::new);
        let mut results: Vec<R> = windows.iter().map(|_| R::default()).collect();
        let lanes: Vec<(Lane<'_>, &mut Vec<f32>, &mut R)> = windows
            .into_iter()
            .zip(lane_grads.iter_mut())
            .zip(&mut results)
            .map(|((windows, grad), result)| (windows, grad, result))
            .collect();
        let n_lanes = lanes.len();
        run_lanes(workers, lanes, |acts, (windows, grad, result)| {
            grad.clear();
            grad.resize(self.n_params(), 0.0);
            for chunk in windows.chunks(&self.config) {
                acts.prepare(&self.config, chunk.lengths, true);
                self.forward_chunk(params, &chunk, acts, dropout_seed);
                self.answer(params, answers, acts);
                *result += self.losses(answers, chunk.first_window, &loss, acts);
                self.answer_backward(params, answers, acts, grad);
                self.backward_chunk(params, &chunk, acts, dropout_seed, grad);
            }
        });
        sum_lanes(grad, &lane_grads[..n_lanes], workers.len() > 1);
        let mut sum = R::default();
        for result in results {
            sum += result;
        }
        sum
    }

    /// Fills `acts.d_logits`, window by window; the sum of the losses.
    pub(super) fn losses<R: Default + AddAssign>(
        &self,
        answers: Answers,
        first_window: usize,
        loss: impl Fn(usize, &[f32], &mut [f32]) -> R,
        acts: &mut Activations,
    ) -> R {
        let n_outputs = self.config.task.n_outputs();
        let Activations { tokens, logits, d_logits, .. } = acts;
        set(d_logits, logits.len());
        d_logits.fill(0.0);
        let (mut logits, mut d_logits) = (logits.as_slice(), d_logits.as_mut_slice());
        let mut sum = R::default();
        for (window, &seq) in (first_window..).zip(&*tokens) {
            let rows = if answers == Answers::Tokens { seq } else { 1 };
            let (own, others) = logits.split_at(rows * n_outputs);
            let (d_own, d_others) = d_logits.split_at_mut(rows * n_outputs);
            sum += loss(window, own, d_own);
            (logits, d_logits) = (others, d_others);
        }
        sum
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
