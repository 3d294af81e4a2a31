//! Answers while a window grows: one time step in, one answer out.

use super::{PackedLinear, Precision, Prepared};
use crate::attention::{Rotary, Scalars, Start, Strided, multiply};
use crate::config::{EncoderConfig, Pooling, Positions};
use crate::dims::DimsError;
use crate::encoder::{Encoder, sinusoid};
use crate::layer_norm::normalize;
use crate::simd::{LANES, add_assign, exp, sum_by, vectorize};
use crate::{Mask, attention::padded};

/// A causal model that takes one time step at a time and keeps the keys and values of the tokens
/// it has seen, so that a step costs one token and not a window.
///
/// After `n` steps the answer is that of the whole window of `n` steps, up to rounding. Under a
/// sliding window the keys lie in a ring and memory does not grow; such a stream has no end, unless
/// positions are learned. Pushing allocates nothing.
///
/// ```
/// use attn_core::{
///     AttentionConfig, Encoder, EncoderConfig, Mask, Pooling, Positions, Precision,
///     StreamPredictor, Task,
/// };
///
/// let mask = Mask::SlidingWindow { left: 15, right: 0 };
/// let encoder = Encoder::new(EncoderConfig {
///     seq_len: 64,
///     patch_len: 2,
///     positions: Positions::Rotary,
///     pooling: Pooling::Last,
///     attention: AttentionConfig { mask, ..AttentionConfig::default() },
///     task: Task::Classification { n_classes: 3 },
///     ..EncoderConfig::default()
/// })?;
/// let mut stream = StreamPredictor::new(&encoder, &encoder.init(1), Precision::F32)?;
/// assert!(stream.push(&[0.1])?.is_none()); // half a token
/// for _ in 0..1000 {
///     stream.push(&[0.2])?;
/// }
/// assert_eq!(stream.push(&[0.3])?.map(<[f32]>::len), Some(3));
/// # Ok::<(), attn_core::DimsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct StreamPredictor {
    model: Prepared,
    /// Tokens seen since the start.
    tokens: usize,
    /// Tokens whose keys and values are kept.
    capacity: usize,
    /// Whether the stream ends after `capacity` tokens.
    bounded: bool,
    caches: Vec<Cache>,
    /// Angles of one position.
    angles: Option<Rotary>,
    /// Steps of the next token.
    patch: Vec<f32>,
    filled: usize,
    /// `Σ norm(x)` over the tokens, in f64 since a stream may be long.
    sum: Vec<f64>,
    buffers: Buffers,
    logits: Vec<f32>,
}

/// Keys and values of one block. A token's place is its number modulo the capacity.
#[derive(Debug, Clone)]
struct Cache {
    /// `[n_kv_heads, head_dim, capacity padded to vectors]`: tokens are lanes of the scores.
    keys: Vec<f32>,
    /// `[n_kv_heads, capacity, head_dim padded to vectors]`: columns are lanes of the output.
    values: Vec<f32>,
}

#[derive(Debug, Clone)]
struct Buffers {
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    /// `[heads of a group, capacity padded to vectors]`
    scores: Vec<f32>,
    /// `[heads of a group, head_dim padded to vectors]`
    heads: Vec<f32>,
    attended: Vec<f32>,
    hidden: Vec<f32>,
    weights: Vec<f32>,
}

