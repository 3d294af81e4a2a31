//! Many weight files in one temporary file without a name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::atomic::write_all_at;
use crate::layouts::Layouts;
use crate::source::Source;
use crate::{Error, WeightFile};

/// One temporary file that holds many weight files, for as long as one of them is used.
///
/// It takes no room in memory, one handle however many files it holds, and is never synced; it has
/// no name, so that nothing of it is left behind, however the process ends. Files are kept from
/// many threads at once. Where the system has no reads at a place of a shared handle, they stay in
/// memory.
///
/// ```
/// use aggregate::{Spool, TensorData, TensorRef, weight_file};
///
/// let folder = tempfile::tempdir()?;
/// let spool = Spool::create(folder.path())?;
/// let tensor = TensorRef { name: "w", shape: &[2], data: TensorData::F32(&[1.0, 2.0]) };
/// let file = spool.keep(&weight_file("node", &[tensor], &Default::default())?)?;
/// drop(spool);
/// assert_eq!(file.read_f32("w")?, [1.0, 2.0]);
/// assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    file: Arc<File>,
    /// Where the next file begins.
    end: AtomicU64,
    layouts: Layouts,
}

impl Spool {
    /// Makes the temporary file on the disk of a folder.
    ///
    /// # Errors
    /// [`Error::Write`] if that cannot be done.
    pub fn create(folder: &Path) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(folder)
            .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
        let (end, layouts) = (AtomicU64::new(0), Layouts::default());
        Ok(Self { folder: folder.to_owned(), file: Arc::new(file), end, layouts })
    }

    /// Moves a weight file from memory to this one; a file that has a path is left where it is.
    ///
    /// # Errors
    /// [`Error::Write`] with the folder if it cannot be written.
    pub fn keep(&self, file: &WeightFile) -> Result<WeightFile, Error> {
        let mut kept = file.with_sources(|source| {
            let Some(bytes) = source.bytes_in_memory().filter(|_| cfg!(unix)) else {
                return Ok(source.closed());
            };
            let start = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            write_all_at(&self.file, bytes, start)
                .map_err(|source| Error::Write { path: self.folder.clone(), source })?;
            Ok(Source::part(source, Arc::clone(&self.file), start))
        })?;
        self.layouts.share_tensors(&mut kept);
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rayon::prelude::*;

    use super::*;
    use crate::{TensorData, TensorRef, weight_file};

    #[test]
    fn files_of_many_threads_keep_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::create(folder.path()).unwrap();
        let make = |i: usize| {
            let values = testkit::sequence(i as u64, i * 37 % 1000);
            let shape = [values.len()];
            let tensor = TensorRef { name: "w", shape: &shape, data: TensorData::F32(&values) };
            let metadata = BTreeMap::from([("i".to_owned(), i.to_string())]);
            weight_file(format!("{i}"), &[tensor], &metadata).unwrap()
        };
        let kept: Vec<WeightFile> =
            (0..200).into_par_iter().map(|i| spool.keep(&make(i)).unwrap()).collect();
        drop(spool);
        for (i, kept) in kept.iter().enumerate() {
            let made = make(i);
            assert_eq!(kept.path(), made.path());
            assert_eq!(kept.metadata(), made.metadata());
            assert_eq!(kept.content_hash().unwrap(), made.content_hash().unwrap());
            let (found, expected) = (kept.read_f32("w").unwrap(), made.read_f32("w").unwrap());
            testkit::assert_same_bits("w", &found, &expected);
        }
    }

    #[test]
    fn a_read_ends_where_its_file_does() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::create(folder.path()).unwrap();
        let keep =
            |name: &str| spool.keep(&weight_file(name, &[], &BTreeMap::new()).unwrap()).unwrap();
        let (a, _b) = (keep("a"), keep("b"));
        let mut buffer = vec![0; a.file_len() as usize + 1];
        assert!(a.with_sources(|s| s.read_exact_at(&mut buffer, 0).map(|()| s.closed())).is_err());
    }
}
