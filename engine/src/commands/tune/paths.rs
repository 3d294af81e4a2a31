//! Paths of a job in a file that lies elsewhere.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::job::Job;

/// What was written, with paths that lead from the new file to the same places.
///
/// The data is that of `given`, if something was given: one path stands in the file, several do not.
pub(super) fn moved(
    mut written: Value,
    job: &Job,
    given: &[PathBuf],
    out: &Path,
) -> anyhow::Result<Value> {
    if given.is_empty() && written.get("data").is_none() {
        return Ok(written);
    }
    if written.get("data").is_none() {
        written["data"] = Value::Object(serde_json::Map::new());
    }
    let Some(data) = written.get_mut("data").and_then(Value::as_object_mut) else {
        return Ok(written);
    };
    let folder = out.parent().unwrap_or(Path::new(""));
    let mut config = job.data.clone();
    match given {
        [] => {}
        [one] => {
            config.path = Some(one.clone());
            data.insert("path".to_owned(), Value::Null);
        }
        _ => {
            config.path = None;
            data.remove("path");
        }
    }
    for path in config.paths_mut() {
        *path = way(folder, path)?;
    }
    let own = serde_json::to_value(&config)?;
    for (key, value) in data.iter_mut() {
        if ["path", "split_file", "labels"].contains(&key.as_str())
            && let Some(new) = own.get(key)
        {
            value.clone_from(new);
        }
    }
    Ok(written)
}

/// The way from a folder to a path: relative where one lies in the other's neighbourhood, else from the root.
fn way(folder: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    let whole = |path: &Path| -> anyhow::Result<PathBuf> {
        let absolute = if path.as_os_str().is_empty() {
            std::env::current_dir()
        } else {
            std::path::absolute(path)
        };
        let absolute = absolute.with_context(|| path.display().to_string())?;
        // Its folder as it is; a link of its own name leads on by itself.
        let folder = absolute.parent().and_then(|folder| folder.canonicalize().ok());
        match (folder, absolute.file_name()) {
            (Some(folder), Some(name)) => Ok(folder.join(name)),
            _ => Ok(absolute.canonicalize().unwrap_or(absolute)),
        }
    };
    let (from, to) = (whole(folder)?, whole(path)?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    if shared < 2 {
        return Ok(to);
    }
    let up = from.components().skip(shared).map(|_| Path::new(".."));
    let down = to.components().skip(shared).map(|part| Path::new(part.as_os_str()).to_owned());
    let mut way: PathBuf = up.collect();
    way.extend(down);
    Ok(if way.as_os_str().is_empty() { PathBuf::from(".") } else { way })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_from_the_folder_to_the_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().canonicalize().expect("there");
        for sub in ["a/b", "data"] {
            std::fs::create_dir_all(at.join(sub)).expect("made");
        }
        let to = |from: &str, path: &str| way(&at.join(from), &at.join(path)).expect("a way");
        assert_eq!(to("a/b", "data"), Path::new("../../data"));
        assert_eq!(to("", "data"), Path::new("data"));
        assert_eq!(to("data", "data"), Path::new("."));
        assert_eq!(way(&at, Path::new("/")).expect("a way"), Path::new("/"));
    }
}
