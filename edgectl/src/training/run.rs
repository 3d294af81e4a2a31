//! The training loop.
//!
//! Everything random is a function of the seed, the node, the round and the step, so that a run
//! that goes on from its saved state does what it would have done without the break.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, bail};
use attn_core::{Batch, CrossEntropy, Precision, Workspace};
use optim::{Optimizer, clip_by_global_norm};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::state::{Position, State};
use super::{TrainOptions, TrainReport, metrics};
use crate::checkpoint::Checkpoint;
use crate::job::{ClassWeights, TrainConfig};
use crate::windows::{WindowBuffer, WindowSet};

/// Steps in a row with a gradient that is not finite before training gives up.
const MAX_SKIPPED_IN_A_ROW: u64 = 20;

/// Seconds between two saved states while all goes well.
const STATE_INTERVAL_S: u64 = 10;

/// One finished epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: u32,
    /// Mean training loss.
    pub loss: f64,
    /// Share of training windows answered right while training.
    pub accuracy: f64,
    /// Loss and accuracy on the held-out part.
    pub val: Option<(f64, f64)>,
}

/// Hears how training goes.
pub trait Progress {
    /// Before the first step: how many there will be, and how many a resumed run has behind it.
    fn begin(&mut self, steps: u64, done: u64);
    /// After each step.
    fn step(&mut self);
    /// After each epoch.
    fn epoch(&mut self, epoch: &Epoch);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: u64, _: u64) {}
    fn step(&mut self) {}
    fn epoch(&mut self, _: &Epoch) {}
}

/// A training run.
pub(super) struct Run<'a> {
    start: &'a Checkpoint,
    config: &'a TrainConfig,
    set: &'a WindowSet<'a>,
    held_out: Option<&'a WindowSet<'a>>,
    options: TrainOptions<'a>,
    loss: CrossEntropy,
    optimizer: Box<dyn Optimizer>,
    state: State,
    /// Seed of this node in this round.
    seed: u64,
    skipped_in_a_row: u64,
}

