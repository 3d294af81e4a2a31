//! What a model looks like: sizes, positions, pooling, task.

use crate::attention::Mask;
use crate::dims::DimsError;

/// Most parameters a configuration may ask for (4 GiB of f32): a file that asks for more is wrong.
const MAX_PARAMETERS: usize = 1 << 30;

/// Most numbers of a table of positions (64 MiB). It is not among the parameters, so that no file's
/// size speaks for it.
const MAX_TABLE: usize = 1 << 24;

/// How a token knows its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Positions {
    /// A trained vector per position, `pos_embed` of shape `[n_positions, d_model]`.
    Learned,
    /// `sin(pos / 10000^(2i/d))` at even and `cos` at odd columns (arXiv 1706.03762, section 3.5).
    Sinusoidal,
    /// Queries and keys turn with their position (arXiv 2104.09864); needs an even head width.
    Rotary,
    /// Scores fall with the distance (arXiv 2108.12409).
    Alibi,
}

/// How the tokens of a window become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Pooling {
    /// The mean of the valid tokens.
    Mean,
    /// A trained token in front of the others (`cls_token`), read after the last block.
    ClassToken,
    /// The last token: under a causal mask the one that has seen the whole window.
    Last,
}

/// What the head answers. Regression, forecasting and detection will join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields))]
pub enum Task {
    /// One of `n_classes` classes per window; the head gives logits.
    Classification {
        /// Number of classes, at least 1.
        n_classes: usize,
    },
}

impl Task {
    /// Width of the head's output.
    pub fn n_outputs(&self) -> usize {
        match *self {
            Self::Classification { n_classes } => n_classes,
        }
    }
}

/// Which tokens see which, and how heads share keys; the default is plain attention.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields, default))]
pub struct AttentionConfig {
    /// Which keys a query sees.
    pub mask: Mask,
    /// Key and value heads, which divide `n_heads` (grouped queries, arXiv 2305.13245); `None` for
    /// as many as query heads.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub n_kv_heads: Option<usize>,
    /// Share of attention probabilities dropped in training; `None` for as many as
    /// [`EncoderConfig::dropout`] says.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub dropout: Option<f32>,
}

#[cfg(feature = "serde")]
impl AttentionConfig {
    /// Plain attention is not written, so that files stay as they were before there was a choice.
    fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Sizes and choices of an [`Encoder`](crate::Encoder).
///
/// Three fields say what the data is: `channels`, `seq_len` and `task`. The others have a default
/// that suits small data, see [`EncoderConfig::default`].
///
/// ```
/// use attn_core::{EncoderConfig, Task};
///
/// let config = EncoderConfig {
///     channels: 6,
///     seq_len: 200,
///     task: Task::Classification { n_classes: 4 },
///     patch_len: 8, // 25 tokens instead of 200
///     ..EncoderConfig::default()
/// };
/// config.validate()?;
/// # Ok::<(), attn_core::DimsError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct EncoderConfig {
    /// Values per time step.
    pub channels: usize,
    /// Most time steps in a window; shorter windows are welcome.
    pub seq_len: usize,
    /// Time steps that form one token; the last token of a window is padded with zeros.
    pub patch_len: usize,
    /// Width of a token.
    pub d_model: usize,
    /// Attention heads; must divide `d_model`.
    pub n_heads: usize,
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the hidden layer of each block's MLP.
    pub d_ff: usize,
    /// Share of values dropped in training, where `nn.TransformerEncoderLayer` of `PyTorch` drops them:
    /// attention probabilities, the MLP's hidden values, and the output of both residual branches.
    pub dropout: f32,
    /// How a token knows its place.
    pub positions: Positions,
    /// How tokens become one vector.
    pub pooling: Pooling,
    /// Which tokens see which.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "AttentionConfig::is_plain")
    )]
    pub attention: AttentionConfig,
    /// What the head answers.
    pub task: Task,
}

