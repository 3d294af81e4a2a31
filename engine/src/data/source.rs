//! An open file: its first bytes, then all of them, unpacked where it is packed.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::unpack;

/// Bytes that are read from a file at once.
const BUFFER: usize = 1 << 16;

/// Most bytes of a row, as one that never ends would fill the memory: a packed file of a few kilobytes
/// may hold such a one.
pub(super) const MAX_ROW: u64 = 1 << 26;

/// A file to read, from its start.
pub(super) struct Source<'s> {
    /// Its path, for messages.
    pub(super) path: &'s Path,
    /// Its bytes.
    pub(super) input: Box<dyn BufRead + 's>,
}

impl<'s> Source<'s> {
    /// Opens a file.
    pub(super) fn open(path: &'s Path) -> anyhow::Result<Self> {
        // The reader of a folder opens what is in it.
        if path.is_dir() {
            return Ok(Self::new(path, io::empty()));
        }
        let file = File::open(path)
            .with_context(|| format!("{}: cannot open the file", path.display()))?;
        Ok(Self::new(path, BufReader::with_capacity(BUFFER, file)))
    }

    /// What a file of this path would hold.
    pub(super) fn new(path: &'s Path, input: impl BufRead + 's) -> Self {
        Self { path, input: Box::new(input) }
    }

    /// The first bytes, which stay to be read.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn head(&mut self) -> anyhow::Result<&[u8]> {
        let path = self.path;
        self.input.fill_buf().with_context(|| format!("{}: cannot read the file", path.display()))
    }

    /// The same without what packs it, by its first bytes; as it is if nothing does, or this build
    /// cannot unpack.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn unpacked(mut self) -> anyhow::Result<Self> {
        let packing = unpack::packing(self.head()?);
        Ok(match packing {
            Some(packing) => {
                let input = unpack::reader(packing, self.input);
                Self::new(self.path, BufReader::with_capacity(BUFFER, input))
            }
            None => self,
        })
    }
}

/// Endings of the names of packed files that are read.
const PACKED: &[&str] = if cfg!(feature = "compression") { &["gz", "zst"] } else { &[] };

/// The name of what a packed file holds, and whether its name says that it is packed.
pub(super) fn inner_name(path: &Path) -> (PathBuf, bool) {
    let packed =
        path.extension().is_some_and(|end| PACKED.iter().any(|&p| end.eq_ignore_ascii_case(p)));
    (if packed { path.with_extension("") } else { path.to_owned() }, packed)
}
