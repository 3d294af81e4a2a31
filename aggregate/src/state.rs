//! The file that carries the server step's momentum from one round to the next.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic::PendingFile;
use crate::dtype::{Kind, decode_floats, kind};
use crate::mean::Block;
use crate::reject::Reason;
use crate::write::TensorWriter;
use crate::{Dtype, Error, ServerStep, TensorInfo, WeightFile};

const METADATA_KEY: &str = "aggregate";
const OPTIMIZER: &str = "sgd";
const MOMENTUM: &str = "momentum_buffer";

/// The JSON in the state file's metadata.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    optimizer: String,
    /// The server step that wrote it; for the reader, since options may change between rounds.
    server_step: ServerStep,
    /// How many steps were taken.
    step: u64,
    /// Content hash of the model that the step led to.
    model: String,
}

impl Note {
    fn metadata(&self, path: &Path) -> Result<BTreeMap<String, String>, Error> {
        let json = serde_json::to_string(self)
            .map_err(|e| Error::State { path: path.to_owned(), problem: e.to_string() })?;
        Ok([(METADATA_KEY.to_owned(), json)].into())
    }
}

/// Whether a tensor of the model has a momentum.
fn is_moved(tensor: &TensorInfo) -> bool {
    kind(tensor.dtype) == Kind::Float
}

/// A state that was written after an earlier round.
#[derive(Debug)]
pub(crate) struct SavedState {
    file: WeightFile,
    pub(crate) step: u64,
}

impl SavedState {
    /// Opens a state and checks that it is the one of this model; `None` if there is no such file.
    pub(crate) fn open(
        path: &Path,
        base_hash: &str,
        model: &[TensorInfo],
    ) -> Result<Option<Self>, Error> {
        let file = match WeightFile::open(path) {
            Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            other => other?,
        };
        let error = |problem| Error::State { path: path.to_owned(), problem };
        let json = file
            .metadata()
            .get(METADATA_KEY)
            .ok_or_else(|| error(format!("its metadata has no key {METADATA_KEY:?}")))?;
        let note: Note = serde_json::from_str(json)
            .map_err(|e| error(format!("its metadata key {METADATA_KEY:?}: {e}")))?;
        if note.optimizer != OPTIMIZER {
            return Err(error(format!("it is one of {:?}, not of {OPTIMIZER:?}", note.optimizer)));
        }
        if note.model != base_hash {
            let (expected, found) = (base_hash.to_owned(), note.model);
            return Err(Error::StateModel { path: path.to_owned(), expected, found });
        }
        let moved = model.iter().filter(|tensor| is_moved(tensor));
        let expected: Vec<_> =
            moved.map(|tensor| TensorInfo { dtype: Dtype::F32, ..tensor.clone() }).collect();
        if let Some(reason) = Reason::mismatch(&expected, file.tensors()) {
            return Err(error(reason.to_string()));
        }
        Ok(Some(Self { file, step: note.step }))
    }

    /// The part of the state that belongs to a block of `tensor`, of the model.
    pub(crate) fn read_block(
        &self,
        block: Block,
        tensor: &TensorInfo,
        bytes: &mut Vec<u8>,
    ) -> Result<optim::State, Error> {
        let own = self.file.tensor(&tensor.name).ok_or_else(|| Error::NoTensor {
            path: self.file.path().to_owned(),
            tensor: tensor.name.clone(),
        })?;
        bytes.resize(block.n_elements * size_of::<f32>(), 0);
        self.file.source().read_exact_at(bytes, own.offset(block.start))?;
        let mut values = Vec::new();
        decode_floats(Dtype::F32, bytes, &mut values);
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let index = block.start + index;
            let problem = format!("tensor {:?} is not finite at element {index}", tensor.name);
            return Err(Error::State { path: self.file.path().to_owned(), problem });
        }
        let momentum = values.iter().map(|&value| value as f32).collect();
        let mut state = optim::State::new(OPTIMIZER, self.step);
        state.tensors.insert(MOMENTUM.to_owned(), momentum);
        Ok(state)
    }

    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        self.file.source().check_unchanged()
    }

    pub(crate) fn n_read(&self) -> u64 {
        self.file.source().n_read()
    }
}

/// The state of this round, written while the model is.
#[derive(Debug)]
pub(crate) struct StateWriter {
    writer: TensorWriter,
    note: Note,
}

impl StateWriter {
    /// Begins the state after step number `step`; its tensors are the floats among `model`, which
    /// is in the order in which blocks will come.
    pub(crate) fn create<'a>(
        path: &Path,
        server_step: ServerStep,
        step: u64,
        model: impl Iterator<Item = &'a TensorInfo>,
    ) -> Result<Self, Error> {
        // The model's hash is known in the end only; until then, as many zeros.
        let model_hash = "0".repeat(2 * blake3::OUT_LEN);
        let note = Note { optimizer: OPTIMIZER.to_owned(), server_step, step, model: model_hash };
        let moved = model.filter(|tensor| is_moved(tensor));
        let specs = moved.map(|t| (t.name.clone(), Dtype::F32, t.shape.clone())).collect();
        let writer = TensorWriter::create(path, specs, &note.metadata(path)?)?;
        Ok(Self { writer, note })
    }

    /// Appends the momentum of the next block.
    pub(crate) fn write(&mut self, momentum: &[f32]) -> Result<(), Error> {
        let bytes: Vec<u8> = momentum.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.writer.write(&bytes)
    }

    /// Ends the state of the model with that hash: synced, but not yet under its name.
    pub(crate) fn finish(self, path: &Path, model_hash: String) -> Result<PendingFile, Error> {
        let note = Note { model: model_hash, ..self.note };
        self.writer.finish_with(&note.metadata(path)?)
    }
}
