//! What a node remembers from round to round to correct its drift: SCAFFOLD and `FedDyn`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use aggregate::{ServerStep, TensorData, TensorRef, WeightFile, write_file};
use anyhow::{Context, ensure};
use optim::{
    control_variate, control_variate_update, dynamic_regularizer, dynamic_regularizer_update,
};

use crate::checkpoint::Checkpoint;
use crate::job::Correction;

/// Names of the two vectors in the file: after the last round, and before it.
const NAMES: [&str; 2] = ["after", "before"];
/// The metadata key with the hash of the model that the last round started from.
const BASE_KEY: &str = "base";

/// `OUT.variate`: what a node remembers, beside its update.
pub fn variate_path(out: &Path) -> PathBuf {
    let mut name = OsString::from(out);
    name.push(".variate");
    PathBuf::from(name)
}

/// A node's memory and how it enters the gradient.
#[derive(Debug)]
pub(super) struct Variate {
    rule: Rule,
    /// As it was before this round.
    own: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    /// `g + c − c_k`, with the center's variate.
    Scaffold { center: Vec<f32> },
    /// `g − h_k + alpha·(w − x)`
    Dyn { alpha: f32 },
}

impl Variate {
    /// What the job asks for, with what the node remembers of earlier rounds. A round that is
    /// trained again, from the model with the same hash, begins as it did the first time.
    pub(super) fn load(
        start: &Checkpoint,
        base: Option<&str>,
        path: Option<&Path>,
    ) -> anyhow::Result<Option<Self>> {
        let federation = &start.meta.federation;
        let rule = match (federation.correction, federation.server) {
            (Correction::Scaffold, _) => {
                let center = start.control.clone().context(
                    "correction = \"scaffold\" needs a model that carries the center's control variate; make it with edgectl init from this job",
                )?;
                Rule::Scaffold { center }
            }
            (Correction::None, ServerStep::Dyn { alpha, .. }) => Rule::Dyn { alpha },
            _ => return Ok(None),
        };
        let n = start.params.len();
        let mut own = vec![0.0; n];
        if let Some(path) = path.filter(|path| path.exists()) {
            let file = WeightFile::open(path)?;
            let same_round =
                base.is_some() && file.metadata().get(BASE_KEY).map(String::as_str) == base;
            let name = NAMES[usize::from(same_round)];
            own = file.read_f32(name)?;
            let sound = own.len() == n && own.iter().all(|v| v.is_finite());
            ensure!(
                sound,
                "{}: not what a node remembers of this model; remove it to begin afresh",
                path.display()
            );
        }
        Ok(Some(Self { rule, own }))
    }

    /// Corrects a gradient at `params`, of a round that started at `start`.
    pub(super) fn correct(&self, grads: &mut [f32], params: &[f32], start: &[f32]) {
        match &self.rule {
            Rule::Scaffold { center } => control_variate(grads, center, &self.own),
            Rule::Dyn { alpha } => dynamic_regularizer(grads, params, start, &self.own, *alpha),
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
        path: Option<&Path>,
    ) -> anyhow::Result<Option<Vec<f32>>> {
        let mut after = self.own.clone();
        let control = match &self.rule {
            Rule::Dyn { alpha } => {
                dynamic_regularizer_update(&mut after, params, start, *alpha);
                None
            }
            Rule::Scaffold { center } => {
                if steps > 0 {
                    control_variate_update(&mut after, center, start, params, steps, lr);
                }
                let change = after.iter().zip(&self.own).map(|(new, old)| new - old);
                Some(center.iter().zip(change).map(|(c, d)| c + d).collect())
            }
        };
        if let Some(path) = path {
            let shape = [after.len()];
            let tensor =
                |name, values| TensorRef { name, shape: &shape, data: TensorData::F32(values) };
            let tensors = [tensor(NAMES[0], &after), tensor(NAMES[1], &self.own)];
            let base = base.map(|base| (BASE_KEY.to_owned(), base.to_owned()));
            write_file(path, &tensors, &BTreeMap::from_iter(base))?;
        }
        Ok(control)
    }
}
