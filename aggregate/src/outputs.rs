//! What a merge writes: the model and its state, to files or into memory.

use std::collections::BTreeMap;
use std::path::Path;

use crate::atomic::PendingFile;
use crate::model_writer::ModelWriter;
use crate::private_round::PrivacyState;
use crate::sink::Sink;
use crate::spent::Spent;
use crate::state::StateWriter;
use crate::summary::About;
use crate::{Error, WeightFile};

/// Where the results of a merge go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub(crate) out: &'a Path,
    /// Of the state, if there is one.
    pub(crate) state_out: Option<&'a Path>,
    /// Whether the paths are only names.
    pub(crate) in_memory: bool,
}

impl Destination<'_> {
    fn sink(&self, path: &Path) -> Result<Sink, Error> {
        if self.in_memory {
            return Ok(Sink::memory(path));
        }
        PendingFile::create(path).map(Sink::File)
    }
}

/// The results of a merge in memory; nothing of one in files.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    pub(crate) model: Option<WeightFile>,
    pub(crate) state: Option<WeightFile>,
}

/// The files of a merge, which have yet to take their names.
pub(crate) struct Outputs {
    pub(crate) model: ModelWriter,
    pub(crate) state: Option<StateWriter>,
}

impl Outputs {
    pub(crate) fn create(
        about: &About<'_>,
        target: &Destination<'_>,
        spare: usize,
        privacy: Option<PrivacyState>,
    ) -> Result<Self, Error> {
        let About { run, layout, step, .. } = *about;
        let tensors = run.cohort.tensors;
        let specs = layout.iter().map(|&i| &tensors[i]);
        let specs = specs.map(|t| (t.name.clone(), t.dtype, t.shape.clone())).collect();
        let sink = |path: &Path| target.sink(path);
        let model = ModelWriter::create(target.out, sink, specs, spare, run.options.shard_bytes)?;
        let state = match (target.state_out, step) {
            (Some(path), Some(step)) => {
                let slots = run.mover.map_or(&[][..], |mover| &mover.movement.slots);
                let numbered = layout.iter().map(|&i| (i, &tensors[i]));
                let (sink, server_step) = (target.sink(path)?, run.options.rules.server);
                Some(StateWriter::create(sink, server_step, slots, step, privacy, numbered)?)
            }
            _ => None,
        };
        Ok(Self { model, state })
    }

    /// Ends the files and gives them their names, the state first; the model's content hash,
    /// and the time of writing it.
    pub(crate) fn finish(
        self,
        metadata: &BTreeMap<String, String>,
        target: &Destination<'_>,
    ) -> Result<(String, Finished, Spent), Error> {
        let (hash, model, spent) = self.model.finish(metadata)?;
        let state = match (self.state, target.state_out) {
            (Some(state), Some(path)) => Some(state.finish(path, hash.clone())?),
            _ => None,
        };
        if target.in_memory {
            let state = state.map(Sink::into_file).transpose()?;
            return Ok((hash, Finished { model: model.into_memory()?, state }, spent));
        }
        state.map_or(Ok(()), Sink::persist)?;
        model.persist()?;
        Ok((hash, Finished::default(), spent))
    }
}