impl StreamPredictor {
    /// Packs the parameters of a causal model.
    ///
    /// # Errors
    /// If queries see later keys: the answer to a step would change with the next one.
    ///
    /// # Panics
    /// If `params` has the wrong length.
    pub fn new(encoder: &Encoder, params: &[f32], precision: Precision) -> Result<Self, DimsError> {
        let model = Prepared::new(encoder, params, precision);
        let config = &model.config;
        if !config.attention.mask.is_causal() {
            return Err(DimsError::new(
                "a stream needs a causal model: attention with the mask causal or sliding-window with right 0",
            ));
        }
        let most = config.tokens(config.seq_len);
        let window = match config.attention.mask {
            Mask::SlidingWindow { left, .. } => left.saturating_add(1),
            Mask::None | Mask::Causal => usize::MAX,
        };
        let capacity = window.min(most);
        let bounded = window > most || config.positions == Positions::Learned;
        let (head_dim, kv_heads) = (config.head_dim(), config.n_kv_heads());
        let (lanes, group) =
            (capacity.next_multiple_of(LANES), config.n_heads / config.n_kv_heads());
        let cache = Cache {
            keys: vec![0.0; kv_heads * head_dim * lanes],
            values: vec![0.0; kv_heads * capacity * padded(head_dim)],
        };
        let buffers = Buffers {
            x: vec![0.0; model.d_stride],
            normed: vec![0.0; model.d_stride],
            qkv: vec![0.0; model.blocks[0].qkv.stride],
            scores: vec![0.0; group * lanes],
            heads: vec![0.0; group * padded(head_dim)],
            attended: vec![0.0; model.d_stride],
            hidden: vec![0.0; model.blocks[0].fc1.stride],
            weights: vec![0.0; model.layers().map(PackedLinear::scratch).max().unwrap_or(0)],
        };
        Ok(Self {
            tokens: 0,
            capacity,
            bounded,
            caches: vec![cache; config.n_layers],
            angles: model.rotary.is_some().then(|| Rotary::new(1, head_dim)),
            patch: vec![0.0; config.patch_width()],
            filled: 0,
            sum: vec![0.0; config.d_model],
            buffers,
            logits: vec![0.0; model.head.stride],
            model,
        })
    }

    /// The model's sizes.
    pub fn config(&self) -> &EncoderConfig {
        &self.model.config
    }

    /// Forgets everything: the next step is the first of a window.
    pub fn reset(&mut self) {
        (self.tokens, self.filled) = (0, 0);
        self.sum.fill(0.0);
    }

    /// Takes one time step (`[channels]`). Gives the logits of the window so far whenever a token
    /// is complete, which is every `patch_len` steps.
    ///
    /// # Errors
    /// If the step has another number of channels, or the stream is longer than the model's
    /// `seq_len` where that is a limit; the state then stays as it was.
    pub fn push(&mut self, step: &[f32]) -> Result<Option<&[f32]>, DimsError> {
        let config = &self.model.config;
        if step.len() != config.channels {
            return Err(DimsError::new(format!(
                "the step has {} values, the model takes {} channels",
                step.len(),
                config.channels
            )));
        }
        if self.bounded && self.tokens == config.tokens(config.seq_len) {
            return Err(DimsError::new(format!(
                "the stream is longer than the model's {} steps; start again with reset, or use a sliding window shorter than that and positions that are not learned",
                config.seq_len
            )));
        }
        self.patch[self.filled..self.filled + step.len()].copy_from_slice(step);
        self.filled += step.len();
        if self.filled < self.patch.len() {
            return Ok(None);
        }
        self.filled = 0;
        self.add_token();
        self.answer();
        Ok(Some(&self.logits[..self.model.config.task.n_outputs()]))
    }

    /// Runs the last patch through all blocks; leaves its token in `x`.
    fn add_token(&mut self) {
        let Self { model, tokens, capacity, caches, angles, patch, buffers, .. } = self;
        let (config, stride) = (&model.config, model.d_stride);
        let t = *tokens;
        let Buffers { x, normed, qkv, scores, heads, attended, hidden, weights } = buffers;
        position(model, t, x);
        model.patch.multiply(x, Strided { values: patch, stride: patch.len() }, 1, &mut []);
        if let Some(angles) = angles {
            angles.set(0, t);
        }
        for (block, cache) in model.blocks.iter().zip(caches) {
            normalize(normed, x, config.d_model, stride);
            block.qkv.forward(qkv, Strided { values: normed, stride }, 1, weights);
            if let Some(angles) = angles {
                angles.rotate(qkv, block.qkv.stride, config.n_heads + config.n_kv_heads(), 0);
            }
            cache.insert(model, qkv, t % *capacity, *capacity);
            let seen = (t + 1).min(*capacity);
            for kv_head in 0..config.n_kv_heads() {
                let ring = Ring { kv_head, token: t, seen, capacity: *capacity };
                cache.attend(model, qkv, &ring, scores, heads, attended);
            }
            block.proj.add(x, Strided { values: attended, stride }, 1, weights);
            model.mlp(block, x, normed, hidden, weights);
        }
        *tokens += 1;
    }

    /// Pools and applies the head.
    fn answer(&mut self) {
        let Self { model, tokens, sum, buffers, logits, .. } = self;
        let (d, stride) = (model.config.d_model, model.d_stride);
        let Buffers { x, normed, .. } = buffers;
        normalize(normed, x, d, stride);
        if model.config.pooling == Pooling::Mean {
            for (sum, v) in sum.iter_mut().zip(normed.iter_mut()) {
                *sum += f64::from(*v);
                *v = (*sum / *tokens as f64) as f32;
            }
        }
        model.head.forward(logits, Strided { values: normed, stride }, 1, &mut []);
    }
}

