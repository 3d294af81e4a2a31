//! What corrects a node's drift while it trains, and what it remembers of it from round to round.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aggregate::{Sidecar, Spool, TensorData, TensorRef, WeightFile};
use anyhow::{Context, ensure};
use optim::{
    control_variate, control_variate_update, dynamic_regularizer, dynamic_regularizer_update,
    proximal,
};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::run::NodeSide;

/// Names of the two vectors in the file: after the last round, and before it.
const NAMES: [&str; 2] = ["after", "before"];

const VARIATE: Sidecar = Sidecar::new("variate", 1);

#[derive(Serialize, Deserialize)]
struct Note {
    /// Hash of the model that the last round started from.
    base: Option<String>,
}

/// `OUT.variate`: what a node remembers, beside its update.
pub fn variate_path(out: &Path) -> PathBuf {
    VARIATE.path(out)
}

/// Where a node keeps what it remembers from round to round.
#[derive(Debug, Clone, Copy)]
pub enum Variate<'a> {
    /// In a file.
    File(&'a Path),
    /// In a spool: it is forgotten when the process ends.
    Spool(&'a Spool, &'a Mutex<Option<WeightFile>>),
}

impl Variate<'_> {
    /// What is remembered, if anything is.
    fn load(self) -> anyhow::Result<Option<(WeightFile, Note)>> {
        match self {
            Self::File(path) if !path.exists() => Ok(None),
            Self::File(path) => open(path).map(Some),
            Self::Spool(_, kept) => {
                let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Ok(kept.map(|file| VARIATE.note(&file).map(|note| (file, note))).transpose()?)
            }
        }
    }

    fn keep(self, note: &Note, tensors: &[TensorRef<'_>]) -> anyhow::Result<()> {
        match self {
            Self::File(path) => VARIATE.write(path, note, tensors)?,
            Self::Spool(spool, kept) => {
                let file = VARIATE.to_file(Path::new("variate"), note, tensors)?;
                let file = spool.keep(&file)?;
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
            }
        }
        Ok(())
    }
}

/// Opens a memory; that of an earlier build has its base as the one key of its metadata.
fn open(path: &Path) -> anyhow::Result<(WeightFile, Note)> {
    let file = WeightFile::open(path)?;
    let is_old = file.metadata().keys().all(|key| key == "base")
        && NAMES.iter().all(|name| file.tensor(name).is_some());
    if is_old {
        let base = file.metadata().get("base").cloned();
        return Ok((file, Note { base }));
    }
    Ok(VARIATE.open(path)?)
}

/// A node side with the vectors that it takes: how it enters the gradient.
#[derive(Debug)]
pub(super) struct Drift {
    side: NodeSide,
    /// The center's control variate, for SCAFFOLD.
    center: Vec<f32>,
    /// What the node remembers, as it was before this round; empty if nothing.
    own: Vec<f32>,
}

impl Drift {
    /// What the run asks for, with what the node remembers of earlier rounds. A round that is
    /// trained again, from the model with the same hash, begins as it did the first time.
    pub(super) fn load(
        start: &Checkpoint,
        base: Option<&str>,
        variate: Option<Variate<'_>>,
    ) -> anyhow::Result<Self> {
        let side = start.meta.run.node_side();
        let mut drift = Self { side, center: Vec::new(), own: Vec::new() };
        if side == NodeSide::Scaffold {
            drift.center = start.control.clone().context(
                "correction = \"scaffold\" needs a model that carries the center's control variate; make it with edgectl init from this job",
            )?;
        }
        if !side.remembers() {
            return Ok(drift);
        }
        let n = start.params.len();
        drift.own = vec![0.0; n];
        if let Some((file, note)) = variate.map(Variate::load).transpose()?.flatten() {
            let same_round = base.is_some() && note.base.as_deref() == base;
            drift.own = file.read_f32(NAMES[usize::from(same_round)])?;
            let sound = drift.own.len() == n && drift.own.iter().all(|v| v.is_finite());
            ensure!(
                sound,
                "{}: not what a node remembers of this model; remove it to begin afresh",
                file.path().display()
            );
        }
        Ok(drift)
    }

    /// Corrects a gradient at `params`, of a round that started at `start`.
    pub(super) fn correct(&self, grads: &mut [f32], params: &[f32], start: &[f32]) {
        match self.side {
            NodeSide::Plain => {}
            // Frozen parameters are where they were: their term is 0.
            NodeSide::Prox { mu } => proximal(grads, params, start, mu),
            NodeSide::Scaffold => control_variate(grads, &self.center, &self.own),
            NodeSide::Dyn { alpha } => dynamic_regularizer(grads, params, start, &self.own, alpha),
        }
    }

    /// Writes what is to be remembered after `steps` steps to `params`, with the mean learning rate
    /// `lr`; returns the center's variate plus the change of the node's own, which an update carries.
    pub(super) fn finish(
        self,
        start: &[f32],
        params: &[f32],
        (steps, lr): (u64, f32),
        base: Option<&str>,
        variate: Option<Variate<'_>>,
    ) -> anyhow::Result<Option<Vec<f32>>> {
        let mut after = self.own.clone();
        let control = match self.side {
            NodeSide::Plain | NodeSide::Prox { .. } => return Ok(None),
            NodeSide::Dyn { alpha } => {
                dynamic_regularizer_update(&mut after, params, start, alpha);
                None
            }
            NodeSide::Scaffold => {
                if steps > 0 {
                    control_variate_update(&mut after, &self.center, start, params, steps, lr);
                }
                let change = after.iter().zip(&self.own).map(|(new, old)| new - old);
                Some(self.center.iter().zip(change).map(|(c, d)| c + d).collect())
            }
        };
        if let Some(variate) = variate {
            let shape = [after.len()];
            let tensor =
                |name, values| TensorRef { name, shape: &shape, data: TensorData::F32(values) };
            let tensors = [tensor(NAMES[0], &after), tensor(NAMES[1], &self.own)];
            variate.keep(&Note { base: base.map(str::to_owned) }, &tensors)?;
        }
        Ok(control)
    }
}
