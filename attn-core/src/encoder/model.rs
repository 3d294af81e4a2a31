//! The model: its sizes, the names of its parameters, and the tables that are no parameters.

use super::init;
use super::sinusoid::sinusoid;
use crate::attention::{Rotary, alibi_slopes};
use crate::config::{EncoderConfig, Positions};
use crate::dims::DimsError;
use crate::layout::{Layout, Slots, lay_out};

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
/// use attn_core::{Batch, Encoder, EncoderConfig, Task, Workspace};
///
/// let encoder = Encoder::new(EncoderConfig {
///     channels: 3,
///     seq_len: 20,
///     task: Task::Classification { n_classes: 5 },
///     ..EncoderConfig::default()
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
    pub(super) config: EncoderConfig,
    pub(super) layout: Layout,
    pub(super) slots: Slots,
    /// `[tokens(seq_len), d_model]` for sinusoidal positions, else empty.
    pub(super) sinusoids: Vec<f32>,
    /// For rotary positions.
    pub(super) rotary: Option<Rotary>,
    /// `[n_heads]` for ALiBi.
    pub(super) slopes: Option<Vec<f32>>,
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

    /// Fresh parameters: linear layers from U(±1/√inputs), those of queries, keys and values as Glorot
    /// has them, unit norms, positions from sinusoids, the class token normal with deviation 0.02. The
    /// same seed gives the same bits.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        init::init(&self.layout, seed)
    }

    /// # Panics
    /// If the lengths differ from what the model has and the call expects.
    pub(super) fn check(&self, params: &[f32], expected: usize, found: usize) {
        assert_eq!(params.len(), self.n_params(), "encoder: parameters found and expected");
        assert_eq!(found, expected, "encoder: output values found and expected");
    }
}

/// [`sinusoid`] of every position and column.
fn sinusoids(positions: usize, d_model: usize) -> Vec<f32> {
    (0..positions * d_model).map(|i| sinusoid(i / d_model, i % d_model, d_model)).collect()
}
