//! Files beside a model that are not models: states, control variates, keys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::atomic::PendingFile;
use crate::write::{TensorRef, weight_file, write_tensors};
use crate::{Error, WeightFile};

/// The metadata key of every sidecar.
pub(crate) const SIDECAR_KEY: &str = "sidecar";

/// A kind of file beside a model: `X.kind` beside the model `X`, in the version that this program
/// writes and reads.
///
/// It is a weight file whose name does not match `*.safetensors`. Under the metadata key `sidecar`
/// there is JSON, `{"kind":…,"version":…,"note":{…}}`, so that the file itself says what it is,
/// whatever it is called. A change after which an older program would misread the note or the tensors
/// takes the next version.
///
/// ```
/// use aggregate::{Sidecar, TensorData, TensorRef};
/// use serde::{Deserialize, Serialize};
///
/// const VARIATE: Sidecar = Sidecar::new("variate", 1);
///
/// #[derive(Serialize, Deserialize)]
/// struct Note {
///     rounds: u32,
/// }
///
/// let folder = tempfile::tempdir()?;
/// let path = VARIATE.path(&folder.path().join("node.safetensors"));
/// assert_eq!(path.file_name(), Some("node.safetensors.variate".as_ref()));
/// let drift = TensorRef { name: "w", shape: &[2], data: TensorData::F32(&[0.5, -1.0]) };
/// VARIATE.write(&path, &Note { rounds: 3 }, &[drift])?;
///
/// let (file, note) = VARIATE.open::<Note>(&path)?;
/// assert_eq!((note.rounds, file.read_f32("w")?), (3, vec![0.5, -1.0]));
/// let error = Sidecar::new("state", 1).open::<Note>(&path).err().map(|e| e.to_string());
/// assert!(error.is_some_and(|e| e.contains("it is the \"variate\" of a model")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sidecar {
    kind: &'static str,
    version: u32,
}

/// The JSON under [`SIDECAR_KEY`].
#[derive(Debug, Serialize, Deserialize)]
struct Record<N> {
    kind: String,
    version: u32,
    note: N,
}

impl Sidecar {
    /// A kind, one plain word, and the version that is written and read.
    pub const fn new(kind: &'static str, version: u32) -> Self {
        Self { kind, version }
    }

    /// The path of this kind beside a model: `X.kind` for `X`.
    pub fn path(&self, model: &Path) -> PathBuf {
        let mut name = OsString::from(model);
        name.push(".");
        name.push(self.kind);
        PathBuf::from(name)
    }

