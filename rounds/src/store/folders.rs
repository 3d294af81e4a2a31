//! Listing a folder that anybody may have written to.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::object::Object;

/// Folders below which nothing of rounds is.
const DEEPEST: usize = 4;

/// The plain files below a folder of a store, sorted by path. Links are not followed, and what has a name that no
/// object has is passed over: whoever put it there shall not hide the rest.
pub(super) fn list(root: &Path, folder: &str) -> Result<Vec<Object>, object_store::Error> {
    let mut objects = Vec::new();
    collect(&root.join(folder), folder, DEEPEST, &mut objects).map_err(failed)?;
    objects.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(objects)
}

/// Whether a folder can be read, however much is in it.
pub(super) fn answers(root: &Path) -> Result<(), object_store::Error> {
    fs::read_dir(root).map(|_| ()).map_err(failed)
}

fn failed(source: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "folder", source: Box::new(source) }
}

fn collect(at: &Path, path: &str, depth: usize, objects: &mut Vec<Object>) -> std::io::Result<()> {
    let entries = match fs::read_dir(at) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(());
        }
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // A file on its way has a number behind a sign in its name, and takes its own name at the end.
        let is_plain =
            |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(is_plain) else { continue };
        let below = format!("{path}/{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => {
                collect(&entry.path(), &below, depth - 1, objects)?;
            }
            Ok(kind) if kind.is_file() => {
                // It may be gone by now.
                if let Ok(meta) = entry.metadata() {
                    objects.push(Object { path: below, bytes: meta.len() });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether there is something that is no plain file.
pub(super) fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file())
}
