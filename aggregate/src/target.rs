//! What an output may replace: a plain file that is no input and no other output.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::shards::is_index;
use crate::{Error, TargetError};

/// Links that lead from one to the next, at most; as many as Linux follows.
const MOST_LINKS: usize = 40;

/// The file that an output will be: made from a path before there is anything to write.
///
/// A link is followed, so that what is written is what the path stands for, and the link stays. A
/// file that is there is replaced by renaming, and its permissions (and, where the system lets this
/// process, its owner and group) are given to the new one. A folder, pipe, socket or device is never
/// replaced.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let target = aggregate::Target::new(folder.path().join("global.safetensors"))?;
/// assert!(!target.exists());
/// assert!(aggregate::Target::new(folder.path()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Target {
    path: PathBuf,
    real: PathBuf,
    folder: PathBuf,
    replaced: Option<Box<Metadata>>,
}

impl Target {
    /// Finds out what a path stands for.
    ///
    /// # Errors
    /// [`TargetError::NotAFileName`] if the path does not end in a name, [`TargetError::NotAFile`] if it names
    /// something other than a plain file, [`TargetError::NoFolder`] if its folder does not exist,
    /// [`TargetError::LinkedIndex`] if it is a link to the index of a model in several files, and
    /// [`Error::Write`] if the system does not say.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let write_error = |source| Error::Write { path: path.to_owned(), source };
        let replaced = match fs::metadata(path) {
            Ok(metadata) => Some(Box::new(metadata)),
            Err(error) if is_nowhere(&error) => None,
            Err(error) => return Err(write_error(error)),
        };
        if let Some(metadata) = &replaced
            && !metadata.is_file()
        {
            return Err(Error::Target(TargetError::NotAFile {
                path: path.to_owned(),
                kind: kind(metadata),
            }));
        }
        check_ends_in_name(path)?;
        let is_link = path.is_symlink();
        // The shards of a model lie beside the name by which its index is opened.
        if is_link && is_index(path) {
            return Err(Error::Target(TargetError::LinkedIndex { path: path.to_owned() }));
        }
        let named = if is_link { follow(path).map_err(write_error)? } else { path.to_owned() };
        check_ends_in_name(&named)?;
        let folder = folder_of(&named);
        if !folder.is_dir() {
            return Err(Error::Target(TargetError::NoFolder { path: path.to_owned(), folder }));
        }
        let folder = fs::canonicalize(&folder).map_err(write_error)?;
        let real = folder.join(named.file_name().unwrap_or_default());
        Ok(Self { path: path.to_owned(), real, folder, replaced })
    }

    /// The path as it was given, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the file itself, without links.
    pub fn real_path(&self) -> &Path {
        &self.real
    }

    /// Whether there is a file to be replaced.
    pub fn exists(&self) -> bool {
        self.replaced.is_some()
    }

    /// The folder of the file itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the file is known by, under whatever name.
    pub(crate) fn place(&self) -> Place {
        match &self.replaced {
            Some(metadata) => Place::of(&self.real, metadata),
            None => Place::Path(self.real.clone()),
        }
    }

    /// The permissions with which to create the file, of those that are asked for: never more than
    /// what it replaces has.
    #[cfg(unix)]
    pub(crate) fn mode(&self, asked: u32) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        let old = self.replaced.as_ref().map_or(0o777, |old| old.permissions().mode());
        (asked & old) | (asked & 0o600)
    }

    /// Gives a new file owner, group and permissions of the one it replaces, as far as the system
    /// lets this process. A group that cannot be given back gets no more than all others.
    #[cfg(unix)]
    pub(crate) fn hand_on(&self, file: &File) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
        let Some(old) = &self.replaced else { return Ok(()) };
        let new = file.metadata()?;
        if old.uid() != new.uid() {
            let _ = fchown(file, Some(old.uid()), None);
        }
        let has_group = old.gid() == new.gid() || fchown(file, None, Some(old.gid())).is_ok();
        let mode = old.permissions().mode() & 0o777;
        let mode = if has_group { mode } else { mode & (0o707 | (mode & 0o007) << 3) };
        file.set_permissions(fs::Permissions::from_mode(mode))
    }

    /// There are no such owners and permissions.
    #[cfg(not(unix))]
    pub(crate) fn hand_on(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

/// What a file is known by, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Device and number.
    #[cfg(unix)]
    Inode(u64, u64),
    /// The path without links, of a file that is not there yet, or where there are no numbers.
    Path(PathBuf),
}

