//! Answers for a batch: of every window, and of every token.

use super::batch::Batch;
use super::head::Answers;
use super::lanes::{run_lanes, split};
use super::layers::apply;
use super::model::Encoder;
use super::workspace::Workspace;

/// What [`Encoder::forward_tokens`] fills. Windows lie one after the other, and so do the tokens of
/// a window: [`EncoderConfig::tokens`](crate::EncoderConfig::tokens) says how many it has, the class
/// token, if the model has one, first.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// `[windows, n_outputs]`, as [`Encoder::forward`] gives them.
    pub logits: &'a mut [f32],
    /// `[n_tokens, d_model]`: the tokens behind the last norm, which pooling and head read.
    pub states: &'a mut [f32],
    /// `[n_tokens, n_outputs]`: the head applied to every token by itself.
    pub token_outputs: &'a mut [f32],
}

impl<'a> Outputs<'a> {
    /// Cuts off so many values of each buffer.
    fn take(&mut self, [logits, states, token_outputs]: [usize; 3]) -> Outputs<'a> {
        let lengths = "the lengths were checked";
        Outputs {
            logits: self.logits.split_off_mut(..logits).expect(lengths),
            states: self.states.split_off_mut(..states).expect(lengths),
            token_outputs: self.token_outputs.split_off_mut(..token_outputs).expect(lengths),
        }
    }
}

impl Encoder {
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
        let out = Outputs { logits, states: &mut [], token_outputs: &mut [] };
        self.answers(params, batch, workspace, out, false);
    }

    /// Token states and the head's answer to every token, beside the logits of every window;
    /// without dropout. Overwrites all that `out` holds.
    ///
    /// The head is linear: under mean pooling a window's logits are the mean of its token outputs,
    /// otherwise they are those of its class token or last token. (Up to rounding.) Under a causal
    /// mask the output of token `t` does not depend on later ones.
    ///
    /// The bits do not depend on the workspace's number of threads.
    ///
    /// # Panics
    /// If `params` or a buffer has the wrong length; [`Encoder::n_tokens`] counts the rows.
    ///
    /// ```
    /// use attn_core::{Batch, Encoder, EncoderConfig, Outputs, Workspace};
    ///
    /// let encoder = Encoder::new(EncoderConfig { seq_len: 9, ..EncoderConfig::default() })?;
    /// let (params, d_model) = (encoder.init(1), encoder.config().d_model);
    /// let windows: Vec<f32> = (0..9 + 4).map(|t| (t as f32).sin()).collect();
    /// let batch = Batch::new(encoder.config(), &windows, &[9, 4])?;
    /// let n_tokens = encoder.n_tokens(&batch);
    /// let mut logits = vec![0.0; 2 * 2]; // two windows, two classes
    /// let (mut states, mut token_outputs) = (vec![0.0; n_tokens * d_model], vec![0.0; n_tokens * 2]);
    /// encoder.forward_tokens(
    ///     &params,
    ///     &batch,
    ///     &mut Workspace::new(1),
    ///     Outputs { logits: &mut logits, states: &mut states, token_outputs: &mut token_outputs },
    /// );
    /// let mean = token_outputs[..9 * 2].iter().step_by(2).sum::<f32>() / 9.0;
    /// assert!((mean - logits[0]).abs() < 1e-5);
    /// # Ok::<(), attn_core::DimsError>(())
    /// ```
    pub fn forward_tokens(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        workspace: &mut Workspace,
        out: Outputs<'_>,
    ) {
        self.answers(params, batch, workspace, out, true);
    }

    /// Tokens of all windows of a batch, class tokens included.
    pub fn n_tokens(&self, batch: &Batch<'_>) -> usize {
        batch.lengths.iter().map(|&len| self.config.tokens(len)).sum()
    }

    /// Runs the batch; without `per_token` the buffers of tokens are empty.
    fn answers(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        workspace: &mut Workspace,
        mut out: Outputs<'_>,
        per_token: bool,
    ) {
        let (d, n_outputs) = (self.config.d_model, self.config.task.n_outputs());
        // Values that windows of these lengths have in each buffer.
        let sizes = |lengths: &[usize]| {
            let tokens = lengths.iter().map(|&len| self.config.tokens(len)).sum::<usize>();
            let rows = if per_token { tokens } else { 0 };
            [lengths.len() * n_outputs, rows * d, rows * n_outputs]
        };
        let [logits, states, token_outputs] = sizes(batch.lengths);
        self.check(params, logits, out.logits.len());
        assert_eq!(out.states.len(), states, "encoder: values of token states");
        assert_eq!(out.token_outputs.len(), token_outputs, "encoder: values of token outputs");
        let mut lanes = Vec::new();
        for windows in split(&self.config, batch) {
            lanes.push((windows, out.take(sizes(windows.lengths))));
        }
        run_lanes(&mut workspace.workers, lanes, |acts, (windows, mut out)| {
            for chunk in windows.chunks(&self.config) {
                let own = out.take(sizes(chunk.lengths));
                acts.prepare(&self.config, chunk.lengths, false);
                self.forward_chunk(params, &chunk, acts, None);
                self.answer(params, Answers::Windows, acts);
                own.logits.copy_from_slice(&acts.logits);
                if per_token {
                    own.states.copy_from_slice(&acts.normed);
                    apply(params, &self.slots.head, own.token_outputs, &acts.normed);
                }
            }
        });
    }
}
