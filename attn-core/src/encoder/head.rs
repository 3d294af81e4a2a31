//! From the tokens behind the last norm to answers, and back: pooling and head.

use super::layers::{apply, layer_input, layer_params};
use super::model::Encoder;
use super::workspace::{Activations, set};
use crate::config::{EncoderConfig, Pooling};
use crate::simd::vectorize;

/// What the head answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// One answer a window, from its pooled tokens.
    Windows,
    /// One answer a token.
    Tokens,
}

impl Encoder {
    /// Fills `acts.logits` from `acts.normed`.
    pub(super) fn answer(&self, params: &[f32], answers: Answers, acts: &mut Activations) {
        let d = self.config.d_model;
        let Activations { tokens, normed, pooled, logits, .. } = acts;
        let read = match answers {
            Answers::Tokens => &*normed,
            Answers::Windows => {
                set(pooled, tokens.len() * d);
                pool(&self.config, tokens, normed, pooled);
                &*pooled
            }
        };
        set(logits, read.len() / d * self.config.task.n_outputs());
        apply(params, &self.slots.head, logits, read);
    }

    /// Adds the head's gradient to `grad` and fills `acts.d_normed`, both from `acts.d_logits`.
    pub(super) fn answer_backward(
        &self,
        params: &[f32],
        answers: Answers,
        acts: &mut Activations,
        grad: &mut [f32],
    ) {
        let head = &self.slots.head;
        let Activations { tokens, normed, pooled, d_logits, d_pooled, d_normed, .. } = acts;
        match answers {
            Answers::Tokens => {
                layer_params(head, grad, d_logits, normed);
                layer_input(params, head, d_normed, d_logits);
            }
            Answers::Windows => {
                set(d_pooled, pooled.len());
                layer_params(head, grad, d_logits, pooled);
                layer_input(params, head, d_pooled, d_logits);
                unpool(&self.config, tokens, d_pooled, d_normed);
            }
        }
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
