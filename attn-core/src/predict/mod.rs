//! Answers for one window at a time, as fast as the processor gives them.

mod packed;
mod prepared;
mod stream;
mod threads;

use crate::attention::{Problem, RowsMut, Strided, forward_rows, forward_rows_scratch};
use crate::config::{EncoderConfig, Pooling};
use crate::dims::DimsError;
use crate::encoder::{Encoder, attn_dims};
use crate::layer_norm::normalize;
use crate::simd::{LANES, scale_by, vectorize};

use packed::PackedLinear;
pub use packed::Precision;
use prepared::Prepared;
pub use stream::StreamPredictor;
use threads::{Share, Strides, awake, fetch, in_parallel};

/// Rows of a block of work: what a worker keeps of them fits a second-level cache.
const BLOCK: usize = 256;

/// Fewest operations of a window for each thread that takes part: with less, waking a thread
/// costs more than it brings.
const FLOPS_PER_THREAD: f64 = 4e6;

/// A model prepared for answers: weights packed once, norms and positions folded into them,
/// every buffer its own. [`Predictor::predict`] allocates nothing.
///
/// ```
/// use attn_core::{Encoder, EncoderConfig, Precision, Predictor, Task};
///
/// let encoder = Encoder::new(EncoderConfig {
///     channels: 3,
///     seq_len: 20,
///     task: Task::Classification { n_classes: 5 },
///     ..EncoderConfig::default()
/// })?;
/// let mut predictor = Predictor::new(&encoder, &encoder.init(42), Precision::F32, 1);
/// let logits = predictor.predict(&[0.5; 17 * 3])?;
/// assert!(logits.len() == 5 && logits.iter().all(|l| l.is_finite()));
/// # Ok::<(), attn_core::DimsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Predictor {
    model: Prepared,
    /// `[tokens, d_stride]`
    x: Vec<f32>,
    /// `[tokens, qkv stride]`, of one block and of the next
    qkv: [Vec<f32>; 2],
    workers: Vec<Worker>,
    /// The last patch of a window that ends inside it.
    last_patch: Vec<f32>,
    pooled: Vec<f32>,
    logits: Vec<f32>,
}

/// Buffers of one thread, for [`BLOCK`] rows.
#[derive(Debug, Clone)]
struct Worker {
    normed: Vec<f32>,
    attended: Vec<f32>,
    hidden: Vec<f32>,
    attention: Vec<f32>,
    weights: Vec<f32>,
}

impl Predictor {
    /// Packs the parameters of a model. With more than one thread a window that is large enough
    /// is shared out in the calling rayon pool; the bits are the same. That pool should carry
    /// nothing else while answers are urgent: a thread that waits for its part of a window takes
    /// whatever job the pool has, and the answer then waits for that job.
    ///
    /// # Panics
    /// If `params` has the wrong length.
    pub fn new(encoder: &Encoder, params: &[f32], precision: Precision, threads: usize) -> Self {
        let model = Prepared::new(encoder, params, precision);
        let config = &model.config;
        let (tokens, d_stride) = (config.tokens(config.seq_len), model.d_stride);
        let (block, qkv_stride) = (BLOCK.min(tokens), model.blocks[0].qkv.stride);
        let worker = Worker {
            normed: vec![0.0; block * d_stride],
            attended: vec![0.0; block * d_stride],
            hidden: vec![0.0; block * model.blocks[0].fc1.stride],
            attention: vec![0.0; forward_rows_scratch(attn_dims(config, tokens))],
            weights: vec![0.0; model.layers().map(PackedLinear::scratch).max().unwrap_or(0)],
        };
        Self {
            x: vec![0.0; tokens * d_stride],
            qkv: [(); 2].map(|()| vec![0.0; tokens * qkv_stride]),
            workers: vec![worker; threads.max(1)],
            last_patch: vec![0.0; config.patch_width()],
            pooled: vec![0.0; d_stride],
            logits: vec![0.0; model.head.stride],
            model,
        }
    }

