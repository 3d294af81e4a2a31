//! The state of a run beside its output: weights, optimizer and position, so that it can go on.

use std::path::{Path, PathBuf};

use aggregate::{Sidecar, TensorData, TensorRef};
use anyhow::{Context, ensure};
use optim::{Guard, Optimizer, Plateau, Schedule};
use serde::{Deserialize, Serialize};

use super::options::TrainOptions;
use super::range_test::{MOST_TRIAL_STEPS, RangeTest};
use crate::checkpoint::Checkpoint;
use crate::job::{Epochs, LearningRate};
use crate::windows::{Window, WindowSet};

/// What a run can go on from.
const STATE: Sidecar = Sidecar::new("state", 3);
/// More steps are not believed.
const MOST_STEPS: u64 = 1 << 48;
const OPTIMIZER_PREFIX: &str = "optimizer.";

/// `OUT.state`: not `.safetensors`, so that a pattern for updates does not match it.
pub fn state_path(out: &Path) -> PathBuf {
    STATE.path(out)
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Finished epochs.
    pub(super) epoch: u32,
    /// Finished steps of the epoch that runs.
    pub(super) batch: usize,
    /// Finished steps of the run.
    pub(super) steps: u64,
    /// Steps left out because of a gradient that was not finite.
    pub(super) guard: Guard,
    /// The learning rate a range test chose.
    pub(super) chosen: Option<RangeTest>,
    /// The account of a schedule that follows the loss.
    pub(super) plateau: Plateau,
    /// The smallest and the largest learning rate of all steps.
    #[serde(default)]
    pub(super) rates: Option<(f32, f32)>,
    /// Windows of the running epoch, and sums over them.
    pub(super) seen: usize,
    pub(super) correct: usize,
    /// Sum of the windows' weights in the loss.
    pub(super) weight: f64,
    pub(super) loss_sum: f64,
    /// Loss of the first step.
    #[serde(default)]
    pub(super) start_loss: Option<f64>,
    /// Loss of the first epoch.
    #[serde(default)]
    pub(super) first_loss: Option<f64>,
    /// Figures of the last finished epoch.
    pub(super) last_loss: Option<f64>,
    pub(super) last_accuracy: Option<f64>,
    /// The epoch with the best validation loss so far.
    pub(super) best_epoch: u32,
    pub(super) best_val_loss: Option<f64>,
}

impl Position {
    /// Goes on to the next epoch; the mean loss and the accuracy of the one that ends.
    pub(super) fn close_epoch(&mut self) -> (f64, f64) {
        let accuracy = self.correct as f64 / self.seen.max(1) as f64;
        let weight = if self.weight > 0.0 { self.weight } else { 1.0 };
        let loss = self.loss_sum / weight;
        *self = Self {
            epoch: self.epoch + 1,
            steps: self.steps,
            guard: self.guard,
            chosen: self.chosen.take(),
            plateau: self.plateau,
            rates: self.rates,
            start_loss: self.start_loss,
            first_loss: self.first_loss.or(Some(loss)),
            last_loss: Some(loss),
            last_accuracy: Some(accuracy),
            best_epoch: self.best_epoch,
            best_val_loss: self.best_val_loss,
            ..Self::default()
        };
        (loss, accuracy)
    }
}

/// All that a run needs to go on.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) params: Vec<f32>,
    /// Weights with the best validation loss; empty while there are none.
    pub(super) best: Vec<f32>,
    pub(super) position: Position,
    /// What must be the same for the run to be the same.
    fingerprint: String,
}

#[derive(Serialize, Deserialize)]
struct Note {
    fingerprint: String,
    position: Position,
    /// The optimizer's, without its tensors.
    optimizer: optim::State,
}

impl State {
    /// The state before the first step.
    pub(super) fn fresh(
        start: &Checkpoint,
        set: &WindowSet<'_>,
        options: TrainOptions<'_>,
    ) -> anyhow::Result<Self> {
        // Only a run that can be resumed needs to be recognised.
        let fingerprint = match options.state {
            Some(_) => fingerprint(start, set, options)?,
            None => String::new(),
        };
        Ok(Self {
            params: start.params.clone(),
            best: Vec::new(),
            position: Position::default(),
            fingerprint,
        })
    }

