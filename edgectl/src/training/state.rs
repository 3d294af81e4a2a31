//! The state of a run beside its output: weights, optimizer and position, so that it can go on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use aggregate::{TensorData, TensorRef, WeightFile};
use anyhow::{Context, bail, ensure};
use optim::{Guard, Optimizer, Plateau, Schedule};
use serde::{Deserialize, Serialize};

use super::options::TrainOptions;
use super::range_test::{MOST_TRIAL_STEPS, RangeTest};
use crate::checkpoint::Checkpoint;
use crate::job::LearningRate;
use crate::windows::WindowSet;

const METADATA_KEY: &str = "edgectl-state";
const FORMAT: u32 = 2;
const OPTIMIZER_PREFIX: &str = "optimizer.";

/// `OUT.state`: not `.safetensors`, so that a pattern for updates does not match it.
pub fn state_path(out: &Path) -> PathBuf {
    let mut name = OsString::from(out);
    name.push(".state");
    PathBuf::from(name)
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
    /// Windows of the running epoch, and sums over them.
    pub(super) seen: usize,
    pub(super) correct: usize,
    /// Sum of the windows' weights in the loss.
    pub(super) weight: f64,
    pub(super) loss_sum: f64,
    /// Figures of the last finished epoch.
    pub(super) last_loss: Option<f64>,
    pub(super) last_accuracy: Option<f64>,
    /// The epoch with the best validation loss so far.
    pub(super) best_epoch: u32,
    pub(super) best_val_loss: Option<f64>,
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
struct Record {
    format: u32,
    fingerprint: String,
    position: Position,
    optimizer: String,
    optimizer_version: u32,
    optimizer_step: u64,
    optimizer_scalars: BTreeMap<String, f64>,
}

impl State {
    /// The state before the first step.
    pub(super) fn fresh(
        start: &Checkpoint,
        set: &WindowSet<'_>,
        options: TrainOptions<'_>,
    ) -> Self {
        Self {
            params: start.params.clone(),
            best: Vec::new(),
            position: Position::default(),
            // Only a run that can be resumed needs to be recognised.
            fingerprint: options
                .state
                .map_or_else(String::new, |_| fingerprint(start, set, options)),
        }
    }

    pub(super) fn write(&self, path: &Path, optimizer: &dyn Optimizer) -> anyhow::Result<()> {
        let kept = optimizer.state();
        let names: Vec<(String, &Vec<f32>)> = [("params", &self.params), ("best", &self.best)]
            .into_iter()
            .map(|(name, values)| (name.to_owned(), values))
            .chain(
                kept.tensors.iter().map(|(n, values)| (format!("{OPTIMIZER_PREFIX}{n}"), values)),
            )
            .collect();
        let shapes: Vec<[usize; 1]> = names.iter().map(|(_, values)| [values.len()]).collect();
        let tensors: Vec<TensorRef<'_>> = names
            .iter()
            .zip(&shapes)
            .map(|((name, values), shape)| TensorRef { name, shape, data: TensorData::F32(values) })
            .collect();
        let record = Record {
            format: FORMAT,
            fingerprint: self.fingerprint.clone(),
            position: self.position.clone(),
            optimizer: kept.optimizer,
            optimizer_version: kept.version,
            optimizer_step: kept.step,
            optimizer_scalars: kept.scalars,
        };
        let json = serde_json::to_string(&record).context("the state's metadata")?;
        aggregate::write_file(path, &tensors, &BTreeMap::from([(METADATA_KEY.to_owned(), json)]))?;
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
        let file = WeightFile::open(path)?;
        let Some(json) = file.metadata().get(METADATA_KEY) else {
            bail!("{shown}: not the state of a training run");
        };
        let record: Record =
            serde_json::from_str(json).with_context(|| format!("{shown}: the state is damaged"))?;
        ensure!(
            record.format == FORMAT,
            "{shown}: state format {}, this program reads {FORMAT}",
            record.format
        );
        ensure!(
            record.fingerprint == fresh.fingerprint,
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
        let mut tensors = BTreeMap::new();
        for info in file.tensors() {
            if let Some(name) = info.name.strip_prefix(OPTIMIZER_PREFIX) {
                tensors.insert(name.to_owned(), file.read_f32(&info.name)?);
            }
        }
        let kept = optim::State {
            version: record.optimizer_version,
            optimizer: record.optimizer,
            step: record.optimizer_step,
            scalars: record.optimizer_scalars,
            tensors,
        };
        optimizer.load_state(&kept).with_context(|| format!("{shown}: the optimizer's state"))?;
        Ok(Self { params, best, position: record.position, fingerprint: record.fingerprint })
    }
}

/// Hash of what must be the same for a resumed run to be the run it was: start, options, node and
/// windows. The number of epochs may grow, except where the learning rate follows it.
fn fingerprint(start: &Checkpoint, set: &WindowSet<'_>, options: TrainOptions<'_>) -> String {
    let mut config = start.meta.run.train().clone();
    if matches!(
        config.schedule,
        Schedule::Constant | Schedule::Step { .. } | Schedule::ReduceOnPlateau(_)
    ) {
        config.epochs = 0;
    }
    let mut hasher = blake3::Hasher::new();
    if config.lr == LearningRate::Auto {
        // The test of learning rates is no longer than the run.
        let per_epoch = set.windows().len().div_ceil(config.windows_per_step()) as u64;
        let planned = u64::from(start.meta.run.train().epochs).saturating_mul(per_epoch);
        hasher.update(&planned.min(MOST_TRIAL_STEPS).to_le_bytes());
    }
    hasher.update(format!("{config:?} {} {}", options.node, options.rounds).as_bytes());
    hasher.update(format!("{:?} {:?}", start.meta.model, start.meta.provenance.round).as_bytes());
    for value in &start.params {
        hasher.update(&value.to_le_bytes());
    }
    for window in set.windows() {
        hasher.update(format!("{window:?}").as_bytes());
    }
    set.hash_values(|bytes| {
        hasher.update(bytes);
    });
    hasher.finalize().to_hex().to_string()
}
