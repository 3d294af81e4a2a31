//! Files that appear under their name complete or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use crate::Error;
use crate::source::{Source, read_exact_at};
use crate::target::Target;

/// Writes `bytes` to `path` so that at no moment a torn file has that name.
///
/// The bytes go to a temporary file in the same folder, are synced to the disk, and take the name
/// by renaming, which replaces an older file. If any of it fails, the older file is still there
/// and nothing else is. What `path` stands for and what is replaced, a [`Target`] says: links are
/// followed, permissions are kept, and are those of any new file where there is none yet.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// aggregate::atomic_write(&path, b"all of it")?;
/// assert_eq!(std::fs::read(&path)?, b"all of it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of [`Target::new`], and [`Error::Write`] if writing fails.
pub fn atomic_write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
    let mut file = PendingFile::create(path.as_ref())?;
    file.write_all(bytes).map_err(|source| file.write_error(source))?;
    file.persist()
}

/// The same for what is written piece by piece and never is in memory as a whole; if `write` fails, the older
/// file is still there.
///
/// ```
/// use std::io::Write;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("squares.csv");
/// aggregate::atomic_stream(&path, |out| -> Result<(), Box<dyn std::error::Error>> {
///     (0..3).try_for_each(|i| writeln!(out, "{i},{}", i * i))?;
///     Ok(())
/// })?;
/// assert_eq!(std::fs::read_to_string(&path)?, "0,0\n1,1\n2,4\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of [`atomic_write`], and what `write` gives.
pub fn atomic_stream<E: From<Error>>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut file = PendingFile::create(path.as_ref())?;
    let mut buffered = BufWriter::new(&mut file);
    write(&mut buffered)?;
    let flushed = buffered.flush();
    drop(buffered);
    flushed.map_err(|source| file.write_error(source))?;
    Ok(file.persist()?)
}

/// The temporary files of this process that have no name yet.
static PENDING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn pending() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of everything that this process is writing: for a process that ends
/// in the middle of its work, as at a signal.
///
/// While what it returns is kept, no thread makes another one or gives one its name, so that nothing
/// can be left behind between this and the end.
///
/// ```no_run
/// let _kept = aggregate::abandon_pending();
/// std::process::exit(130);
/// ```
pub fn abandon_pending() -> Abandoned {
    let list = pending();
    for path in list.iter() {
        // One that is gone already is what was wanted.
        let _ = fs::remove_file(path);
    }
    Abandoned { _list: list }
}

/// While it is kept, no file is begun or finished; see [`abandon_pending`].
#[derive(Debug)]
#[must_use = "files can be begun again as soon as it is dropped"]
pub struct Abandoned {
    _list: MutexGuard<'static, BTreeSet<PathBuf>>,
}

/// A temporary file's place in the list.
#[derive(Debug)]
struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        pending().remove(&self.0);
    }
}

/// How the names of temporary files begin and end: unlike any that somebody else would choose.
const PREFIX: &str = ".edgectl-incomplete-";
const SUFFIX: &str = ".tmp";

/// The folders that were looked through: to list a folder for each of many files takes their square.
static TIDIED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Removes temporary files that nobody holds a lock on, as their programs were killed; in each
/// folder once.
fn remove_stale(folder: &Path) {
    // The same folder by another path is looked through once more, which does no harm.
    if !TIDIED.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned()) {
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_temporary =
            name.to_str().is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(SUFFIX));
        if is_temporary
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::options().read(true).write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            // While it is locked, so that its maker, if it has only just made it, sees that it is gone.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A temporary file that will be a target; dropped before that, it is removed.
#[derive(Debug)]
pub(crate) struct PendingFile {
    target: Target,
    file: NamedTempFile,
    // After the file: it is listed for as long as it is there.
    listed: Listed,
    /// Whether only its owner may read it, whatever it replaces.
    is_secret: bool,
}

