//! What the differences that were sent left over.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::rows::Element;
use crate::{Dtype, Error, Sidecar, TensorInfo, WeightFile};

/// What a node still has to send, `X.residual` beside its model or its key `X`.
pub const RESIDUAL: Sidecar = Sidecar::new("residual", 1);

/// The note of a residual, which says nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {}

/// What the differences that a node sent so far left over: an F32 tensor for each of the model, which
/// [`Differences::encode`](crate::Differences::encode) adds to the next difference; at first nothing.
///
/// It is a difference and no model, and so it stays good whatever base comes next: what was lost of the
/// change to one base is added to the change to another. It stays good, too, over a round that was
/// missed, or whose update was sent whole; of an update that never arrived, the residual from before it is
/// the one to go on with. A tensor that it does not have is zero; one that an update does not have is
/// kept for the next that does.
///
/// ```
/// use aggregate::{Differences, Precision, RESIDUAL, Residual, TensorData, TensorRef, weight_file};
///
/// let model = |values: &[f32]| {
///     let w = TensorRef { name: "w", shape: &[2], data: TensorData::F32(values) };
///     weight_file("model", &[w], &Default::default())
/// };
/// let folder = tempfile::tempdir()?;
/// let path = RESIDUAL.path(&folder.path().join("node"));
/// let kept = Residual::open(&path)?; // nothing before the first round
/// let differences = Differences::of_base(model(&[0.0, 0.0])?)?;
/// let (_, kept) = differences.encode(&model(&[127.0, 0.25])?, &kept, Precision::Int8)?;
/// kept.write(&path)?;
/// let left = Residual::open(&path)?;
/// assert_eq!(left.file().unwrap().read_f32("w")?, [0.0, 0.25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Residual {
    file: Option<WeightFile>,
}

impl Residual {
    /// Opens a residual; nothing is left over if there is no such file.
    ///
    /// # Errors
    /// Those of [`Sidecar::open`], but that the file is missing, and [`Error::Sidecar`] if a tensor is
    /// not F32.
    pub fn open(path: &Path) -> Result<Self, Error> {
        match RESIDUAL.open::<Note>(path) {
            Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(Self::default())
            }
            opened => Self::of_file(opened?.0),
        }
    }

    /// Writes it, whole or not at all: to be read by [`open`](Self::open).
    ///
    /// # Errors
    /// Those of [`write_file`](crate::write_file).
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        match &self.file {
            Some(file) => file.copy_to(path),
            None => RESIDUAL.write(path, &Note {}, &[]),
        }
    }

    /// The file with its tensors, if there is something.
    pub fn file(&self) -> Option<&WeightFile> {
        self.file.as_ref()
    }

    /// The residual in a file whose note was read.
    pub(crate) fn of_file(file: WeightFile) -> Result<Self, Error> {
        let residual = Self { file: Some(file) };
        match residual.tensors().iter().find(|tensor| tensor.dtype != Dtype::F32) {
            Some(TensorInfo { name, dtype, .. }) => {
                Err(residual.error(format!("its tensor {name:?} has dtype {dtype}, expected F32")))
            }
            None => Ok(residual),
        }
    }

    pub(crate) fn tensors(&self) -> &[TensorInfo] {
        self.file.as_ref().map_or(&[], WeightFile::tensors)
    }

    /// Fails if it is that of another model: if it has a tensor that the model does not.
    pub(crate) fn check_fits(&self, model: &WeightFile) -> Result<(), Error> {
        for TensorInfo { name, shape, .. } in self.tensors() {
            let found = model.tensor(name).map(|tensor| &tensor.shape);
            if found != Some(shape) {
                let model = match found {
                    Some(found) => format!("the model's has {found:?}"),
                    None => "the model has none of that name".to_owned(),
                };
                let problem = format!("its tensor {name:?} has shape {shape:?}, {model}");
                return Err(self.error(problem));
            }
        }
        Ok(())
    }

    /// Fills `values` with elements of a tensor, from `start` on: zeros if it has no such tensor.
    pub(crate) fn read(&self, name: &str, start: usize, values: &mut [f32]) -> Result<(), Error> {
        let own = self.file.as_ref().and_then(|file| Some((file, file.tensor(name)?)));
        let Some((file, tensor)) = own else {
            values.fill(0.0);
            return Ok(());
        };
        f32::read(file, tensor, start, &mut Vec::new(), values)
    }

    pub(crate) fn error(&self, problem: String) -> Error {
        let path = self.file.as_ref().map_or(Path::new("residual"), WeightFile::path).to_owned();
        Error::Sidecar { path, kind: "residual", problem }
    }
}
