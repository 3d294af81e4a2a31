//! Models in several files, with an index that says which tensor is in which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::header::read_header;
use crate::source::Source;
use crate::{Error, TensorInfo};

/// How the name of an index ends.
pub(crate) const SUFFIX: &str = ".safetensors.index.json";
/// The largest index that is read, in bytes: that of a million tensors.
const MAX_INDEX_LEN: u64 = 100_000_000;
/// The most files an index may name.
const MAX_SHARDS: usize = 10_000;
/// So many shards stay open; of more, each read opens its file.
const MAX_OPEN_SHARDS: usize = 64;
/// Digits of the content's hash in the name of a shard.
pub(crate) const TAG_LEN: usize = 8;

/// Whether a path names an index and not a weight file.
pub(crate) fn is_index(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().ends_with(SUFFIX.as_bytes())
}

/// The name of an index without its ending.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(SUFFIX).unwrap_or(&name).to_owned()
}

/// The shards of the index that is there which were written under its name: they go with it.
pub(crate) fn own_shards(index: &Path) -> Vec<PathBuf> {
    if !is_index(index) {
        return Vec::new();
    }
    // One that cannot be read names none.
    let names = named_by(index).unwrap_or_default();
    let (folder, stem) = (index.parent().unwrap_or(Path::new("")), stem(index));
    let own = names.iter().filter(|name| is_own_shard(name, &stem));
    own.map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// Whether a name is `STEM-00001-of-00002.0123abcd.safetensors`.
fn is_own_shard(name: &str, stem: &str) -> bool {
    let own = || {
        let rest = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".safetensors")?;
        let (numbers, tag) = rest.split_once('.')?;
        let (i, n) = numbers.split_once("-of-")?;
        let digits = |text: &str| text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit());
        let hex = tag.len() == TAG_LEN && tag.bytes().all(|b| b.is_ascii_hexdigit());
        Some(digits(i) && digits(n) && hex)
    };
    own().unwrap_or(false)
}

/// The JSON of an index.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names.
pub(crate) fn named_by(path: &Path) -> Result<BTreeSet<String>, Error> {
    Ok(read_index(path)?.weight_map.into_values().collect())
}

fn read_index(path: &Path) -> Result<Index, Error> {
    let error = |problem: String| Error::Index { path: path.to_owned(), problem };
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(read_error)?;
    // A pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(error("it is no plain file".to_owned()));
    }
    let len = metadata.len();
    if len > MAX_INDEX_LEN {
        return Err(error(format!("it has {len} bytes, at most {MAX_INDEX_LEN} are read")));
    }
    serde_json::from_slice(&fs::read(path).map_err(read_error)?).map_err(|e| error(e.to_string()))
}

/// The files of a sharded model, opened and checked.
pub(crate) struct Shards {
    pub(crate) sources: Vec<Source>,
    /// Of all of them, sorted by name.
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Opens all shards of an index. Each must be a plain file name beside it, hold what the index says
/// and nothing else.
pub(crate) fn open_shards(path: &Path) -> Result<Shards, Error> {
    let error = |problem: String| Error::Index { path: path.to_owned(), problem };
    let index = read_index(path)?;
    if index.weight_map.is_empty() {
        return Err(error("its weight_map is empty or missing".into()));
    }
    let names: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    if names.len() > MAX_SHARDS {
        return Err(error(format!("it names {} files, at most {MAX_SHARDS}", names.len())));
    }

    let keep_open = names.len() <= MAX_OPEN_SHARDS;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut sources, mut tensors, mut metadata) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (shard, name) in names.into_iter().enumerate() {
        // A path out of the folder could name any file of the machine.
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(error(format!("{name:?} is not the name of a file beside it")));
        }
        let source = Source::open(&folder.join(name))?;
        let header = read_header(&source)?;
        for mut tensor in header.tensors {
            if index.weight_map.get(&tensor.name).map(String::as_str) != Some(name) {
                return Err(error(format!("{name} holds tensor {:?} against it", tensor.name)));
            }
            tensor.shard = shard;
            tensors.push(tensor);
        }
        metadata.extend(header.metadata);
        sources.push(if keep_open { source } else { source.closed() });
    }
    if tensors.len() != index.weight_map.len() {
        let found: BTreeSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
        let missing = index.weight_map.keys().find(|name| !found.contains(name.as_str()));
        let missing = missing.map(String::as_str).unwrap_or_default();
        return Err(error(format!("no shard holds tensor {missing:?}")));
    }
    tensors.sort();
    Ok(Shards { sources, tensors, metadata })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_no_index() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("x.safetensors.index.json");
        fs::create_dir(&index).unwrap();
        let error = named_by(&index).unwrap_err();
        assert!(error.to_string().contains("no plain file"), "{error}");
    }

    #[test]
    fn only_own_shards_are_known() {
        assert!(is_own_shard("model-00001-of-00002.0123abcd.safetensors", "model"));
        for name in [
            "model-00001-of-00002.safetensors",
            "other-00001-of-00002.0123abcd.safetensors",
            "model-1-of-2.0123abcd.safetensors",
            "model-00001-of-00002.0123abc.safetensors",
            "model.safetensors",
        ] {
            assert!(!is_own_shard(name, "model"), "{name}");
        }
    }
}