impl Default for EncoderConfig {
    /// A model of about 75,000 parameters that a small board trains: two blocks of width 64 with 4
    /// heads and 128 hidden values, a token for every step, learned positions, the mean of the
    /// tokens, a dropout of 0.1.
    ///
    /// It reads windows of up to 128 steps of 1 channel and tells 2 classes apart, which is to be
    /// replaced by what the data has: [`Batch::new`](crate::Batch::new) refuses windows that do not
    /// fit.
    fn default() -> Self {
        Self {
            channels: 1,
            seq_len: 128,
            patch_len: 1,
            d_model: 64,
            n_heads: 4,
            n_layers: 2,
            d_ff: 128,
            dropout: 0.1,
            positions: Positions::Learned,
            pooling: Pooling::Mean,
            attention: AttentionConfig::default(),
            task: Task::Classification { n_classes: 2 },
        }
    }
}

impl EncoderConfig {
    /// Checks every size against the others and against what a machine can hold.
    ///
    /// # Errors
    /// If a size is zero, `n_heads` does not divide `d_model` or `n_kv_heads` not `n_heads`,
    /// `patch_len` exceeds `seq_len`, a dropout is outside `[0, 1)`, rotary positions meet heads of
    /// odd width, a class token a causal mask, or the parameters would not fit.
    pub fn validate(&self) -> Result<(), DimsError> {
        let sizes = [
            ("channels", self.channels),
            ("seq_len", self.seq_len),
            ("patch_len", self.patch_len),
            ("d_model", self.d_model),
            ("n_heads", self.n_heads),
            ("n_layers", self.n_layers),
            ("d_ff", self.d_ff),
            ("the number of outputs of the task", self.task.n_outputs()),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(DimsError::new(format!("{name} must be at least 1, found 0")));
        }
        if !self.d_model.is_multiple_of(self.n_heads) {
            return Err(DimsError::new(format!(
                "n_heads must divide d_model, found n_heads {} and d_model {}",
                self.n_heads, self.d_model
            )));
        }
        if self.patch_len > self.seq_len {
            return Err(DimsError::new(format!(
                "patch_len must not exceed the window of {} steps, found {}",
                self.seq_len, self.patch_len
            )));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(DimsError::new(format!(
                "dropout must be at least 0 and below 1, found {}",
                self.dropout
            )));
        }
        if !(0.0..1.0).contains(&self.attention_dropout()) {
            return Err(DimsError::new(format!(
                "dropout of attention must be at least 0 and below 1, found {}",
                self.attention_dropout()
            )));
        }
        let n_kv_heads = self.n_kv_heads();
        if n_kv_heads == 0 || !self.n_heads.is_multiple_of(n_kv_heads) {
            return Err(DimsError::new(format!(
                "n_kv_heads must divide n_heads, found n_kv_heads {n_kv_heads} and n_heads {}",
                self.n_heads
            )));
        }
        if self.positions == Positions::Rotary && !self.head_dim().is_multiple_of(2) {
            return Err(DimsError::new(format!(
                "rotary positions need an even width of a head, found {} (d_model / n_heads)",
                self.head_dim()
            )));
        }
        if self.pooling == Pooling::ClassToken && self.attention.mask.is_causal() {
            return Err(DimsError::new(
                "a class token stands in front and sees nothing under a causal mask; use pooling mean or last",
            ));
        }
        if self.parameters().is_none_or(|n| n > MAX_PARAMETERS) {
            return Err(DimsError::new(format!(
                "the model would have more than {MAX_PARAMETERS} parameters; make d_model, d_ff, n_layers or seq_len smaller"
            )));
        }
        let has_table = matches!(self.positions, Positions::Sinusoidal | Positions::Rotary);
        if has_table && self.tokens(self.seq_len) * self.d_model > MAX_TABLE {
            return Err(DimsError::new(format!(
                "the table of positions would have more than {MAX_TABLE} numbers; make d_model or seq_len smaller, or patch_len larger"
            )));
        }
        Ok(())
    }

    /// Share of attention probabilities dropped in training.
    pub(crate) fn attention_dropout(&self) -> f32 {
        self.attention.dropout.unwrap_or(self.dropout)
    }

    /// Tokens of a window of `len` steps, without the class token: `ceil(len / patch_len)`.
    pub fn patches(&self, len: usize) -> usize {
        len.div_ceil(self.patch_len)
    }

