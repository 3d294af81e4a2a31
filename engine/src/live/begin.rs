//! The model that a run begins with: the live one of the folder of state, else the one that is named.

use std::path::Path;

use anyhow::{Context, bail};

use super::ready::{ModelFile, Ready};
use super::track::Plan;
use crate::models::{Deployed, Models};

/// Most bytes of a model's file, which is read whole.
const MOST_BYTES: u64 = 1 << 34;

/// A model that a run begins with.
#[derive(Debug)]
pub struct Begun {
    /// The model as it was read.
    pub file: ModelFile,
    /// Where it came from: `state` or `model`.
    pub from: &'static str,
    /// Ready to answer.
    pub ready: Box<Ready>,
    /// How series are cut for it.
    pub plan: Plan,
}

impl Begun {
    /// Reads and tries the model; that of the path becomes the live one of the folder of state if there is none.
    ///
    /// # Errors
    /// If there is none, or it cannot be read, was refused or cannot answer on a stream.
    pub fn of(
        path: Option<&Path>,
        models: Option<&mut Models>,
        plan: impl FnOnce(&ModelFile) -> anyhow::Result<Plan>,
    ) -> anyhow::Result<Self> {
        let live = models.as_ref().and_then(|models| {
            let live = models.deployment().live.as_ref()?;
            Some((models.file(live), models.deployment().canary))
        });
        let (place, canary, from) = match (&live, path) {
            (Some((file, canary)), _) => (file.as_path(), *canary, "state"),
            (None, Some(path)) => (path, false, "model"),
            (None, None) => {
                if let Some(lost) = models.iter().find_map(|models| models.lost().first()) {
                    bail!("{}; name a model that is whole, as --model", lost.reason);
                }
                bail!("name the model, as --model or in [run] of --config: --state has none yet")
            }
        };
        let said = || format!("{}", place.display());
        let file = ModelFile::read(place, MOST_BYTES)?;
        let refusal = models.as_ref().and_then(|models| models.deployment().refusal(&file.hash));
        if let Some(reason) = refusal {
            bail!("{}: it was refused before: {reason}", place.display());
        }
        let plan = plan(&file).with_context(said)?;
        let mut ready = Box::new(Ready::new(&file));
        ready.warm_up(plan.width(), None).with_context(said)?;
        ready.label.state.set_canary(canary);
        if let (Some(models), None) = (models, live.as_ref()) {
            let (hash, round) = (file.hash.clone(), ready.label.round);
            models.install(&file.bytes, Deployed { hash, round, accuracy: None })?;
            models.came(&file.hash)?;
        }
        Ok(Self { file, from, ready, plan })
    }
}
