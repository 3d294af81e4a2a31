//! The training loop.
//!
//! Everything random is a function of the seed, the node, the round and the step, so that a run
//! that goes on from its saved state does what it would have done without the break.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context;
use attn_core::Precision;
use optim::{Optimizer, ParamGroups};

use super::calibration::Calibration;
use super::drift::Drift;
use super::gradient::{Draws, Gradients};
use super::options::TrainOptions;
use super::private::NoiseKey;
use super::progress::{Epoch, Progress};
use super::range_test::range_test;
use super::rates::Rates;
use super::report::{Outcome, PrivateReport, TrainReport, loss_rose};
use super::seeds::{mix, node_seed, shuffle};
use super::state::State;
use crate::checkpoint::Checkpoint;
use crate::diverged::Diverged;
use crate::evaluate::metrics;
use crate::interrupt::Reason;
use crate::job::{LearningRate, TrainConfig};
use crate::metrics::Metrics;
use crate::windows::WindowSet;

/// Seconds between two saved states while all goes well.
const STATE_INTERVAL_S: u64 = 10;

/// A training run.
pub(super) struct Fit<'a> {
    start: &'a Checkpoint,
    config: &'a TrainConfig,
    set: &'a WindowSet<'a>,
    held_out: Option<&'a WindowSet<'a>>,
    groups: &'a ParamGroups,
    drift: &'a Drift,
    options: TrainOptions<'a>,
    optimizer: Box<dyn Optimizer>,
    state: State,
    /// Passes over the windows.
    epochs: u32,
    /// Seed of this node in this round.
    seed: u64,
    /// Secrets of private training.
    noise: Option<NoiseKey>,
}

impl<'a> Fit<'a> {
    pub(super) fn new(
        start: &'a Checkpoint,
        set: &'a WindowSet<'a>,
        held_out: Option<&'a WindowSet<'a>>,
        groups: &'a ParamGroups,
        drift: &'a Drift,
        options: TrainOptions<'a>,
    ) -> anyhow::Result<Self> {
        let config = start.meta.run.train();
        let mut optimizer = config.optimizer.build_for(groups)?;
        optimizer.set_threads(options.threads);
        let mut state = State::fresh(start, set, options)?;
        if options.resume {
            let path = options.state.context("resume needs a place for its state")?;
            state = State::read(path, &state, optimizer.as_mut())?;
        }
        let seed = node_seed(config.seed, options.node, start.meta.provenance.round);
        let noise = config
            .private
            .map(|private| match private.insecure_seed {
                // Nodes and rounds differ: the same noise for all would not average out.
                Some(secret) => Ok(NoiseKey::seeded(mix(secret, seed))),
                None => NoiseKey::secret(options.state, options.resume),
            })
            .transpose()?;
        Ok(Self {
            start,
            config,
            set,
            held_out,
            groups,
            drift,
            options,
            optimizer,
            state,
            epochs: config.epochs.of(set.windows().len()),
            seed,
            noise,
        })
    }

