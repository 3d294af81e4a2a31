//! What a node is handed in place of the store's credentials: URLs for its own places.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::Error;
use crate::file::write_secret;
use crate::key::PublicKey;
use crate::name::NodeId;

/// The one version there is.
const VERSION: u32 = 1;

/// Rounds that a file may be for.
pub(crate) const MOST_ROUNDS: u32 = 10_000;

/// Most bytes of a file: so many rounds, with room for long URLs.
const MOST_BYTES: u64 = 64 << 20;

/// What a file says of itself to whoever opens it.
const USE: &str = "give this file to edgectl node as --store; whoever has it can write in this node's places until it \
                   expires, so keep it as a key";

/// URLs by which one node takes part in some rounds of one job without a key of the store: signed ones to write in
/// its own places and to read them again, and the address where everybody reads what the center publishes.
///
/// They are worth nothing without the node's own key: what it says of an update is signed by that.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Urls {
    version: u32,
    #[serde(rename = "use")]
    how_to_use: String,
    /// The job.
    pub job: String,
    /// Its center.
    pub center: PublicKey,
    /// Whose places they are.
    pub node: NodeId,
    /// The first and the last round.
    pub rounds: (u32, u32),
    /// When they stop working, in milliseconds since 1970 (UTC).
    pub expires: u64,
    /// Where what the center publishes is read, without a signature; ends with a slash.
    pub read: Url,
    /// Paths that can be read by a URL of their own.
    pub get: BTreeMap<String, Url>,
    /// Paths that can be written.
    pub put: BTreeMap<String, Url>,
}

impl Urls {
    /// None yet.
    pub(crate) fn new(
        (job, center, node): (String, PublicKey, NodeId),
        rounds: (u32, u32),
        expires: u64,
        read: Url,
    ) -> Self {
        let (get, put) = (BTreeMap::new(), BTreeMap::new());
        let how_to_use = USE.to_owned();
        Self { version: VERSION, how_to_use, job, center, node, rounds, expires, read, get, put }
    }

    /// Reads a file of them.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let wrong = |problem: String| Error::setup(path.display().to_string(), problem);
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = file.metadata().map_err(failed)?.permissions().mode();
            if mode & 0o077 != 0 {
                let problem = format!(
                    "others may read these URLs (mode {:o}); chmod 600 it, and sign new ones if somebody has",
                    mode & 0o777
                );
                return Err(wrong(problem));
            }
        }
        file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MOST_BYTES {
            return Err(wrong(format!("has more than {MOST_BYTES} bytes")));
        }
        let urls: Self = serde_json::from_str(&text).map_err(|error| {
            wrong(format!("is no file of URLs, as edgectl presign writes it: {error}"))
        })?;
        if urls.version != VERSION {
            let found = urls.version;
            return Err(wrong(format!("has version {found}, this program reads {VERSION}")));
        }
        if !urls.read.path().ends_with('/') {
            return Err(wrong(format!(
                "its address to read from, {}, has no slash at its end",
                urls.read
            )));
        }
        Ok(urls)
    }

    /// Writes a file of them, for its owner only. It replaces an earlier one of the same node, and nothing else.
    ///
    /// # Errors
    /// If there is something else, or it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        if fs::symlink_metadata(path).is_ok() {
            let wrong = |problem: String| Error::setup(path.display().to_string(), problem);
            let is_plain = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
            match Self::read(path) {
                Ok(there) if is_plain && there.node == self.node => {}
                Ok(there) if is_plain => {
                    return Err(wrong(format!(
                        "has the URLs of {} and is not replaced",
                        there.node
                    )));
                }
                _ => return Err(wrong("is there already and is not replaced".to_owned())),
            }
        }
        // Text and numbers: nothing in it can fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        write_secret(path, text.as_bytes())
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Url> {
        std::iter::once(&self.read).chain(self.get.values()).chain(self.put.values())
    }

    /// What they are for, in words.
    pub(crate) fn purpose(&self) -> String {
        let (first, last) = self.rounds;
        format!("the uploads of {} in rounds {first} to {last}", self.node)
    }
}

impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URLs: they are as good as keys.
        let mut shown = f.debug_struct("Urls");
        shown.field("node", &self.node).field("rounds", &self.rounds).finish_non_exhaustive()
    }
}