/// What a run leaves.
pub(super) struct Outcome {
    pub(super) params: Vec<f32>,
    pub(super) report: TrainReport,
    pub(super) train_metrics: BTreeMap<String, f64>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        start: &'a Checkpoint,
        set: &'a WindowSet<'a>,
        held_out: Option<&'a WindowSet<'a>>,
        options: TrainOptions<'a>,
    ) -> anyhow::Result<Self> {
        let config = &start.meta.train;
        let counts = set.class_counts(start.meta.classes.len());
        let class_weights = match config.class_weights {
            ClassWeights::Uniform => None,
            ClassWeights::Balanced => Some(balanced(&counts)),
        };
        let mut optimizer = config.optimizer.build(start.params.len())?;
        let mut state = State::fresh(start, set, options);
        if options.resume {
            let path = options.state.context("resume needs a place for its state")?;
            state = State::read(path, &state, optimizer.as_mut())?;
        }
        Ok(Self {
            start,
            config,
            set,
            held_out,
            options,
            loss: CrossEntropy { class_weights, label_smoothing: config.label_smoothing },
            optimizer,
            state,
            seed: node_seed(config.seed, options.node, start.meta.provenance.round),
            skipped_in_a_row: 0,
        })
    }

    fn steps_per_epoch(&self) -> usize {
        self.set.windows().len().div_ceil(self.config.batch)
    }

    /// Trains to the end, or until it is told to stop.
    pub(super) fn finish(mut self, progress: &mut dyn Progress) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let mut saved = Instant::now();
        let mut handled = 0;
        let mut workspace = Workspace::new(self.options.threads);
        let mut buffer = WindowBuffer::default();
        let mut grad = vec![0.0; self.start.params.len()];
        let mut order = Vec::new();
        let steps_per_epoch = self.steps_per_epoch();
        progress.begin(
            u64::from(self.config.epochs) * steps_per_epoch as u64,
            self.state.position.steps,
        );
        let mut stopped = None;
        'epochs: while self.state.position.epoch < self.config.epochs && !self.out_of_patience() {
            shuffle(&mut order, self.set.windows().len(), self.draw(0));
            while self.state.position.batch < steps_per_epoch {
                stopped = self.options.stop.now();
                if stopped.is_some() {
                    break 'epochs;
                }
                let first = self.state.position.batch * self.config.batch;
                let batch = &order[first..(first + self.config.batch).min(order.len())];
                let augment = (self.config.augment, self.draw(1));
                self.set.fill(batch.iter().copied(), Some(augment), &mut buffer);
                self.step(&buffer, &mut workspace, &mut grad)?;
                handled += batch.len();
                progress.step();
            }
            progress.epoch(&self.end_epoch());
            if saved.elapsed().as_secs() >= STATE_INTERVAL_S {
                self.save_state()?;
                saved = Instant::now();
            }
        }
        self.check_sound()?;
        self.save_state()?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(self.outcome(stopped, handled as f64 / seconds.max(1e-9)))
    }

    /// A seed for one use (0 to shuffle, 1 to augment, 2 for dropout) at the current position.
    fn draw(&self, purpose: u64) -> u64 {
        let at = if purpose == 0 {
            u64::from(self.state.position.epoch)
        } else {
            self.state.position.steps
        };
        mix(mix(self.seed, purpose), at)
    }

    /// The learning rate at the current position in the run, which a federation's rounds share.
    fn learning_rate(&self) -> f32 {
        // The round stands in a file: it may be any number.
        let per_round = u64::from(self.config.epochs).saturating_mul(self.steps_per_epoch() as u64);
        let before = u64::from(self.start.meta.provenance.round).saturating_mul(per_round);
        let total = u64::from(self.options.rounds).saturating_mul(per_round);
        let step = before.saturating_add(self.state.position.steps);
        (f64::from(self.config.lr) * self.config.schedule.factor(step, total)) as f32
    }

    /// One step of the optimizer; a gradient that is not finite is left out and counted.
    fn step(
        &mut self,
        buffer: &WindowBuffer,
        workspace: &mut Workspace,
        grad: &mut [f32],
    ) -> anyhow::Result<()> {
        let encoder = &self.start.encoder;
        let batch = Batch::new(encoder.config(), &buffer.values, &buffer.lengths)?;
        let dropout_seed = self.draw(2);
        let lr = self.learning_rate();
        let State { params, position, .. } = &mut self.state;
        let stats = encoder.gradient(
            params,
            &batch,
            &buffer.targets,
            &self.loss,
            Some(dropout_seed),
            workspace,
            grad,
        );
        let norm = clip_by_global_norm(grad, self.config.clip_norm.unwrap_or(f32::INFINITY));
        if norm.is_finite() && stats.loss.is_finite() {
            self.optimizer.step(params, grad, lr);
            self.skipped_in_a_row = 0;
        } else {
            position.skipped += 1;
            self.skipped_in_a_row += 1;
            if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW {
                bail!(
                    "the gradient was not finite {MAX_SKIPPED_IN_A_ROW} steps in a row (step {}); try a smaller [train] lr (now {}), clip_norm = 1.0, or a z-score step in [[preprocess]]",
                    position.steps,
                    self.config.lr
                );
            }
        }
        let n = buffer.lengths.len();
        position.steps += 1;
        position.batch += 1;
        if stats.loss.is_finite() {
            position.seen += n;
            position.correct += stats.correct;
            position.loss_sum += stats.loss * n as f64;
        }
        Ok(())
    }

    /// Closes the books of an epoch and looks at the held-out part.
    fn end_epoch(&mut self) -> Epoch {
        let position = &mut self.state.position;
        let seen = position.seen.max(1) as f64;
        let (loss, accuracy) = (position.loss_sum / seen, position.correct as f64 / seen);
        *position = Position {
            epoch: position.epoch + 1,
            steps: position.steps,
            skipped: position.skipped,
            last_loss: Some(loss),
            last_accuracy: Some(accuracy),
            best_epoch: position.best_epoch,
            best_val_loss: position.best_val_loss,
            ..Position::default()
        };
        let number = position.epoch;
        let val = self.held_out.map(|set| {
            let mut checkpoint = self.start.clone();
            checkpoint.params.clone_from(&self.state.params);
            let val = metrics(&checkpoint, set, Precision::F32, self.options.threads);
            let better = self.state.position.best_val_loss.is_none_or(|best| val.loss < best);
            if val.loss.is_finite() && better {
                self.state.position.best_val_loss = Some(val.loss);
                self.state.position.best_epoch = number;
                self.state.best.clone_from(&self.state.params);
            }
            (val.loss, val.accuracy)
        });
        Epoch { number, loss, accuracy, val }
    }

    fn out_of_patience(&self) -> bool {
        let position = &self.state.position;
        let since_best = position.epoch - position.best_epoch;
        self.config.patience.is_some_and(|patience| since_best > patience)
    }

    /// A run that diverged is an error, so that it does not replace a sound file.
    fn check_sound(&self) -> anyhow::Result<()> {
        let params = [&self.state.params, &self.state.best];
        let finite = params.iter().all(|params| params.iter().all(|p| p.is_finite()));
        let hopeless = self.held_out.is_some()
            && self.state.position.epoch > 0
            && self.state.position.best_val_loss.is_none();
        // One bad step at the end harms nothing, if the weights still give finite answers.
        let answers = || {
            let mut checkpoint = self.start.clone();
            checkpoint.params.clone_from(&self.state.params);
            metrics(&checkpoint, self.set, Precision::F32, self.options.threads).loss.is_finite()
        };
        if finite && !hopeless && (self.skipped_in_a_row == 0 || answers()) {
            return Ok(());
        }
        bail!(
            "training diverged after {} steps: weights, gradient or validation loss are not finite; try a smaller [train] lr (now {}), clip_norm = 1.0, or a z-score step in [[preprocess]]",
            self.state.position.steps,
            self.config.lr
        )
    }

    fn save_state(&self) -> anyhow::Result<()> {
        match self.options.state {
            Some(path) => self.state.write(path, self.optimizer.as_ref()),
            None => Ok(()),
        }
    }

    fn outcome(self, stopped: Option<&'static str>, samples_per_s: f64) -> Outcome {
        let position = &self.state.position;
        let params = if self.state.best.is_empty() { self.state.params } else { self.state.best };
        let val = self.held_out.map(|set| {
            let mut checkpoint = self.start.clone();
            checkpoint.params.clone_from(&params);
            metrics(&checkpoint, set, Precision::F32, self.options.threads)
        });
        let mut train_metrics = BTreeMap::new();
        for (name, value) in [
            ("loss", position.last_loss),
            ("accuracy", position.last_accuracy),
            ("val_loss", val.as_ref().map(|v| v.loss)),
            ("val_accuracy", val.as_ref().map(|v| v.accuracy)),
        ] {
            // JSON has no NaN.
            train_metrics.extend(value.filter(|v| v.is_finite()).map(|v| (name.to_owned(), v)));
        }
        let report = TrainReport {
            epochs: position.epoch,
            steps: position.steps,
            examples: self.set.windows().len(),
            samples_per_s,
            loss: position.last_loss,
            val,
            stopped: stopped.map(str::to_owned),
            skipped_steps: position.skipped,
        };
        Outcome { params, report, train_metrics }
    }
}