    fn gradients(&self) -> Gradients<'a> {
        Gradients::new(self.start, self.set, self.groups, self.drift, self.options.threads)
    }

    fn steps_per_epoch(&self) -> usize {
        self.set.windows().len().div_ceil(self.config.windows_per_step())
    }

    /// The probability of a window to be in a private step.
    fn sampling_rate(&self) -> f64 {
        (self.config.windows_per_step() as f64 / self.set.windows().len() as f64).min(1.0)
    }

    /// Trains to the end, or until it is told to stop.
    pub(super) fn finish(mut self, progress: &mut dyn Progress) -> anyhow::Result<Outcome> {
        self.check_rates()?;
        if self.config.lr == LearningRate::Auto && self.state.position.chosen.is_none() {
            let seed = mix(self.seed, 3);
            let planned = u64::from(self.epochs) * self.steps_per_epoch() as u64;
            let gradients = self.gradients();
            let found =
                range_test(self.start, gradients, self.groups, self.options, seed, planned)?;
            progress.chosen(&found);
            self.state.position.chosen = Some(found);
        }
        let began = Instant::now();
        let mut saved = Instant::now();
        let (mut handled, mut taken) = (0, 0);
        let mut gradients = self.gradients();
        let (mut order, mut sampled) = (Vec::new(), Vec::new());
        let steps_per_epoch = self.steps_per_epoch();
        let per_step = self.config.windows_per_step();
        progress.begin(u64::from(self.epochs) * steps_per_epoch as u64, self.state.position.steps);
        let mut stopped = None;
        'epochs: while self.state.position.epoch < self.epochs && !self.out_of_patience() {
            let n_windows = self.set.windows().len();
            shuffle(&mut order, n_windows, self.draw(0));
            while self.state.position.batch < steps_per_epoch {
                stopped = self.options.stop.at_step(taken);
                taken += 1;
                if stopped.is_some() {
                    break 'epochs;
                }
                let mut windows = order.as_slice();
                if let Some(key) = &self.noise {
                    let rate = self.sampling_rate();
                    key.sample(self.state.position.steps, n_windows, rate, &mut sampled);
                    windows = &sampled;
                } else {
                    let first = self.state.position.batch * per_step;
                    windows = &windows[first..(first + per_step).min(n_windows)];
                }
                handled += windows.len();
                self.step(windows, &mut gradients)?;
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
        if let Some(state) = self.options.state.filter(|_| stopped.is_none()) {
            NoiseKey::forget(state)?;
        }
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

    /// The learning rate that the schedule starts from.
    fn base_rate(&self) -> f32 {
        match (self.config.lr, &self.state.position.chosen) {
            (LearningRate::Fixed(lr), _) => lr,
            (LearningRate::Auto, chosen) => chosen.as_ref().map_or(f32::NAN, |test| test.lr),
        }
    }

    /// The learning rate at the current position in the run, which a federation's rounds share.
    fn learning_rate(&self) -> f32 {
        let position = &self.state.position;
        self.rates().at(position.steps, self.base_rate(), position.plateau.ratio())
    }

    fn rates(&self) -> Rates {
        let steps = u64::from(self.epochs).saturating_mul(self.steps_per_epoch() as u64);
        let round = self.start.meta.provenance.round;
        Rates::new(self.config.schedule, steps, round, self.options.rounds)
    }

    /// Refuses a run that would learn nothing. A later round of a simulation is none by itself: what
    /// the rounds before it learned is to be reported.
    fn check_rates(&self) -> anyhow::Result<()> {
        if self.options.state.is_none() && self.start.meta.provenance.round > 0 {
            return Ok(());
        }
        let base = match self.config.lr {
            LearningRate::Fixed(lr) => lr,
            // What will be found is above 0.
            LearningRate::Auto => 1.0,
        };
        self.rates().check(base * self.groups.largest_lr_scale())
    }

    /// One step of the optimizer; a gradient that is not finite is left out and counted.
    fn step(&mut self, windows: &[usize], gradients: &mut Gradients<'_>) -> anyhow::Result<()> {
        let draws = Draws { augment: self.draw(1), dropout: self.draw(2) };
        let (lr, base_rate) = (self.learning_rate(), self.base_rate());
        let State { params, position, .. } = &mut self.state;
        let (stats, norm, grads) = match &self.noise {
            None => gradients.of_step(params, windows, draws)?,
            Some(key) => gradients.of_private_step(params, windows, draws, key, position.steps)?,
        };
        // A private step is always taken: one that is left out would tell of a window.
        let finite = norm.is_finite() && (stats.loss.is_finite() || self.noise.is_some());
        let taken = position.guard.admit(finite).map_err(|_| {
            Diverged::new(format!(
                "the gradient was not finite {} steps in a row (step {}); try a smaller [train] lr (now {base_rate:?}), clip_norm = 1.0, or a z-score step in [[preprocess]]",
                position.guard.in_a_row, position.steps
            ))
        })?;
        if taken {
            self.optimizer.step(params, grads, lr);
        }
        let (least, most) = position.rates.unwrap_or((lr, lr));
        position.rates = Some((least.min(lr), most.max(lr)));
        position.steps += 1;
        position.batch += 1;
        if stats.loss.is_finite() {
            position.start_loss = position.start_loss.or(Some(stats.loss));
            position.seen += windows.len();
            position.correct += stats.correct;
            position.weight += stats.weight;
            position.loss_sum += stats.loss * stats.weight;
        }
        Ok(())
    }

    /// The weights to evaluate and ship.
    fn shipped(&self) -> Vec<f32> {
        let mut params = self.state.params.clone();
        self.optimizer.average(&mut params);
        params
    }

    /// Metrics of other weights than those it starts from.
    fn metrics(&self, params: &[f32], set: &WindowSet<'_>) -> Metrics {
        let mut checkpoint = self.start.clone();
        checkpoint.params.copy_from_slice(params);
        metrics(&checkpoint, set, Precision::F32, self.options.threads)
    }

    /// Closes the books of an epoch and looks at the held-out part.
    fn end_epoch(&mut self) -> Epoch {
        let position = &mut self.state.position;
        let (loss, accuracy) = position.close_epoch();
        let number = position.epoch;
        let val = self.held_out.map(|set| {
            let shipped = self.shipped();
            let val = self.metrics(&shipped, set);
            let better = self.state.position.best_val_loss.is_none_or(|best| val.loss < best);
            if val.loss.is_finite() && better {
                self.state.position.best_val_loss = Some(val.loss);
                self.state.position.best_epoch = number;
                if self.config.held_out_choose() {
                    self.state.best = shipped;
                }
            }
            (val.loss, val.accuracy)
        });
        if let Some(plateau) = self.config.schedule.plateau() {
            let chooses = val.filter(|_| self.config.held_out_choose());
            let watched = chooses.map_or(loss, |(loss, _)| loss);
            self.state.position.plateau.observe(&plateau, watched);
        }
        Epoch { number, planned: self.epochs, loss, accuracy, val }
    }

    fn out_of_patience(&self) -> bool {
        let position = &self.state.position;
        let since_best = position.epoch - position.best_epoch;
        // Rows that are held out to measure end nothing; a patience of 0 would end before any epoch.
        self.config.held_out_choose()
            && self.config.patience.is_some_and(|patience| since_best >= patience.max(1))
    }

    /// A run that diverged is an error, so that it does not replace a sound file.
    fn check_sound(&self) -> anyhow::Result<()> {
        let shipped = self.shipped();
        let params = [&self.state.params, &self.state.best, &shipped];
        let finite = params.iter().all(|params| params.iter().all(|p| p.is_finite()));
        let hopeless = self.held_out.is_some()
            && self.state.position.epoch > 0
            && self.state.position.best_val_loss.is_none();
        // One bad step at the end harms nothing, if the weights still give finite answers.
        let answers = || self.metrics(&shipped, self.set).loss.is_finite();
        if finite && !hopeless && (self.state.position.guard.in_a_row == 0 || answers()) {
            return Ok(());
        }
        let message = format!(
            "training diverged after {} steps: weights, gradient or validation loss are not finite; try a smaller [train] lr (now {:?}), clip_norm = 1.0, or a z-score step in [[preprocess]]",
            self.state.position.steps,
            self.base_rate()
        );
        Err(Diverged::new(message).into())
    }

    fn save_state(&self) -> anyhow::Result<()> {
        match self.options.state {
            Some(path) => self.state.write(path, self.optimizer.as_ref()),
            None => Ok(()),
        }
    }

    fn outcome(self, stopped: Option<Reason>, samples_per_s: f64) -> Outcome {
        let position = &self.state.position;
        let remembers = self.start.meta.run.node_side().remembers();
        let mean_lr = if remembers {
            self.rates().mean(position.steps, self.base_rate(), position.plateau.ratio())
        } else {
            0.0
        };
        let params =
            if self.state.best.is_empty() { self.shipped() } else { self.state.best.clone() };
        let found = self
            .held_out
            .map(|set| Calibration::on(set, self.start, &params, self.options.threads));
        let (val, calibration) = found.unzip();
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
        // The center merges by how well its model did on the node's rows.
        if self.start.meta.run.federation().rules.reduce.needs_losses() {
            let loss = metrics(self.start, self.set, Precision::F32, self.options.threads).loss;
            train_metrics.extend(loss.is_finite().then(|| ("start_loss".to_owned(), loss)));
        }
        if self.noise.is_some() {
            // Measured on the rows without privacy: they stay here.
            train_metrics.clear();
        }
        let private = self.config.private.map(|private| PrivateReport {
            unit: "window",
            sampling_rate: self.sampling_rate(),
            steps: position.steps,
            clip_norm: private.clip_norm,
            noise_multiplier: private.noise_multiplier,
        });
        let way = (position.start_loss, position.first_loss, position.last_loss);
        let report = TrainReport {
            epochs: position.epoch,
            planned_epochs: self.epochs,
            epochs_by_windows: false,
            steps: position.steps,
            examples: self.set.windows().len(),
            samples_per_s,
            trained_parameters: self.groups.n_trained(),
            lr: self.base_rate(),
            lr_min: position.rates.map(|(least, _)| least),
            lr_max: position.rates.map(|(_, most)| most),
            range_test: position.chosen.clone(),
            private,
            start_loss: position.start_loss,
            loss: position.last_loss,
            val,
            validation: None,
            // It would tell of windows without privacy.
            calibration: calibration
                .filter(|_| self.noise.is_none() && self.config.held_out_choose()),
            stopped,
            warnings: loss_rose("epoch", way).into_iter().collect(),
            skipped_steps: position.guard.skipped,
        };
        Outcome { params, report, train_metrics, mean_lr }
    }
}