impl PendingFile {
    /// Creates the temporary file, next to where it will be; the first in a folder removes those of
    /// programs that were killed.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        Self::begin(Target::new(path)?, false)
    }

    /// The same, of a file that only its owner can read.
    pub(crate) fn create_secret(path: &Path) -> Result<Self, Error> {
        Self::begin(Target::new(path)?, true)
    }

    fn begin(target: Target, is_secret: bool) -> Result<Self, Error> {
        remove_stale(target.folder());
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // What any new file asks for; the system takes the umask off.
            let mode = target.mode(if is_secret { 0o600 } else { 0o666 });
            builder.permissions(fs::Permissions::from_mode(mode));
        }
        loop {
            let mut list = pending();
            let file = builder
                .tempfile_in(target.folder())
                .map_err(|source| Error::Write { path: target.path().to_owned(), source })?;
            list.insert(file.path().to_owned());
            drop(list);
            let listed = Listed(file.path().to_owned());
            // The lock says that somebody is at work, and ends with the process, however that ends.
            // Where the system has no locks nobody can take it, and nothing is ever removed.
            let _ = file.as_file().lock();
            if file.path().exists() {
                return Ok(Self { target, file, listed, is_secret });
            }
            // Another program took it for a stale one between its creation and the lock.
        }
    }

    /// The name it will have.
    pub(crate) fn path(&self) -> &Path {
        self.target.path()
    }

    pub(crate) fn write_error(&self, source: io::Error) -> Error {
        Error::Write { path: self.path().to_owned(), source }
    }

    /// Writes bytes to a place in the file.
    pub(crate) fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        write_all_at(self.file.as_file(), bytes, offset).map_err(|e| self.write_error(e))
    }

    /// Fills `buffer` with bytes that were written.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        read_exact_at(self.file.as_file(), buffer, offset).map_err(|e| self.write_error(e))
    }

    /// Cuts the file, or makes it longer.
    pub(crate) fn set_len(&self, len: u64) -> Result<(), Error> {
        self.file.as_file().set_len(len).map_err(|e| self.write_error(e))
    }

    /// A name for the content, see [`Source::hash`].
    pub(crate) fn hash(&self) -> Result<String, Error> {
        Source::open(self.file.path())?.hash()
    }

    /// Waits until the bytes are on the disk.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.as_file().sync_all().map_err(|source| self.write_error(source))
    }

    /// Syncs, and gives the file another name than was planned, in the same folder.
    pub(crate) fn persist_as(self, path: &Path) -> Result<(), Error> {
        Self { target: Target::new(path)?, ..self }.persist()
    }

    /// Syncs, and gives the file its name.
    pub(crate) fn persist(self) -> Result<(), Error> {
        if !self.is_secret {
            self.target.hand_on(self.file.as_file()).map_err(|source| self.write_error(source))?;
        }
        self.sync()?;
        let Self { target, file, listed, .. } = self;
        let list = pending();
        let renamed = file.persist(target.real_path());
        drop(list);
        drop(listed);
        renamed.map_err(|e| Error::Write { path: target.path().to_owned(), source: e.error })?;
        // The new name outlives a power cut only once the folder is synced. Some systems cannot
        // sync a folder, and the file is complete either way.
        if let Ok(folder) = File::open(target.folder()) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Writes all bytes to a place in a file.
#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Writes all bytes to a place in a file.
#[cfg(not(unix))]
pub(crate) fn write_all_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TargetError;

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let mut file = PendingFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn what_a_killed_program_left_is_removed_and_what_is_at_work_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let left = path(&format!("{PREFIX}left{SUFFIX}"));
        let of_another = path(&format!("{PREFIX}other{SUFFIX}"));
        let others = path(".incomplete-my-notes.tmp");
        fs::write(&others, "mine").unwrap();
        fs::write(&left, "half").unwrap();
        let at_work = File::create(&of_another).unwrap();
        at_work.lock().unwrap();
        let ours = PendingFile::create(&path("a")).unwrap();
        assert!(!left.exists() && of_another.exists() && others.exists());
        atomic_write(path("b"), b"whole").unwrap();
        ours.persist().unwrap();
        assert!(path("a").exists() && of_another.exists());
    }

    #[test]
    fn a_folder_is_not_listed_for_every_file() {
        let folder = tempfile::tempdir().unwrap();
        atomic_write(folder.path().join("a"), b"x").unwrap();
        // Whoever listed the folder again would remove it.
        let left = folder.path().join(format!("{PREFIX}left{SUFFIX}"));
        fs::write(&left, "half").unwrap();
        for i in 0..100 {
            atomic_write(folder.path().join(i.to_string()), b"x").unwrap();
        }
        assert!(left.exists());
    }

    #[test]
    fn targets_that_cannot_be_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none/out");
        assert!(matches!(
            atomic_write(&missing, b""),
            Err(Error::Target(TargetError::NoFolder { .. }))
        ));
        assert!(matches!(
            atomic_write(folder.path(), b""),
            Err(Error::Target(TargetError::NotAFile { .. }))
        ));
        assert!(matches!(
            atomic_write("..", b""),
            Err(Error::Target(TargetError::NotAFile { .. }))
        ));
        let file = folder.path().join("file");
        atomic_write(&file, b"x").unwrap();
        assert!(matches!(
            atomic_write(file.join("out"), b""),
            Err(Error::Target(TargetError::NoFolder { .. }))
        ));
    }

    #[test]
    #[cfg(unix)]
    fn permissions_are_those_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        atomic_write(&ours, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    #[cfg(unix)]
    fn links_stay_and_permissions_are_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        fs::create_dir(at("store")).unwrap();
        for old in [0o640, 0o604, 0o400, 0o777] {
            fs::write(at("store/v1"), "old").unwrap();
            fs::set_permissions(at("store/v1"), fs::Permissions::from_mode(old)).unwrap();
            let _ = symlink("store/v1", at("current"));
            atomic_write(at("current"), b"new").unwrap();
            assert!(at("current").is_symlink());
            assert_eq!(fs::read(at("store/v1")).unwrap(), b"new");
            assert_eq!(mode("store/v1"), old);
            fs::remove_file(at("store/v1")).unwrap();
        }
        atomic_write(at("current"), b"new").unwrap();
        assert!(at("current").is_symlink() && at("store/v1").is_file());
        PendingFile::create_secret(&at("store/v1")).unwrap().persist().unwrap();
        assert_eq!(mode("store/v1"), 0o600);
    }
}
