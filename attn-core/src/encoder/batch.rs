//! Windows of a batch, checked against a model.

use crate::config::EncoderConfig;
use crate::dims::DimsError;

/// Windows of one batch, one after the other: what padding would add is never stored or computed.
///
/// Logits and gradients are those of a padded batch with a key-padding mask and a mean over the
/// valid tokens.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    pub(super) values: &'a [f32],
    pub(super) lengths: &'a [usize],
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
