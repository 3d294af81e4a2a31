//! Where weights come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::note::MergeNote;

/// Where weights come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The node that trained, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Rounds that the global model has behind it.
    pub round: u32,
    /// Hash (BLAKE3) of the file the training or merge started from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Training windows.
    pub examples: u64,
    /// Optimizer steps since `base`.
    pub local_steps: u64,
    /// Whether the file holds only the tensors that were trained, all others being those of `base`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// What was measured, for example `loss` and `accuracy` on the training rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// The updates that a merge took, by node or else by fingerprint; those of a merged update are
    /// listed in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<String>,
    /// What a merge found out about its updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeNote>,
}
