//! Where things are in a store.
//!
//! ```text
//! job.json                                     once
//! blob/<blake3>                                what the center publishes: models, rosters, its memory
//! round-000001/plan.json                       by the center, once
//! round-000001/result.json                     by the center, once: the round is closed
//! in/round-000001/<node>/<blake3>              a node's update
//! in/round-000001/<node>/update                or here, by a node that writes by URLs
//! in/round-000001/<node>/commit.json           by the node, once: the update exists
//! ```

use crate::hash::Hash;
use crate::name::NodeId;

/// The first document.
pub(crate) const JOB: &str = "job.json";

/// A blob that the center published.
pub(crate) fn blob(hash: &Hash) -> String {
    format!("blob/{hash}")
}

/// The plan of a round.
pub(crate) fn plan(round: u32) -> String {
    format!("round-{round:06}/plan.json")
}

/// What closed a round.
pub(crate) fn result(round: u32) -> String {
    format!("round-{round:06}/result.json")
}

/// Where the updates of a round are, in folders by node.
pub(crate) fn updates(round: u32) -> String {
    format!("in/round-{round:06}")
}

/// What a node writes in a round.
pub(crate) fn update_blob(round: u32, node: &NodeId, hash: &Hash) -> String {
    format!("in/round-{round:06}/{node}/{hash}")
}

/// Where a node writes that cannot choose the name: URLs are signed before the update is made.
pub(crate) fn update(round: u32, node: &NodeId) -> String {
    format!("in/round-{round:06}/{node}/update")
}

/// A node's word for its update.
pub(crate) fn commit(round: u32, node: &NodeId) -> String {
    format!("in/round-{round:06}/{node}/{COMMIT}")
}

const COMMIT: &str = "commit.json";

/// The node whose commit an object below [`updates`] is.
pub(crate) fn node_of_commit(round: u32, path: &str) -> Option<NodeId> {
    let below = path.strip_prefix(&updates(round))?.strip_prefix('/')?;
    below.strip_suffix(COMMIT)?.strip_suffix('/')?.parse().ok()
}

/// Whether an object is written by a node.
pub(crate) fn is_of_nodes(path: &str) -> bool {
    path.starts_with("in/")
}

/// Whether the center writes an object in a round, so that it may not be there yet.
pub(crate) fn is_of_a_round(path: &str) -> bool {
    path.starts_with("round-")
}