/// Weights inverse to the classes' numbers, 1 in the mean over the windows; a class without
/// windows weighs nothing, as it is never a target.
fn balanced(counts: &[usize]) -> Vec<f32> {
    let present = counts.iter().filter(|n| **n > 0).count().max(1);
    let total: usize = counts.iter().sum();
    counts
        .iter()
        .map(|&n| if n == 0 { 0.0 } else { (total as f64 / (present * n) as f64) as f32 })
        .collect()
}

/// The order of the windows in an epoch.
fn shuffle(order: &mut Vec<usize>, n: usize, seed: u64) {
    order.clear();
    order.extend(0..n);
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
}

/// The seed of a node in a round: nodes shuffle differently, and differently in each round.
fn node_seed(seed: u64, node: &str, round: u32) -> u64 {
    let name = node.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    mix(mix(seed, name), u64::from(round))
}

/// Mixes two numbers into a seed (the finaliser of `SplitMix64`).
fn mix(a: u64, b: u64) -> u64 {
    let mut z =
        a.rotate_left(32).wrapping_add(b.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_weights_count_every_class_alike() {
        let counts = [10, 30, 0];
        let weights = balanced(&counts);
        assert!((weights[0] * 10.0 - weights[1] * 30.0).abs() < 1e-5);
        assert!((weights[0] * 10.0 + weights[1] * 30.0 - 40.0).abs() < 1e-4);
        assert!(weights[2].abs() <= 0.0);
    }

    #[test]
    fn seeds_differ_by_node_and_round() {
        let seeds = [
            node_seed(1, "a", 0),
            node_seed(1, "b", 0),
            node_seed(1, "a", 1),
            node_seed(2, "a", 0),
        ];
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[i + 1..].iter().all(|b| a != b));
        }
    }
}
