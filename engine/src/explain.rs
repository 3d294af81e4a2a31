//! What in a window an answer is owed to: integrated gradients of every value, attention rollout of every step.

use anyhow::ensure;
use attn_core::{Batch, Encoder, Pooling, Workspace};

use crate::checkpoint::Checkpoint;
use crate::windows::{WindowBuffer, WindowSet};

/// Parts in which the way from zeros to a window is gone.
const PARTS: usize = 32;

/// Explains windows one after the other; memory does not grow with their number.
#[derive(Debug)]
pub struct Explainer<'a> {
    checkpoint: &'a Checkpoint,
    set: &'a WindowSet<'a>,
    workspace: Workspace,
    buffer: WindowBuffer,
    /// `[tokens]`
    rollout: Vec<f32>,
    found: Explained,
}

/// What one window's answer is owed to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explained {
    /// The window as the model sees it, `[steps, channels]`.
    pub values: Vec<f32>,
    /// What of the answer's logit each of these values is owed, `[steps, channels]`:
    /// [`Encoder::integrated_gradients`] from zeros. Below 0 it speaks against the answer.
    pub relevance: Vec<f32>,
    /// How much of the token of each step reaches the answer, `[steps]`: [`Encoder::attention_rollout`].
    pub attention: Vec<f32>,
}

impl<'a> Explainer<'a> {
    /// An explainer for the windows of a set.
    pub fn new(checkpoint: &'a Checkpoint, set: &'a WindowSet<'a>, threads: usize) -> Self {
        Self {
            checkpoint,
            set,
            workspace: Workspace::new(threads),
            buffer: WindowBuffer::default(),
            rollout: Vec::new(),
            found: Explained::default(),
        }
    }

    /// Explains why a window has a class for its answer.
    ///
    /// # Errors
    /// If what is found is not finite.
    ///
    /// # Panics
    /// If there is no such window or class, or the windows were cut for another model.
    pub fn window(&mut self, window: usize, class: usize) -> anyhow::Result<&Explained> {
        let Checkpoint { encoder, params, .. } = self.checkpoint;
        let Self { set, workspace, buffer, rollout, found, .. } = self;
        set.fill([window], None, buffer);
        let batch = Batch::new(encoder.config(), &buffer.values, &buffer.lengths)
            .expect("windows were cut for this model");
        let Explained { values, relevance, attention } = found;
        values.clone_from(&buffer.values);
        relevance.resize(values.len(), 0.0);
        let class = [u32::try_from(class).expect("a class")];
        encoder.integrated_gradients(params, &batch, &class, PARTS, workspace, relevance);
        rollout.resize(encoder.n_tokens(&batch), 0.0);
        encoder.attention_rollout(params, &batch, workspace, rollout);
        attention.clear();
        attention.extend((0..buffer.lengths[0]).map(|step| rollout[token_of(encoder, step)]));
        ensure!(
            relevance.iter().chain(&*attention).all(|value| value.is_finite()),
            "window {window}: what its answer is owed to is not finite: the training of the model diverged"
        );
        Ok(found)
    }
}

/// The token that a step is part of.
fn token_of(encoder: &Encoder, step: usize) -> usize {
    let config = encoder.config();
    step / config.patch_len + usize::from(config.pooling == Pooling::ClassToken)
}
