//! An update whose file was opened and checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::factors::Factors;
use crate::names::Named;
use crate::{TensorInfo, Update, WeightFile};

/// An update that passed the checks made on one file alone.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) update: Update,
    /// See [`WeightFile::fingerprint`].
    pub(crate) fingerprint: String,
    /// The content hash where others have the same fingerprint.
    pub(crate) tie: String,
    /// The hashes of all tensors that are not averaged and must agree, by name.
    pub(crate) integers: BTreeMap<String, String>,
    /// Its place in the list.
    pub(crate) position: usize,
    /// Its tensors as they are compared with those of others, see [`compared`](crate::layout::compared).
    pub(crate) layout: Arc<[TensorInfo]>,
    /// What is known of its adapters, where they are to be stacked.
    pub(crate) factors: Option<Factors>,
    /// Which model its adapters belong to, if a configuration of theirs says so.
    pub(crate) base_model: Option<String>,
    pub(crate) file: WeightFile,
}

impl Input {
    /// Node, content, weight, path: where a rule is undecided the first node counts.
    pub(crate) fn sort_key(&self) -> (Option<&str>, &str, &str, u64, &Path) {
        let Update { node, weight, path, .. } = &self.update;
        (node.as_deref(), &self.fingerprint, &self.tie, weight.to_bits(), path)
    }

    pub(crate) fn named(&self) -> Named<'_> {
        let Update { path, node, merged, weight, .. } = &self.update;
        let names = merged.iter().chain(node).map(String::as_str).collect();
        Named { path, names, content: (&self.fingerprint, &self.tie), weight: *weight }
    }
}