    pub(super) fn write(&self, path: &Path, optimizer: &dyn Optimizer) -> anyhow::Result<()> {
        let mut kept = optimizer.state();
        let memory = std::mem::take(&mut kept.tensors);
        let memory = memory.iter().map(|(name, v)| (format!("{OPTIMIZER_PREFIX}{name}"), v));
        let own = [("params", &self.params), ("best", &self.best)];
        let all: Vec<(String, &Vec<f32>)> =
            own.into_iter().map(|(name, v)| (name.to_owned(), v)).chain(memory).collect();
        let shapes: Vec<[usize; 1]> = all.iter().map(|(_, values)| [values.len()]).collect();
        let tensors: Vec<TensorRef<'_>> = all
            .iter()
            .zip(&shapes)
            .map(|((name, values), shape)| TensorRef { name, shape, data: TensorData::F32(values) })
            .collect();
        let note = Note {
            fingerprint: self.fingerprint.clone(),
            position: self.position.clone(),
            optimizer: kept,
        };
        STATE.write(path, &note, &tensors)?;
        Ok(())
    }

    /// Reads a saved state, which must belong to the same run as `fresh`.
    pub(super) fn read(
        path: &Path,
        fresh: &Self,
        optimizer: &mut dyn Optimizer,
    ) -> anyhow::Result<Self> {
        let shown = path.display();
        ensure!(
            path.exists(),
            "{shown}: there is no state to resume from; leave out --resume to start from the beginning"
        );
        let (file, mut note) = STATE.open::<Note>(path)?;
        ensure!(
            note.fingerprint == fresh.fingerprint,
            "{shown}: the state is of another run: start model, data, seed or [train] options differ; leave out --resume to start from the beginning"
        );
        let params = file.read_f32("params")?;
        let best = file.read_f32("best")?;
        ensure!(
            params.len() == fresh.params.len() && (best.is_empty() || best.len() == params.len()),
            "{shown}: the state is damaged: it holds {} parameters, the model {}",
            params.len(),
            fresh.params.len()
        );
        let at = &note.position;
        let sound = at.best_epoch <= at.epoch
            && at.batch as u64 <= at.steps
            && u64::from(at.epoch) <= at.steps.max(at.batch as u64)
            && at.steps <= MOST_STEPS;
        ensure!(sound, "{shown}: the state is damaged: its position contradicts itself");
        for info in file.tensors() {
            if let Some(name) = info.name.strip_prefix(OPTIMIZER_PREFIX) {
                let values = file.read_f32(&info.name)?;
                note.optimizer.tensors.insert(name.to_owned(), values);
            }
        }
        optimizer
            .load_state(&note.optimizer)
            .with_context(|| format!("{shown}: the optimizer's state"))?;
        Ok(Self { params, best, position: note.position, fingerprint: note.fingerprint })
    }
}

/// Hash of what must be the same for a resumed run to be the run it was: start, options, node and
/// windows. The number of epochs may grow, except where the learning rate follows it.
fn fingerprint(
    start: &Checkpoint,
    set: &WindowSet<'_>,
    options: TrainOptions<'_>,
) -> anyhow::Result<String> {
    let run = &start.meta.run;
    let mut train = run.train().clone();
    let mut hasher = blake3::Hasher::new();
    if train.lr == LearningRate::Auto {
        // The test of learning rates is no longer than the run.
        let per_epoch = set.windows().len().div_ceil(train.windows_per_step()) as u64;
        let planned = u64::from(train.epochs.of(set.windows().len())).saturating_mul(per_epoch);
        hasher.update(&planned.min(MOST_TRIAL_STEPS).to_le_bytes());
    }
    if matches!(
        train.schedule,
        Schedule::Constant | Schedule::Step { .. } | Schedule::ReduceOnPlateau(_)
    ) {
        train.epochs = Epochs::Fixed(0);
    }
    let federation = &run.federation().rules;
    let told = (&train, options.node, options.rounds, start.meta.provenance.round);
    let all = (told, &start.meta.model, federation.correction, federation.server);
    hasher.update(&serde_json::to_vec(&all).context("the state's fingerprint")?);
    for value in &start.params {
        hasher.update(&value.to_le_bytes());
    }
    for Window { segment, start, len, label, first, end } in set.windows() {
        let label = label.map_or(u64::MAX, u64::from);
        let places = [*segment, *start, *len, *first, *end].map(|place| place as u64);
        for number in places.into_iter().chain([label]) {
            hasher.update(&number.to_le_bytes());
        }
    }
    set.hash_values(|bytes| {
        hasher.update(bytes);
    });
    Ok(hasher.finalize().to_hex().to_string())
}
