//! Training on what came back, beside what was before, in small pieces between which others come first.

use std::sync::Arc;

use anyhow::ensure;
use attn_core::{Batch, CrossEntropy, Workspace};
use monitor::Paired;
use optim::{Accumulator, AdamWConfig, OptimizerConfig, clip_by_global_norm};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::draw::Draw;
use super::example::Example;
use super::fitted::{HeldOut, refit};
use super::gate::{Answers, Gate};
use crate::checkpoint::{Checkpoint, Provenance};
use crate::diverged::Diverged;
use crate::windows::disturb;

/// Windows of a piece, after which others come first.
const PIECE: usize = 8;

/// The longest gradient of a step.
const CLIP: f32 = 1.0;

/// What is learned from.
#[derive(Debug, Clone, Default)]
pub struct Lesson {
    /// Windows of now, to train on.
    pub fresh: Vec<Arc<Example>>,
    /// Windows of now that are never trained on. Without any, those that are trained on stand for them.
    pub fresh_probe: Vec<Arc<Example>>,
    /// Windows of what was before, to train on.
    pub replay: Vec<Arc<Example>>,
    /// Windows of what was before that are never trained on.
    pub replay_probe: Vec<Arc<Example>>,
}

/// How it is learned.
#[derive(Debug, Clone, Copy)]
pub struct Teaching {
    /// The rate of every step. It is not that of the model's job: there it is 0 once the planned rounds are over.
    pub lr: f32,
    /// Steps of the optimizer, which is `AdamW` with its published defaults.
    pub steps: u64,
    /// Windows of a step, half of them of now and half of before.
    pub batch: usize,
    /// What is random is a function of it.
    pub seed: u64,
    /// Threads of the calling pool that work at a time; what is learned does not depend on it.
    pub threads: usize,
}

impl Default for Teaching {
    fn default() -> Self {
        Self { lr: 1e-3, steps: 500, batch: 32, seed: 0, threads: 1 }
    }
}

/// What was learned.
#[derive(Debug)]
pub struct Learned {
    /// The model, which comes from the one before.
    pub checkpoint: Checkpoint,
    /// Steps that were taken.
    pub steps: u64,
    /// Windows of now that were trained on.
    pub examples: usize,
    /// What it and the one before say of the probe set.
    pub gate: Gate,
    /// For how many windows of before and of now each was right; of now those that were set apart, if some were.
    pub tried: Paired,
}

/// Adapts a model, of whose file `base` is the hash, and measures it. Between two pieces `pause` is called; nothing
/// comes of it if that says that it is to end.
///
/// # Errors
/// If there is nothing to learn from, or the training diverges.
pub fn adapt(
    start: &Checkpoint,
    base: &str,
    lesson: &Lesson,
    teaching: Teaching,
    pause: &mut dyn FnMut() -> bool,
) -> anyhow::Result<Option<Learned>> {
    let Some(params) = trained(start, lesson, teaching, pause)? else { return Ok(None) };
    let fresh_was_trained_on = lesson.fresh_probe.is_empty();
    let fresh = if fresh_was_trained_on { &lesson.fresh } else { &lesson.fresh_probe };
    let mut answers =
        |params: &[f32], on: &[_]| Answers::of(&start.encoder, params, on, &mut *pause);
    let all = [
        answers(&start.params, &lesson.replay_probe)?,
        answers(&params, &lesson.replay_probe)?,
        answers(&start.params, fresh)?,
        answers(&params, fresh)?,
        answers(&start.params, &lesson.fresh)?,
        answers(&params, &lesson.fresh)?,
    ];
    let [
        Some(clean_before),
        Some(clean),
        Some(fresh_before),
        Some(now),
        Some(learned_before),
        Some(learned),
    ] = all
    else {
        return Ok(None);
    };
    let mut tried = Paired::default();
    let mut pair = |new: &[bool], old: &[bool]| {
        new.iter().zip(old).for_each(|(new, old)| tried.observe(*new, *old));
    };
    pair(&clean.rights, &clean_before.rights);
    // Where all few windows of now were trained on they say little, and are all there is: that the new model gives them another
    // class than the one before is what it was made for.
    pair(&now.rights, &fresh_before.rights);
    let gate = Gate {
        clean_before: clean_before.score,
        clean: clean.score,
        fresh_before: fresh_before.score,
        fresh: now.score,
        learned_before: learned_before.score,
        learned: learned.score,
        fresh_was_trained_on,
    };
    let classes = |examples: &[Arc<Example>]| examples.iter().map(|e| e.class).collect::<Vec<_>>();
    let mut held_out = HeldOut { logits: clean.logits, targets: classes(&lesson.replay_probe) };
    if !fresh_was_trained_on {
        held_out.logits.extend(now.logits);
        held_out.targets.extend(classes(fresh));
    }
    let mut checkpoint = start.clone();
    checkpoint.params = params;
    let of_now = lesson.fresh.iter().chain(&lesson.fresh_probe);
    refit(&mut checkpoint.meta, &held_out, of_now.map(|example| &**example));
    let shares = [("clean_accuracy", gate.clean.share()), ("fresh_accuracy", gate.fresh.share())];
    checkpoint.meta.set_provenance(Provenance {
        node: None,
        round: start.meta.provenance.round,
        base: Some(base.to_owned()),
        examples: lesson.fresh.len() as u64,
        local_steps: teaching.steps,
        partial: false,
        metrics: shares
            .into_iter()
            .filter_map(|(name, share)| Some((name.to_owned(), share?)))
            .collect(),
        merged: Vec::new(),
        merge: None,
    });
    let (steps, examples) = (teaching.steps, lesson.fresh.len());
    Ok(Some(Learned { checkpoint, steps, examples, gate, tried }))
}