    /// Writes a sidecar, whole or not at all, as [`write_file`](crate::write_file) does.
    ///
    /// # Errors
    /// Those of [`write_file`](crate::write_file), and [`Error::Sidecar`] if the note cannot be
    /// written as JSON.
    pub fn write(
        &self,
        path: &Path,
        note: &impl Serialize,
        tensors: &[TensorRef<'_>],
    ) -> Result<(), Error> {
        let metadata = self.metadata(path, note)?;
        write_tensors(path, PendingFile::create, tensors, &metadata).map(|_| ())
    }

    /// The same, of a file that only its owner can read and write (mode 600): for keys. At no
    /// moment is it open to others. On systems without such modes it is a file like any other.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn write_secret(
        &self,
        path: &Path,
        note: &impl Serialize,
        tensors: &[TensorRef<'_>],
    ) -> Result<(), Error> {
        let metadata = self.metadata(path, note)?;
        write_tensors(path, PendingFile::create_secret, tensors, &metadata).map(|_| ())
    }

    /// Opens a sidecar of this kind and version: the file, and its note.
    ///
    /// # Errors
    /// Those of [`WeightFile::open`], and [`Error::Sidecar`] if it is no sidecar, or one of another
    /// kind or version.
    pub fn open<N: DeserializeOwned>(&self, path: &Path) -> Result<(WeightFile, N), Error> {
        let file = WeightFile::open(path)?;
        let note = self.note(&file)?;
        Ok((file, note))
    }

    /// The same as [`write`](Self::write) would write, in memory, by a name for messages.
    ///
    /// # Errors
    /// As for [`write`](Self::write), but that nothing is written.
    pub fn to_file(
        &self,
        name: &Path,
        note: &impl Serialize,
        tensors: &[TensorRef<'_>],
    ) -> Result<WeightFile, Error> {
        weight_file(name, tensors, &self.metadata(name, note)?)
    }

    /// The note of an open file.
    ///
    /// # Errors
    /// [`Error::Sidecar`] if it is no sidecar, or one of another kind or version.
    pub fn note<N: DeserializeOwned>(&self, file: &WeightFile) -> Result<N, Error> {
        let error =
            |problem| Error::Sidecar { path: file.path().to_owned(), kind: self.kind, problem };
        let json = file.metadata().get(SIDECAR_KEY).ok_or_else(|| {
            error(format!(
                "its metadata has no key {SIDECAR_KEY:?}; an earlier version or another program wrote it"
            ))
        })?;
        let parse_error = |e: serde_json::Error| error(format!("its key {SIDECAR_KEY:?}: {e}"));
        // What a note holds is known only once kind and version are.
        let record: Record<serde_json::Value> = serde_json::from_str(json).map_err(parse_error)?;
        if record.kind != self.kind {
            return Err(error(format!("it is the {:?} of a model", record.kind)));
        }
        if record.version != self.version {
            let (found, expected) = (record.version, self.version);
            return Err(error(format!(
                "it has version {found}, this program reads version {expected}; use the program that wrote it"
            )));
        }
        serde_json::from_value(record.note).map_err(parse_error)
    }

    /// The metadata with a note.
    pub(crate) fn metadata(
        &self,
        path: &Path,
        note: &impl Serialize,
    ) -> Result<BTreeMap<String, String>, Error> {
        let record = Record { kind: self.kind.to_owned(), version: self.version, note };
        let json = serde_json::to_string(&record).map_err(|e| Error::Sidecar {
            path: path.to_owned(),
            kind: self.kind,
            problem: format!("its note cannot be written: {e}"),
        })?;
        Ok([(SIDECAR_KEY.to_owned(), json)].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: Sidecar = Sidecar::new("state", 2);

    #[test]
    fn another_kind_version_or_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = STATE.path(&folder.path().join("m"));
        let message = |sidecar: Sidecar| sidecar.open::<u64>(&path).unwrap_err().to_string();
        STATE.write(&path, &7u64, &[]).unwrap();
        assert_eq!(STATE.open::<u64>(&path).unwrap().1, 7);
        let text = message(Sidecar::new("key", 2));
        assert!(text.contains("m.state cannot be used as the key of a model"), "{text}");
        assert!(text.contains("it is the \"state\" of a model"), "{text}");
        let text = message(Sidecar::new("state", 3));
        assert!(text.contains("it has version 2, this program reads version 3"), "{text}");
        // The note is looked at last: that of another version may have any form.
        STATE.write(&path, &"x", &[]).unwrap();
        assert!(message(Sidecar::new("state", 1)).contains("has version 2"));
        assert!(message(STATE).contains("invalid type"), "{}", message(STATE));
        for json in ["", "{}", "[1]", "{\"kind\":\"state\",\"version\":-1,\"note\":7}"] {
            let metadata = [(SIDECAR_KEY.to_owned(), json.to_owned())].into();
            crate::write_file(&path, &[], &metadata).unwrap();
            assert!(message(STATE).contains("its key \"sidecar\""), "{json}");
        }
        crate::write_file(&path, &[], &BTreeMap::new()).unwrap();
        assert!(message(STATE).contains("its metadata has no key \"sidecar\""));
    }

    #[test]
    #[cfg(unix)]
    fn a_secret_is_its_owners_even_in_place_of_an_open_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.key");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        STATE.write(&path, &1u64, &[]).unwrap();
        assert_ne!(mode() & 0o600, 0);
        STATE.write_secret(&path, &2u64, &[]).unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(STATE.open::<u64>(&path).unwrap().1, 2);
    }
}
