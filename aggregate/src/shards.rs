//! Models in several files, with an index that says which tensor is in which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path};

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

/// Whether a path names an index and not a weight file.
pub(crate) fn is_index(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(SUFFIX))
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
    let len = fs::metadata(path).map_err(read_error)?.len();
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
        sources.push(source);
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
