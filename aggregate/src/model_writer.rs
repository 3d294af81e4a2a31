//! The output of a merge: one weight file, or an index and its shards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::dtype::byte_len;
use crate::shards::{TAG_LEN, is_index, named_by, own_shards, stem};
use crate::sink::Sink;
use crate::spent::Spent;
use crate::tensor_writer::TensorWriter;
use crate::{Dtype, Error, WeightFile};

/// Most bytes of a shard where nobody says: as `transformers` has it.
const SHARD_BYTES: u64 = 5_000_000_000;

/// Name, dtype and shape of a tensor.
type Spec = (String, Dtype, Vec<usize>);

/// A model that is written piece by piece.
#[derive(Debug)]
pub(crate) struct ModelWriter {
    path: PathBuf,
    shards: Vec<TensorWriter>,
    /// Shard and number within it, of each tensor.
    places: Vec<(usize, usize)>,
    /// Name and bytes of each tensor.
    tensors: Vec<(String, u64)>,
}

/// A model that is complete and still has to take its name.
#[derive(Debug)]
pub(crate) struct PendingModel {
    path: PathBuf,
    shards: Vec<Sink>,
    /// The index, and the names that its shards will have.
    index: Option<(Vec<u8>, Vec<String>)>,
}

impl ModelWriter {
    /// Begins the files where `sink` says, with room for `spare` bytes of metadata in each.
    pub(crate) fn create(
        path: &Path,
        sink: impl Fn(&Path) -> Result<Sink, Error>,
        specs: Vec<Spec>,
        spare: usize,
        shard_bytes: Option<u64>,
    ) -> Result<Self, Error> {
        let most = if is_index(path) { shard_bytes.unwrap_or(SHARD_BYTES) } else { u64::MAX };
        let mut lists: Vec<Vec<Spec>> = vec![Vec::new()];
        let (mut places, mut tensors, mut filled) = (Vec::new(), Vec::new(), 0_u64);
        for spec in specs {
            let n = byte_len(spec.1, spec.2.iter().product()) as u64;
            if filled > 0 && filled.saturating_add(n) > most {
                lists.push(Vec::new());
                filled = 0;
            }
            filled += n;
            let shard = lists.len() - 1;
            places.push((shard, lists[shard].len()));
            tensors.push((spec.0.clone(), n));
            lists[shard].push(spec);
        }
        let shards = lists
            .into_iter()
            .map(|list| TensorWriter::new(sink(path)?, list, &BTreeMap::new(), spare))
            .collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), shards, places, tensors })
    }

    /// Writes elements of a tensor, from `start` on.
    pub(crate) fn write(&mut self, tensor: usize, start: usize, bytes: &[u8]) -> Result<(), Error> {
        let (shard, place) = self.places[tensor];
        self.shards[shard].write(place, start, bytes)
    }

    /// Writes the metadata and ends the files: the content hash, the model without its name,
    /// and the time of all writing.
    pub(crate) fn finish(
        self,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(String, PendingModel, Spent), Error> {
        let (mut hashes, mut shards, mut spent) = (Vec::new(), Vec::new(), Spent::default());
        for shard in self.shards {
            let (hash, file, more) = shard.finish(metadata)?;
            spent += more;
            hashes.push(hash);
            shards.push(file);
        }
        if !is_index(&self.path) {
            let hash = hashes.pop().unwrap_or_default();
            return Ok((hash, PendingModel { path: self.path, shards, index: None }, spent));
        }
        // As `WeightFile::content_hash` names it.
        let hash = match &hashes[..] {
            [one] => one.clone(),
            all => blake3::hash(all.concat().as_bytes()).to_hex().to_string(),
        };
        let n = shards.len();
        let stem = stem(&self.path);
        // With the content in their names, new shards never replace those of the old model: until
        // the index takes its name, the old model is whole.
        let tag = &hash[..TAG_LEN];
        let names: Vec<String> =
            (1..=n).map(|i| format!("{stem}-{i:05}-of-{n:05}.{tag}.safetensors")).collect();
        let weight_map: BTreeMap<&str, &str> = self
            .tensors
            .iter()
            .zip(&self.places)
            .map(|((name, _), &(shard, _))| (name.as_str(), names[shard].as_str()))
            .collect();
        let total_size: u64 = self.tensors.iter().map(|(_, n)| n).sum();
        let index = json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
        let mut bytes = serde_json::to_vec_pretty(&index)
            .map_err(|source| Error::Metadata { path: self.path.clone(), source: source.into() })?;
        bytes.push(b'\n');
        let index = Some((bytes, names));
        Ok((hash, PendingModel { path: self.path, shards, index }, spent))
    }
}

impl PendingModel {
    /// The one file of a model in memory.
    pub(crate) fn into_memory(mut self) -> Result<Option<WeightFile>, Error> {
        self.shards.pop().map(Sink::into_file).transpose()
    }

    /// Gives the model its name; of a sharded one first the shards, then the index.
    pub(crate) fn persist(self) -> Result<(), Error> {
        let Some((bytes, names)) = self.index else {
            return self.shards.into_iter().try_for_each(Sink::persist);
        };
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let replaced = own_shards(&self.path);
        for (shard, name) in self.shards.into_iter().zip(&names) {
            shard.persist_as(&folder.join(name))?;
        }
        crate::atomic_write(&self.path, &bytes)?;
        remove_replaced(&self.path, &replaced);
        Ok(())
    }
}

/// Removes the shards of the model that an index replaced, but for those that the new one or another
/// index in the folder names. What cannot be removed does no harm.
fn remove_replaced(path: &Path, replaced: &[PathBuf]) {
    if replaced.is_empty() {
        return;
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut named = BTreeSet::new();
    for index in entries.flatten().map(|entry| entry.path()).filter(|path| is_index(path)) {
        // An index that cannot be read may name any of them.
        let Ok(names) = named_by(&index) else { return };
        named.extend(names);
    }
    for shard in replaced {
        let name = shard.file_name().unwrap_or_default().to_string_lossy();
        if !named.contains(&*name) {
            let _ = fs::remove_file(shard);
        }
    }
}