    /// The model's sizes.
    pub fn config(&self) -> &EncoderConfig {
        &self.model.config
    }

    /// Bytes of the weights as they are kept.
    pub fn weight_bytes(&self) -> usize {
        self.model.layers().map(PackedLinear::bytes).sum()
    }

    /// Logits of one window (`[steps, channels]`), as [`Encoder::forward`] gives them up to
    /// rounding. Nothing is allocated.
    ///
    /// # Errors
    /// If the window is empty, longer than the model's `seq_len`, or has a part of a step.
    pub fn predict(&mut self, window: &[f32]) -> Result<&[f32], DimsError> {
        let Self { model, x, qkv, workers, last_patch, pooled, logits } = self;
        let config = &model.config;
        let steps = window.len() / config.channels;
        if steps == 0 || steps > config.seq_len || steps * config.channels != window.len() {
            return Err(DimsError::new(format!(
                "the window has {} values, the model takes 1 to {} steps of {} channels",
                window.len(),
                config.seq_len,
                config.channels
            )));
        }
        let tokens = config.tokens(steps);
        let x = &mut x[..tokens * model.d_stride];
        let qkv_stride = model.blocks[0].qkv.stride;
        let mut qkv = qkv.each_mut().map(|qkv| &mut qkv[..tokens * qkv_stride]);
        let wanted = (model.flops(tokens) / FLOPS_PER_THREAD) as usize;
        let n_workers = wanted.clamp(1, workers.len()).min(tokens.div_ceil(LANES));
        cut_last_patch(config, window, last_patch);
        awake(n_workers - 1, || {
            let [now, next] = &mut qkv;
            model.tokens(window, last_patch, x, [now, next], &mut workers[..n_workers]);
        });
        model.answer(x, tokens, &mut workers[0].normed, pooled, logits);
        Ok(&logits[..config.task.n_outputs()])
    }
}

impl Prepared {
    /// All blocks: fills `x` with the tokens behind the last one.
    fn tokens(
        &self,
        window: &[f32],
        last_patch: &[f32],
        x: &mut [f32],
        [mut now, mut next]: [&mut [f32]; 2],
        workers: &mut [Worker],
    ) {
        let (tokens, threaded) = (x.len() / self.d_stride, workers.len() > 1);
        let strides = Strides { x: self.d_stride, qkv: self.blocks[0].qkv.stride };
        let share = Share { first: 0, x: &mut *x, qkv: &mut *now };
        in_parallel(workers, strides, share, &|worker, share| {
            self.embed(window, last_patch, share.first, share.x);
            self.queries(0, share, worker);
        });
        for i in 0..self.config.n_layers {
            let share = Share { first: 0, x: &mut *x, qkv: &mut *next };
            in_parallel(workers, strides, share, &|worker, share| {
                if threaded {
                    fetch(now);
                }
                self.block(i, tokens, now, share.first, share.x, worker);
                if i + 1 < self.config.n_layers {
                    self.queries(i + 1, share, worker);
                }
            });
            std::mem::swap(&mut now, &mut next);
        }
    }

    /// Token rows from `first` on: patch embedding and positions, or the class token.
    fn embed(&self, window: &[f32], last_patch: &[f32], first: usize, x: &mut [f32]) {
        let (d_stride, width) = (self.d_stride, self.config.patch_width());
        for (t, row) in (first..).zip(x.chunks_exact_mut(d_stride)) {
            row.copy_from_slice(self.position(t));
        }
        let mut rows = x;
        let mut first_patch = first;
        if let Some(cls) = &self.cls_token {
            if first == 0 {
                let (row, rest) = rows.split_at_mut(d_stride);
                row.fill(0.0);
                row[..cls.len()].copy_from_slice(cls);
                rows = rest;
            } else {
                first_patch -= 1;
            }
        }
        let whole = window.len() / width;
        let last = first_patch + rows.len() / d_stride;
        let n = last.min(whole).saturating_sub(first_patch);
        let (of_whole, of_last) = rows.split_at_mut(n * d_stride);
        if n > 0 {
            let patches = Strided { values: &window[first_patch * width..], stride: width };
            self.patch.multiply(of_whole, patches, n, &mut []);
        }
        if !of_last.is_empty() {
            let patch = Strided { values: last_patch, stride: width };
            self.patch.multiply(of_last, patch, 1, &mut []);
        }
    }

