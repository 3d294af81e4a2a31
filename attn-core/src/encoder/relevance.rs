//! What of a window an answer is owed to: the gradient of its values, and integrated gradients.

use std::ops::AddAssign;

use super::batch::Batch;
use super::head::Answers;
use super::lanes::{Lane, run_lanes, split};
use super::model::Encoder;
use super::workspace::Workspace;

impl Encoder {
    /// The gradient of a loss with respect to the values of the windows, without dropout; overwrites `d_values`,
    /// and gives the sum of what the loss gave for each window. The loss is as in [`Encoder::gradient`].
    ///
    /// The bits do not depend on the workspace's number of threads.
    ///
    /// # Shapes
    /// `d_values`: `[Σ lengths, channels]`, as the values of the batch.
    ///
    /// # Panics
    /// If `params` or `d_values` has the wrong length, or the loss panics.
    pub fn input_gradient<R: Default + AddAssign + Send>(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        loss: impl Fn(usize, &[f32], &mut [f32]) -> R + Sync,
        workspace: &mut Workspace,
        d_values: &mut [f32],
    ) -> R {
        self.check(params, batch.values.len(), d_values.len());
        let windows = split(&self.config, batch);
        let Workspace { workers, lane_grads } = workspace;
        lane_grads.resize_with(windows.len().max(lane_grads.len()), Vec::new);
        let mut results: Vec<R> = windows.iter().map(|_| R::default()).collect();
        let mut rest = d_values;
        let mut lanes: Vec<(Lane<'_>, &mut Vec<f32>, &mut [f32], &mut R)> = Vec::new();
        for ((windows, grad), result) in windows.into_iter().zip(lane_grads).zip(&mut results) {
            let own = rest.split_off_mut(..windows.values.len()).expect("the length was checked");
            lanes.push((windows, grad, own, result));
        }
        run_lanes(workers, lanes, |acts, (windows, grad, mut d_values, result)| {
            // The way back passes the parameters' gradient, which nobody asks for.
            grad.clear();
            grad.resize(self.n_params(), 0.0);
            for chunk in windows.chunks(&self.config) {
                acts.prepare(&self.config, chunk.lengths, true);
                self.forward_chunk(params, &chunk, acts, None);
                self.answer(params, Answers::Windows, acts);
                *result += self.losses(Answers::Windows, chunk.first_window, &loss, acts);
                self.answer_backward(params, Answers::Windows, acts, grad);
                self.backward_chunk(params, &chunk, acts, None, grad);
                let own = d_values.split_off_mut(..chunk.values.len());
                let own = own.expect("the length was checked");
                self.values_backward(params, &chunk, &acts.d_x, &mut acts.patches, own);
            }
        });
        let mut sum = R::default();
        for result in results {
            sum += result;
        }
        sum
    }

    /// Integrated gradients of one output of each window, from a window of zeros
    /// ([arXiv 1703.01365](https://arxiv.org/abs/1703.01365)): `x · ∫₀¹ ∂f(αx)/∂x dα`, the integral by the
    /// midpoints of `steps` equal parts. Overwrites `relevance`.
    ///
    /// Zeros are the mean of every channel where values were scaled by a z-score. What all values are owed sums
    /// to `f(x) − f(0)`, up to the error of the integral, which falls with the square of `steps`. One window is
    /// handled at a time, its parts on the workspace's threads; the bits do not depend on their number.
    ///
    /// # Shapes
    /// `outputs`: one for each window, below the number of outputs; `relevance`: `[Σ lengths, channels]`.
    ///
    /// # Panics
    /// If a length is wrong, an output is none of the model's, or `steps` is 0.
    ///
    /// ```
    /// use attn_core::{Batch, Encoder, EncoderConfig, Workspace};
    ///
    /// let encoder = Encoder::new(EncoderConfig { seq_len: 9, ..EncoderConfig::default() })?;
    /// let (params, mut workspace) = (encoder.init(1), Workspace::new(1));
    /// let window: Vec<f32> = (0..9).map(|t| (t as f32).sin()).collect();
    /// let batch = Batch::new(encoder.config(), &window, &[9])?;
    /// let mut relevance = [0.0; 9];
    /// encoder.integrated_gradients(&params, &batch, &[1], 32, &mut workspace, &mut relevance);
    ///
    /// let both = [window.clone(), vec![0.0; 9]].concat();
    /// let mut logits = [0.0; 4];
    /// let batch = Batch::new(encoder.config(), &both, &[9, 9])?;
    /// encoder.forward(&params, &batch, &mut workspace, &mut logits);
    /// let owed = logits[1] - logits[3];
    /// assert!((relevance.iter().sum::<f32>() - owed).abs() < 0.01 * owed.abs());
    /// # Ok::<(), attn_core::DimsError>(())
    /// ```
    pub fn integrated_gradients(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        outputs: &[u32],
        steps: usize,
        workspace: &mut Workspace,
        relevance: &mut [f32],
    ) {
        self.check(params, batch.values.len(), relevance.len());
        let (n_outputs, windows) = (self.config.task.n_outputs(), batch.len());
        assert_eq!(outputs.len(), windows, "encoder: outputs and windows differ in number");
        assert!(steps > 0, "encoder: integrated gradients in no steps");
        let (mut values, mut relevance) = (batch.values, relevance);
        let (mut points, mut d_points) = (Vec::new(), Vec::new());
        for (&len, &output) in batch.lengths.iter().zip(outputs) {
            let output = output as usize;
            assert!(output < n_outputs, "encoder: output {output} of {n_outputs}");
            let (window, others) = values.split_at(len * self.config.channels);
            let own = relevance.split_off_mut(..window.len()).expect("the length was checked");
            values = others;
            points.clear();
            for step in 0..steps {
                let share = (step as f32 + 0.5) / steps as f32;
                points.extend(window.iter().map(|x| share * x));
            }
            d_points.resize(points.len(), 0.0);
            let lengths = vec![len; steps];
            let way = Batch { values: &points, lengths: &lengths };
            let of_output = |_: usize, logits: &[f32], d_logits: &mut [f32]| {
                d_logits[output] = 1.0;
                f64::from(logits[output])
            };
            self.input_gradient(params, &way, of_output, workspace, &mut d_points);
            for (i, (out, x)) in own.iter_mut().zip(window).enumerate() {
                let along = d_points.iter().skip(i).step_by(window.len());
                let mean = along.map(|&d| f64::from(d)).sum::<f64>() / steps as f64;
                *out = (f64::from(*x) * mean) as f32;
            }
        }
    }
}
