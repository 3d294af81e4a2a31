//! The file that carries the server step's memory from one round to the next.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::blocks::Block;
use crate::dtype::{Kind, decode_floats, kind};
use crate::private_round::PrivacyState;
use crate::reject::Reason;
use crate::sidecar::{SIDECAR_KEY, Sidecar};
use crate::sink::Sink;
use crate::tensor_writer::TensorWriter;
use crate::{Dtype, Error, ServerStep, TensorInfo, WeightFile};

/// The memory of a center, `X.server` beside the model `X`.
pub const SERVER_STATE: Sidecar = Sidecar::new("server", 1);

/// The metadata key of states that were written before there were sidecars.
const EARLIER_KEY: &str = "aggregate";

/// What a state says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Name of the server step, whose memory it is.
    optimizer: String,
    /// The server step that wrote it; for the reader, since options may change between rounds.
    server_step: ServerStep,
    /// How many steps were taken.
    step: u64,
    /// Content hash of the model that the step led to.
    model: String,
    /// What private merging must remember.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    privacy: Option<PrivacyState>,
}

/// The name of what is remembered of a tensor.
fn slot_name(tensor: &TensorInfo, slot: &str) -> String {
    format!("{}.{slot}", tensor.name)
}

/// Whether a tensor of the model moves.
fn is_moved(tensor: &TensorInfo) -> bool {
    kind(tensor.dtype) == Kind::Float
}

/// A state that was written after an earlier round.
#[derive(Debug)]
pub(crate) struct SavedState {
    file: WeightFile,
    pub(crate) step: u64,
    pub(crate) privacy: Option<PrivacyState>,
}

impl SavedState {
    /// Opens a state and checks that it is the one of this model; `None` if there is no such file.
    pub(crate) fn open(
        path: &Path,
        open: &[WeightFile],
        base_hash: &str,
        server_step: &ServerStep,
        slots: &[String],
        model: &[TensorInfo],
    ) -> Result<Option<Self>, Error> {
        let file = match WeightFile::open_or_known(path, open) {
            Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            other => other?,
        };
        let error = |problem| Error::State { path: path.to_owned(), problem };
        let note: Note = match file.metadata().get(EARLIER_KEY) {
            Some(json) if !file.metadata().contains_key(SIDECAR_KEY) => serde_json::from_str(json)
                .map_err(|e| error(format!("its metadata key {EARLIER_KEY:?}: {e}")))?,
            _ => SERVER_STATE.note(&file)?,
        };
        let expected = server_step.name();
        if note.optimizer != expected {
            return Err(error(format!("it is one of {:?}, not of {expected:?}", note.optimizer)));
        }
        if note.model != base_hash {
            let (expected, found) = (base_hash.to_owned(), note.model);
            return Err(Error::StateModel { path: path.to_owned(), expected, found });
        }
        let moved = model.iter().filter(|tensor| is_moved(tensor));
        let mut expected: Vec<_> = moved
            .flat_map(|tensor| {
                slots.iter().map(|slot| TensorInfo {
                    name: slot_name(tensor, slot),
                    dtype: Dtype::F32,
                    ..tensor.clone()
                })
            })
            .collect();
        expected.sort();
        if let Some(reason) = Reason::mismatch(&expected, file.tensors()) {
            return Err(error(reason.to_string()));
        }
        Ok(Some(Self { file, step: note.step, privacy: note.privacy }))
    }

    /// The part of a slot that belongs to a block of `tensor`, of the model.
    pub(crate) fn read_block(
        &self,
        block: Block,
        tensor: &TensorInfo,
        slot: &str,
    ) -> Result<Vec<f32>, Error> {
        let name = slot_name(tensor, slot);
        let own = self.file.tensor(&name).ok_or_else(|| Error::NoTensor {
            path: self.file.path().to_owned(),
            tensor: name.clone(),
        })?;
        let mut bytes = vec![0; block.n_elements * size_of::<f32>()];
        self.file.read_at(own, block.start, &mut bytes)?;
        let mut values = Vec::new();
        decode_floats(Dtype::F32, &bytes, &mut values);
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let index = block.start + index;
            let problem = format!("tensor {name:?} is not finite at element {index}");
            return Err(Error::State { path: self.file.path().to_owned(), problem });
        }
        Ok(values.iter().map(|&value| value as f32).collect())
    }

    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        self.file.check_unchanged()
    }

    pub(crate) fn n_read(&self) -> u64 {
        self.file.n_read()
    }
}

/// The state of this round, written while the model is.
#[derive(Debug)]
pub(crate) struct StateWriter {
    writer: TensorWriter,
    note: Note,
    /// Where the first slot of each tensor of the model is among the state's, if it moves.
    places: BTreeMap<usize, usize>,
}

impl StateWriter {
    /// Begins the state after step number `step`; its tensors are those of the floats of `model`,
    /// which come with their numbers.
    pub(crate) fn create<'a>(
        sink: Sink,
        server_step: ServerStep,
        slots: &[String],
        step: u64,
        privacy: Option<PrivacyState>,
        model: impl Iterator<Item = (usize, &'a TensorInfo)>,
    ) -> Result<Self, Error> {
        // The model's hash is known in the end only; until then, as many zeros.
        let (optimizer, hash) = (server_step.name().to_owned(), "0".repeat(2 * blake3::OUT_LEN));
        let note = Note { optimizer, server_step, step, model: hash, privacy };
        let (mut specs, mut places) = (Vec::new(), BTreeMap::new());
        for (number, tensor) in model.filter(|(_, tensor)| is_moved(tensor)) {
            places.insert(number, specs.len());
            let spec = |slot| (slot_name(tensor, slot), Dtype::F32, tensor.shape.clone());
            specs.extend(slots.iter().map(|slot| spec(slot)));
        }
        let metadata = SERVER_STATE.metadata(sink.path(), &note)?;
        let writer = TensorWriter::new(sink, specs, &metadata, 0)?;
        Ok(Self { writer, note, places })
    }

    /// Writes what is remembered of a block, slot by slot; nothing of a tensor that does not move.
    pub(crate) fn write(&mut self, block: Block, memory: &[Vec<f32>]) -> Result<(), Error> {
        let Some(&first) = self.places.get(&block.tensor) else { return Ok(()) };
        for (i, values) in memory.iter().enumerate() {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            self.writer.write(first + i, block.start, &bytes)?;
        }
        Ok(())
    }

    /// Ends the state of the model with that hash: synced, but not yet under its name.
    pub(crate) fn finish(self, path: &Path, model_hash: String) -> Result<Sink, Error> {
        let note = Note { model: model_hash, ..self.note };
        let (_, file, _) = self.writer.finish(&SERVER_STATE.metadata(path, &note)?)?;
        Ok(file)
    }
}