    /// Queries, keys and values of a block for some token rows.
    fn queries(&self, block: usize, share: Share<'_>, worker: &mut Worker) {
        let (d, stride) = (self.config.d_model, self.d_stride);
        let layer = &self.blocks[block].qkv;
        let Share { first, x, qkv } = share;
        for (b, (x, qkv)) in
            x.chunks_mut(BLOCK * stride).zip(qkv.chunks_mut(BLOCK * layer.stride)).enumerate()
        {
            let rows = x.len() / stride;
            let normed = &mut worker.normed[..rows * stride];
            normalize(normed, x, d, stride);
            layer.forward(qkv, Strided { values: normed, stride }, rows, &mut worker.weights);
            if let Some(rotary) = &self.rotary {
                let heads = self.config.n_heads + self.config.n_kv_heads();
                rotary.rotate(qkv, layer.stride, heads, first + b * BLOCK);
            }
        }
    }

    /// One block for some token rows; `qkv` holds those of the whole window.
    fn block(
        &self,
        index: usize,
        tokens: usize,
        qkv: &[f32],
        first: usize,
        x: &mut [f32],
        worker: &mut Worker,
    ) {
        let (d, stride, block) = (self.config.d_model, self.d_stride, &self.blocks[index]);
        let options = self.options();
        let dims = attn_dims(&self.config, tokens);
        let problem = Problem::new(self.fused(qkv), dims, &options);
        for (b, x) in x.chunks_mut(BLOCK * stride).enumerate() {
            let (first, rows) = (first + b * BLOCK, x.len() / stride);
            let attended = &mut worker.attended[..rows * stride];
            let (out, _) = RowsMut::new(attended, stride).split_at_column(d);
            forward_rows(&problem, first..first + rows, out, &mut worker.attention);
            block.proj.add(x, Strided { values: attended, stride }, rows, &mut worker.weights);
            let Worker { normed, hidden, weights, .. } = worker;
            self.mlp(block, x, normed, hidden, weights);
        }
    }

    /// Pools the tokens of the last block and applies the head.
    fn answer(
        &self,
        x: &[f32],
        tokens: usize,
        normed: &mut [f32],
        pooled: &mut [f32],
        logits: &mut [f32],
    ) {
        let (d, stride) = (self.config.d_model, self.d_stride);
        match self.config.pooling {
            Pooling::ClassToken => normalize(pooled, &x[..stride], d, stride),
            Pooling::Last => normalize(pooled, &x[(tokens - 1) * stride..], d, stride),
            Pooling::Mean => {
                pooled.fill(0.0);
                for x in x.chunks(BLOCK.min(normed.len() / stride) * stride) {
                    let normed = &mut normed[..x.len()];
                    normalize(normed, x, d, stride);
                    add_rows(pooled, normed);
                }
                scale_by(pooled, 1.0 / tokens as f32);
            }
        }
        self.head.forward(logits, Strided { values: pooled, stride }, 1, &mut []);
    }
}

/// `sum += Σ rows`.
fn add_rows(sum: &mut [f32], rows: &[f32]) {
    vectorize(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(sum.len()) {
                for (s, &v) in sum.iter_mut().zip(row) {
                    *s += v;
                }
            }
        },
    );
}

/// The steps after the last whole patch, with zeros behind.
fn cut_last_patch(config: &EncoderConfig, window: &[f32], last: &mut [f32]) {
    let rest = &window[window.len() / config.patch_width() * config.patch_width()..];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()..].fill(0.0);
}
