//! `[model]`: the attention model, but for what follows from the data.

use attn_core::{AttentionConfig, EncoderConfig, Pooling, Positions, Task};
use serde::{Deserialize, Serialize};

/// `[model]`: sizes and choices that do not follow from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Time steps that form one token.
    pub patch_len: usize,
    /// Width of a token.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Width of each block's MLP.
    pub d_ff: usize,
    /// Share of values dropped in training.
    pub dropout: f32,
    /// `learned`, `sinusoidal`, `rotary` or `alibi`.
    pub positions: Positions,
    /// `mean`, `class-token` or `last`.
    pub pooling: Pooling,
    /// Which tokens see which: `{ mask = "causal" }`, `{ mask = { sliding-window = { left = 31,
    /// right = 0 } } }`; `n_kv_heads` for heads that share keys; `dropout` of probabilities.
    #[serde(skip_serializing_if = "is_plain")]
    pub attention: AttentionConfig,
}

/// Plain attention is not written, so that files stay as they were before there was a choice.
fn is_plain(attention: &AttentionConfig) -> bool {
    *attention == AttentionConfig::default()
}

impl Default for ModelConfig {
    /// A model of about 70,000 parameters that a small board trains.
    fn default() -> Self {
        let encoder = EncoderConfig::default();
        Self {
            patch_len: encoder.patch_len,
            d_model: encoder.d_model,
            n_heads: encoder.n_heads,
            n_layers: encoder.n_layers,
            d_ff: encoder.d_ff,
            dropout: encoder.dropout,
            positions: encoder.positions,
            pooling: encoder.pooling,
            attention: encoder.attention,
        }
    }
}

impl ModelConfig {
    /// The model for data of this schema.
    pub fn encoder(&self, channels: usize, seq_len: usize, n_classes: usize) -> EncoderConfig {
        EncoderConfig {
            channels,
            seq_len,
            patch_len: self.patch_len,
            d_model: self.d_model,
            n_heads: self.n_heads,
            n_layers: self.n_layers,
            d_ff: self.d_ff,
            dropout: self.dropout,
            positions: self.positions,
            pooling: self.pooling,
            attention: self.attention,
            task: Task::Classification { n_classes },
        }
    }
}

impl From<&EncoderConfig> for ModelConfig {
    /// The section that a model was made by.
    fn from(model: &EncoderConfig) -> Self {
        Self {
            patch_len: model.patch_len,
            d_model: model.d_model,
            n_heads: model.n_heads,
            n_layers: model.n_layers,
            d_ff: model.d_ff,
            dropout: model.dropout,
            positions: model.positions,
            pooling: model.pooling,
            attention: model.attention,
        }
    }
}
