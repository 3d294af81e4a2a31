//! Positioned reads from a file that must not change meanwhile, or from memory.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::{Error, FormatProblem};

/// Bytes read at a time where the caller does not say.
const BLOCK_LEN: usize = 1 << 18;
/// Bytes hashed at a time: enough for several threads.
const HASH_LEN: usize = 1 << 20;
/// Files up to this length are fingerprinted whole.
const WHOLE_LEN: u64 = 1 << 20;
/// Pieces of a longer file that make its fingerprint.
const N_PIECES: u64 = 64;

/// A file on disk as it was when it was opened, or a file that is in memory.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    bytes: Bytes,
    identity: Identity,
    n_read: AtomicU64,
}

/// Where the bytes of a file are.
#[derive(Debug)]
enum Bytes {
    Open(File),
    /// On the disk; every read opens it anew.
    Closed,
    Memory(Arc<[u8]>),
    /// From a place on in a file of many, whose handle they share.
    Part(Arc<File>, u64),
}

/// What is the same while a file is: another one under its name has another device or number, one
/// that was written to another length or time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Identity {
    len: u64,
    modified: Option<SystemTime>,
    /// Device and number, where there are such.
    place: Option<(u64, u64)>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let place = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let place = None;
        Self { len: metadata.len(), modified: metadata.modified().ok(), place }
    }
}

impl Source {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        // Before opening, since opening a pipe would wait for its writer.
        if !fs::metadata(path).map_err(read_error)?.is_file() {
            return Err(Error::Format { path: path.to_owned(), problem: FormatProblem::NotAFile });
        }
        let file = File::open(path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        Ok(Self {
            path: path.to_owned(),
            // Elsewhere a read moves the handle's position, so that threads cannot share one.
            bytes: if cfg!(unix) { Bytes::Open(file) } else { Bytes::Closed },
            identity: Identity::of(&metadata),
            n_read: AtomicU64::new(0),
        })
    }