    /// Tokens of a window of `len` steps, the class token included.
    pub fn tokens(&self, len: usize) -> usize {
        self.patches(len) + usize::from(self.pooling == Pooling::ClassToken)
    }

    /// Width of one head.
    pub fn head_dim(&self) -> usize {
        self.d_model / self.n_heads
    }

    /// Number of key and value heads.
    pub fn n_kv_heads(&self) -> usize {
        self.attention.n_kv_heads.unwrap_or(self.n_heads)
    }

    /// Width of the keys, and of the values, of a token.
    pub fn kv_width(&self) -> usize {
        self.n_kv_heads() * self.head_dim()
    }

    /// Width of queries, keys and values of a token together.
    pub fn qkv_width(&self) -> usize {
        self.d_model + 2 * self.kv_width()
    }

    /// Values in one patch, `patch_len * channels`.
    pub fn patch_width(&self) -> usize {
        self.patch_len * self.channels
    }

    /// Number of parameters, `None` where it overflows.
    fn parameters(&self) -> Option<usize> {
        let d = self.d_model;
        let linear = |inputs: usize, outputs: usize| inputs.checked_add(1)?.checked_mul(outputs);
        let block = [linear(d, d.checked_mul(3)?)?, linear(d, d)?, linear(d, self.d_ff)?]
            .into_iter()
            .chain([linear(self.d_ff, d)?, d.checked_mul(4)?])
            .try_fold(0usize, usize::checked_add)?;
        [
            linear(self.patch_len.checked_mul(self.channels)?, d)?,
            d,
            self.seq_len.div_ceil(self.patch_len).checked_add(1)?.checked_mul(d)?,
            block.checked_mul(self.n_layers)?,
            d.checked_mul(2)?,
            linear(d, self.task.n_outputs())?,
        ]
        .into_iter()
        .try_fold(0usize, usize::checked_add)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn small() -> EncoderConfig {
        EncoderConfig {
            channels: 2,
            seq_len: 7,
            patch_len: 2,
            d_model: 8,
            n_heads: 2,
            n_layers: 2,
            d_ff: 12,
            dropout: 0.0,
            positions: Positions::Learned,
            pooling: Pooling::Mean,
            attention: AttentionConfig::default(),
            task: Task::Classification { n_classes: 3 },
        }
    }

    #[test]
    fn wrong_sizes_are_errors_that_name_the_field() {
        let message = |change: fn(&mut EncoderConfig)| {
            let mut config = small();
            change(&mut config);
            config.validate().map_err(|e| e.to_string()).expect_err("must fail")
        };
        assert!(message(|c| c.d_model = 0).contains("d_model"));
        assert!(message(|c| c.n_heads = 3).contains("n_heads must divide"));
        assert!(message(|c| c.dropout = f32::NAN).contains("dropout"));
        assert!(message(|c| c.dropout = 1.0).contains("dropout"));
        assert!(message(|c| c.attention.n_kv_heads = Some(3)).contains("n_kv_heads"));
        assert!(message(|c| c.attention.n_kv_heads = Some(0)).contains("n_kv_heads"));
        assert!(message(|c| c.attention.dropout = Some(-0.1)).contains("attention"));
        let rotary = |c: &mut EncoderConfig| (c.positions, c.n_heads) = (Positions::Rotary, 8);
        assert!(message(rotary).contains("even"));
        assert!(message(|c| c.patch_len = 8).contains("patch_len"));
        assert!(message(|c| c.d_ff = usize::MAX / 2).contains("parameters"));
        let positions = |c: &mut EncoderConfig| {
            (c.positions, c.seq_len, c.patch_len) = (Positions::Sinusoidal, 100_000_000, 2);
        };
        assert!(message(positions).contains("table of positions"));
        assert!(message(|c| c.task = Task::Classification { n_classes: 0 }).contains("outputs"));
        assert_eq!(small().validate(), Ok(()));
        assert_eq!(EncoderConfig::default().validate(), Ok(()));
    }

    #[test]
    fn ragged_last_patch_counts_as_a_token() {
        let mut config = small();
        assert_eq!(config.tokens(7), 4);
        config.pooling = Pooling::ClassToken;
        assert_eq!(config.tokens(6), 4);
    }
}