impl Place {
    /// That of a file that is there; none of one that is not.
    pub(crate) fn find(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Some(Self::of(&path, &metadata))
    }

    #[cfg(unix)]
    fn of(_: &Path, metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self::Inode(metadata.dev(), metadata.ino())
    }

    #[cfg(not(unix))]
    fn of(path: &Path, _: &Metadata) -> Self {
        Self::Path(path.to_owned())
    }
}

/// Whether an error says that nothing is there.
fn is_nowhere(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What a thing that is no plain file is called.
fn kind(metadata: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return "a pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if metadata.is_dir() { "a folder" } else { "no plain file" }
}

/// Fails for `..`, `/` and `new/`, of which no file can have the name.
fn check_ends_in_name(path: &Path) -> Result<(), Error> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let as_folder = [&b"/"[..], b"/."].iter().any(|end| bytes.ends_with(end));
    if path.file_name().is_none() || as_folder {
        return Err(Error::Target(TargetError::NotAFileName { path: path.to_owned() }));
    }
    Ok(())
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Where a link leads in the end, whether something is there or not.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        if !at.is_symlink() {
            return Ok(at);
        }
        at = folder_of(&at).join(fs::read_link(&at)?);
    }
    Err(io::Error::other("too many links"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_are_targets() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        assert!(Target::new(at("file")).unwrap().exists());
        assert!(!Target::new(at("new")).unwrap().exists());
        assert!(matches!(
            Target::new(folder.path()),
            Err(Error::Target(TargetError::NotAFile { .. }))
        ));
        assert!(matches!(Target::new(".."), Err(Error::Target(TargetError::NotAFile { .. }))));
        assert!(matches!(Target::new(""), Err(Error::Target(TargetError::NotAFileName { .. }))));
        assert!(matches!(
            Target::new(at("new/")),
            Err(Error::Target(TargetError::NotAFileName { .. }))
        ));
        assert!(matches!(
            Target::new(at("none/new")),
            Err(Error::Target(TargetError::NoFolder { .. }))
        ));
        assert!(matches!(
            Target::new(at("file/new")),
            Err(Error::Target(TargetError::NoFolder { .. }))
        ));
        assert!(matches!(Target::new(at(&"x".repeat(300))), Err(Error::Write { .. })));
    }

    #[test]
    #[cfg(unix)]
    fn links_are_followed_also_to_what_is_not_there() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("store")).unwrap();
        symlink("store/v1", at("current")).unwrap();
        symlink("current", at("latest")).unwrap();
        let target = Target::new(at("latest")).unwrap();
        assert_eq!(target.real_path(), fs::canonicalize(at("store")).unwrap().join("v1"));
        symlink("none/v1", at("lost")).unwrap();
        assert!(matches!(
            Target::new(at("lost")),
            Err(Error::Target(TargetError::NoFolder { .. }))
        ));
        symlink("round", at("round")).unwrap();
        assert!(matches!(Target::new(at("round")), Err(Error::Write { .. })));
        symlink("/dev/null", at("null")).unwrap();
        assert!(matches!(
            Target::new(at("null")),
            Err(Error::Target(TargetError::NotAFile { kind: "a device", .. }))
        ));
        symlink("store/x", at("x.safetensors.index.json")).unwrap();
        let index = Target::new(at("x.safetensors.index.json"));
        assert!(matches!(index, Err(Error::Target(TargetError::LinkedIndex { .. }))));
    }
}