    /// A file in memory, by a name for messages.
    pub(crate) fn in_memory(name: PathBuf, bytes: Arc<[u8]>) -> Self {
        let identity = Identity { len: bytes.len() as u64, modified: None, place: None };
        Self { path: name, bytes: Bytes::Memory(bytes), identity, n_read: AtomicU64::new(0) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same bytes, which are in memory, from `start` on in a file of many.
    pub(crate) fn part(source: &Self, file: Arc<File>, start: u64) -> Self {
        let n_read = AtomicU64::new(source.n_read());
        let bytes = Bytes::Part(file, start);
        Self { path: source.path.clone(), bytes, identity: source.identity, n_read }
    }

    /// Whether its path is only a name.
    pub(crate) fn is_nameless(&self) -> bool {
        matches!(self.bytes, Bytes::Memory(_) | Bytes::Part(..))
    }

    /// All bytes, if they are in memory.
    pub(crate) fn bytes_in_memory(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Memory(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.identity.len
    }

    /// Bytes read so far.
    pub(crate) fn n_read(&self) -> u64 {
        self.n_read.load(Ordering::Relaxed)
    }

    /// The same file without a handle: later reads open it for their duration, and find out if it
    /// is another one.
    ///
    /// A process may hold a thousand files or fewer open at a time, and there can be more updates.
    pub(crate) fn closed(&self) -> Self {
        let bytes = match &self.bytes {
            Bytes::Memory(bytes) => Bytes::Memory(Arc::clone(bytes)),
            Bytes::Part(file, start) => Bytes::Part(Arc::clone(file), *start),
            Bytes::Open(_) | Bytes::Closed => Bytes::Closed,
        };
        let n_read = AtomicU64::new(self.n_read());
        Self { path: self.path.clone(), bytes, identity: self.identity, n_read }
    }

    /// Fills `buffer` from the bytes at `offset`.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let result = match &self.bytes {
            Bytes::Open(file) => read_exact_at(file, buffer, offset),
            Bytes::Closed => {
                let file = File::open(&self.path).map_err(|source| self.read_error(source))?;
                self.compare(&file.metadata().map_err(|source| self.read_error(source))?)?;
                read_exact_at(&file, buffer, offset)
            }
            // Other files follow in it.
            Bytes::Part(file, start) if offset + buffer.len() as u64 <= self.len() => {
                read_exact_at(file, buffer, start + offset)
            }
            Bytes::Part(..) => Err(io::ErrorKind::UnexpectedEof.into()),
            Bytes::Memory(bytes) => {
                let end = offset.saturating_add(buffer.len() as u64);
                let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
                match range.and_then(|(start, end)| bytes.get(start..end)) {
                    Some(bytes) => {
                        buffer.copy_from_slice(bytes);
                        Ok(())
                    }
                    None => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        };
        self.n_read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        result.map_err(|source| self.read_error(source))
    }

    /// Calls `visit` with the bytes from `start` to `end`, block after block.
    pub(crate) fn visit(
        &self,
        start: u64,
        end: u64,
        buffer: &mut Vec<u8>,
        mut visit: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut at = start;
        while at < end {
            let n = usize::try_from(end - at).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
            buffer.resize(n, 0);
            self.read_exact_at(buffer, at)?;
            visit(buffer);
            at += n as u64;
        }
        Ok(())
    }

    /// A name for the content: the hash of all bytes of a small file; of a larger one that of its
    /// length, its first bytes and pieces spread over the rest. Equal files have equal ones.
    pub(crate) fn fingerprint(&self) -> Result<String, Error> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = Vec::new();
        if self.len() <= WHOLE_LEN {
            self.visit(0, self.len(), &mut buffer, |bytes| {
                hasher.update(bytes);
            })?;
        } else {
            hasher.update(&self.len().to_le_bytes());
            let piece_len = WHOLE_LEN / N_PIECES;
            let stride = (self.len() - piece_len) / (N_PIECES - 1);
            for piece in 0..N_PIECES {
                let start = piece * stride;
                self.visit(start, start + piece_len, &mut buffer, |bytes| {
                    hasher.update(bytes);
                })?;
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The BLAKE3 hash of all bytes, on the threads of the calling rayon pool; while some are hashed
    /// the next are read.
    pub(crate) fn hash(&self) -> Result<String, Error> {
        let mut hasher = blake3::Hasher::new();
        let len_at = |at: u64| usize::try_from(self.len() - at).unwrap_or(HASH_LEN).min(HASH_LEN);
        let mut ready = vec![0; len_at(0)];
        let mut next = Vec::new();
        self.read_exact_at(&mut ready, 0)?;
        let mut at = ready.len() as u64;
        while !ready.is_empty() {
            next.resize(len_at(at), 0);
            let ((), read) = rayon::join(
                || {
                    hasher.update_rayon(&ready);
                },
                || self.read_exact_at(&mut next, at),
            );
            read?;
            at += next.len() as u64;
            std::mem::swap(&mut ready, &mut next);
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Fails if the file is another one than when it was opened, or was written to.
    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        let metadata = match &self.bytes {
            Bytes::Open(file) => file.metadata(),
            Bytes::Closed => fs::metadata(&self.path),
            Bytes::Memory(_) | Bytes::Part(..) => return Ok(()),
        };
        self.compare(&metadata.map_err(|source| self.read_error(source))?)
    }

    fn compare(&self, now: &Metadata) -> Result<(), Error> {
        if Identity::of(now) == self.identity {
            Ok(())
        } else {
            Err(Error::Changed { path: self.path.clone() })
        }
    }

    fn read_error(&self, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            // Reads stay within the length seen at opening.
            Error::Changed { path: self.path.clone() }
        } else {
            Error::Read { path: self.path.clone(), source }
        }
    }
}

/// Fills `buffer` from the bytes at `offset`.
#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` from the bytes at `offset`.
#[cfg(not(unix))]
pub(crate) fn read_exact_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_files_read_the_same_bytes_until_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        fs::write(&path, [0, 1, 2, 3, 4, 5]).unwrap();
        let source = Source::open(&path).unwrap();
        let mut buffer = [0; 3];
        source.read_exact_at(&mut buffer, 2).unwrap();
        assert_eq!(buffer, [2, 3, 4]);
        let source = source.closed();
        source.read_exact_at(&mut buffer, 3).unwrap();
        assert_eq!(buffer, [3, 4, 5]);
        assert_eq!(source.n_read(), 6);
        source.check_unchanged().unwrap();

        fs::write(&path, [0, 1, 2, 3]).unwrap();
        assert!(matches!(source.read_exact_at(&mut buffer, 0), Err(Error::Changed { .. })));
        assert!(matches!(source.check_unchanged(), Err(Error::Changed { .. })));
    }

    #[test]
    fn an_open_file_that_shrinks_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        fs::write(&path, [0, 1, 2, 3]).unwrap();
        let source = Source::open(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(1).unwrap();
        assert!(matches!(source.read_exact_at(&mut [0; 4], 0), Err(Error::Changed { .. })));
    }
}