/// The mean of the weights after each step of the second half: with a constant rate those after the last step are
/// where chance has brought them ([arXiv 1803.05407](https://arxiv.org/abs/1803.05407)).
fn trained(
    start: &Checkpoint,
    lesson: &Lesson,
    teaching: Teaching,
    pause: &mut dyn FnMut() -> bool,
) -> anyhow::Result<Option<Vec<f32>>> {
    let Teaching { lr, steps, batch, seed, threads } = teaching;
    let Lesson { fresh, replay, .. } = lesson;
    ensure!(!fresh.is_empty(), "no labelled window to learn from");
    ensure!(batch >= 2 && steps > 0 && lr > 0.0 && lr.is_finite(), "no step can be taken so");
    let encoder = &start.encoder;
    let config = start.meta.run.train();
    let groups = start.param_groups()?;
    let optimizer = OptimizerConfig::AdamW(AdamWConfig::default());
    let mut optimizer = optimizer.build_for(&groups)?;
    optimizer.set_threads(threads);
    let loss = CrossEntropy { class_weights: None, label_smoothing: config.label_smoothing };
    let mut params = start.params.clone();
    let (mut workspace, mut grads) = (Workspace::new(threads), vec![0.0; params.len()]);
    let mut sum = Accumulator::new(params.len());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let draw = Draw::new(fresh, replay);
    let mut mean = Mean::new(params.len());
    let (mut values, mut lengths, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    let channels = encoder.config().channels;
    let mut bad = 0;
    for step in 0..steps {
        let chosen = draw.some(batch, &mut random);
        for piece in chosen.chunks(PIECE) {
            if !pause() {
                return Ok(None);
            }
            values.clear();
            lengths.clear();
            targets.clear();
            for example in piece {
                let from = values.len();
                values.extend_from_slice(&example.values);
                disturb(&mut values[from..], channels, config.augment, &mut random);
                lengths.push(example.values.len() / channels);
                targets.push(example.class);
            }
            let piece = Batch::new(encoder.config(), &values, &lengths)?;
            let dropout = Some(random.random());
            loss.gradient(encoder, &params, &piece, &targets, dropout, &mut workspace, &mut grads);
            sum.add(&grads, targets.len() as f64);
        }
        grads.copy_from_slice(sum.mean());
        sum.clear();
        groups.mask(&mut grads);
        if clip_by_global_norm(&mut grads, CLIP).is_finite() {
            optimizer.step(&mut params, &grads, lr);
            if step >= steps / 2 {
                mean.add(&params);
            }
            bad = 0;
            continue;
        }
        bad += 1;
        if bad == MOST_BAD {
            let message = format!("adapting diverged with the rate {lr}; give a smaller one");
            return Err(Diverged::new(message).into());
        }
    }
    mean.write(&mut params);
    if params.iter().any(|value| !value.is_finite()) {
        let message = format!("adapting diverged with the rate {lr}; give a smaller one");
        return Err(Diverged::new(message).into());
    }
    Ok(Some(params))
}

/// Steps in a row without a gradient that is finite.
const MOST_BAD: u32 = 10;

/// A mean of weights.
struct Mean {
    sums: Vec<f64>,
    n: u64,
}

impl Mean {
    fn new(n_params: usize) -> Self {
        Self { sums: vec![0.0; n_params], n: 0 }
    }

    fn add(&mut self, params: &[f32]) {
        self.n += 1;
        self.sums.iter_mut().zip(params).for_each(|(sum, value)| *sum += f64::from(*value));
    }

    /// Puts the mean in their place, if there is one.
    fn write(&self, params: &mut [f32]) {
        if self.n > 0 {
            let mean = self.sums.iter().map(|sum| (sum / self.n as f64) as f32);
            params.iter_mut().zip(mean).for_each(|(value, mean)| *value = mean);
        }
    }
}
