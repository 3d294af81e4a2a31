//! Who may take part: names and public keys.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hash::Hash;
use crate::key::PublicKey;
use crate::name::NodeId;

/// Most bytes of a roster that is read: room for 100,000 nodes.
pub(crate) const MOST_ROSTER: u64 = 32 << 20;

/// The nodes that may take part, by name. The operator keeps it as a file:
///
/// ```toml
/// # Optional: these count no more from the next plan on.
/// revoked = ["subject_02"]
///
/// [nodes]
/// subject_01 = "ed25519:…"
/// subject_02 = "ed25519:…"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Names that are listed but do not count any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<NodeId>,
    /// The key of each node.
    pub nodes: BTreeMap<NodeId, PublicKey>,
}

impl Roster {
    /// Reads a roster file.
    ///
    /// # Errors
    /// If there is no such file, it is no roster, two nodes share a key, or it names nobody.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let roster: Self = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Error::setup(path.display().to_string(), format!("line {line}: {}", error.message()))
        })?;
        roster.check().map_err(|problem| Error::setup(path.display().to_string(), problem))?;
        Ok(roster)
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        if !self.revoked.is_empty() {
            let names: Vec<String> =
                self.revoked.iter().map(|name| format!("\"{name}\"")).collect();
            text += &format!("revoked = [{}]\n\n", names.join(", "));
        }
        text += "[nodes]\n";
        for (name, key) in &self.nodes {
            text += &format!("\"{name}\" = \"{key}\"\n");
        }
        text
    }

    /// Fails if it names nobody, revokes somebody whom it does not list, or two nodes have one key.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.nodes.is_empty() {
            return Err("names no node; list them under [nodes]".to_owned());
        }
        if let Some(unknown) = self.revoked.iter().find(|name| !self.nodes.contains_key(name)) {
            return Err(format!("revokes {unknown}, which is not listed under [nodes]"));
        }
        let mut seen: BTreeMap<String, &NodeId> = BTreeMap::new();
        for (name, key) in &self.nodes {
            if let Some(other) = seen.insert(key.to_string(), name) {
                return Err(format!(
                    "{other} and {name} have the same key: one of them could vote twice"
                ));
            }
        }
        Ok(())
    }

    /// Those who count, as plans refer to them.
    #[must_use]
    pub fn counting(&self) -> Self {
        let mut nodes = self.nodes.clone();
        nodes.retain(|name, _| !self.revoked.contains(name));
        Self { nodes, revoked: Vec::new() }
    }

    /// The object that plans refer to by its hash.
    pub(crate) fn to_bytes(&self) -> (Hash, Vec<u8>) {
        // Names and keys are text: nothing in it can fail.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        (Hash::of(&bytes), bytes)
    }

    /// The roster of an object whose hash was checked.
    pub(crate) fn of_bytes(path: &str, bytes: &[u8]) -> Result<Self, Error> {
        let roster: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::refused(path, format!("no roster: {error}")))?;
        roster.check().map_err(|problem| Error::refused(path, problem))?;
        Ok(roster)
    }
}