/// What a token starts from: its position and the bias of the patch embedding.
fn position(model: &Prepared, token: usize, x: &mut [f32]) {
    let d = model.config.d_model;
    if model.config.positions == Positions::Sinusoidal && token >= model.n_positions() {
        x[d..].fill(0.0);
        for (column, v) in x[..d].iter_mut().enumerate() {
            *v = sinusoid(token, column, d);
        }
        add_assign(x, &model.patch_bias);
    } else {
        x.copy_from_slice(model.position(token));
    }
}

/// Which tokens a query of one key and value head sees.
struct Ring {
    kv_head: usize,
    token: usize,
    seen: usize,
    capacity: usize,
}

impl Cache {
    /// Writes the key and value of a token to its place.
    fn insert(&mut self, model: &Prepared, qkv: &[f32], place: usize, capacity: usize) {
        let (head_dim, d) = (model.config.head_dim(), model.config.d_model);
        let lanes = capacity.next_multiple_of(LANES);
        let kv_width = model.config.kv_width();
        let (keys, values) = (&qkv[d..d + kv_width], &qkv[d + kv_width..d + 2 * kv_width]);
        for (row, &key) in self.keys.chunks_exact_mut(lanes).zip(keys) {
            row[place] = key;
        }
        let of_heads = self.values.chunks_exact_mut(capacity * padded(head_dim));
        for (head, value) in of_heads.zip(values.chunks_exact(head_dim)) {
            head[place * padded(head_dim)..][..head_dim].copy_from_slice(value);
        }
    }

    /// Attention of the query heads that share one key and value head.
    fn attend(
        &self,
        model: &Prepared,
        qkv: &[f32],
        ring: &Ring,
        scores: &mut [f32],
        heads: &mut [f32],
        attended: &mut [f32],
    ) {
        let (config, seen) = (&model.config, ring.seen);
        let (head_dim, width) = (config.head_dim(), padded(config.head_dim()));
        let group = config.n_heads / config.n_kv_heads();
        let lanes = ring.capacity.next_multiple_of(LANES);
        let first = ring.kv_head * group;
        // 1. scores = q·kᵀ for the tokens seen
        multiply(
            scores,
            lanes,
            Start::Zero,
            Strided { values: &self.keys[ring.kv_head * head_dim * lanes..], stride: lanes },
            Strided { values: &qkv[first * head_dim..], stride: head_dim },
            Scalars::RowPerOutput,
            [group, head_dim, seen.next_multiple_of(LANES)],
        );
        // 2. softmax
        let scale = 1.0 / (head_dim as f32).sqrt();
        for (h, row) in scores.chunks_exact_mut(lanes).take(group).enumerate() {
            let slope = model.slopes.as_ref().map(|slopes| slopes[first + h]);
            softmax(&mut row[..seen], scale, slope, ring);
        }
        // 3. out = probabilities·v
        multiply(
            heads,
            width,
            Start::Zero,
            Strided { values: &self.values[ring.kv_head * ring.capacity * width..], stride: width },
            Strided { values: scores, stride: lanes },
            Scalars::RowPerOutput,
            [group, seen, width],
        );
        let out = attended[first * head_dim..].chunks_exact_mut(head_dim);
        for (out, head) in out.zip(heads.chunks_exact(width)) {
            out.copy_from_slice(&head[..head_dim]);
        }
    }
}

/// `exp(scale·score − slope·distance)` over its sum.
fn softmax(scores: &mut [f32], scale: f32, slope: Option<f32>, ring: &Ring) {
    let newest = ring.token % ring.capacity;
    vectorize(
        #[inline(always)]
        || {
            for (place, s) in scores.iter_mut().enumerate() {
                *s *= scale;
                if let Some(slope) = slope {
                    let turn = if place > newest { ring.capacity } else { 0 };
                    *s -= slope * (newest + turn - place) as f32;
                }
            }
            let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for s in scores.iter_mut() {
                *s = exp(*s - top);
            }
            let inverse = 1.0 / sum_by(scores.len(), |i| scores[i]);
            for s in scores {
                *s *= inverse;
            }
        },
    );
}
