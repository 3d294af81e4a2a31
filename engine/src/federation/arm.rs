//! What a federated run is of: data, nodes, and what is done with them.

use std::path::Path;

use super::attack::Attack;
use super::node_fit::NodeFit;
use crate::data::{Dataset, Node};
use crate::interrupt::Stop;

/// One federated run over given nodes.
#[derive(Debug, Clone, Copy)]
pub struct Arm<'a> {
    /// The data of all nodes.
    pub dataset: &'a Dataset,
    /// The nodes that train.
    pub nodes: &'a [Node],
    /// What the global model is tested on after each round.
    pub test: &'a [usize],
    /// Folder of the weight files: `global.safetensors`, `rounds/`, `nodes/`. Those of
    /// [`arm_files`](super::arm_files) are replaced; a [`RunFolder`](super::RunFolder) says first whether they may be.
    pub folder: &'a Path,
    /// Whether the updates of the last round are written, to `nodes/`: on their way to the merge
    /// they have no name.
    pub keep_updates: bool,
    /// Threads to use; the bits do not depend on it.
    pub threads: usize,
    /// When to stop early, after a whole round.
    pub stop: Stop,
    /// Nodes that do harm.
    pub attackers: Option<Attackers<'a>>,
    /// The values of steps that each node fits for itself, if there are any.
    pub node_fit: Option<&'a NodeFit>,
}

/// Some nodes of an arm that do harm.
#[derive(Debug, Clone, Copy)]
pub struct Attackers<'a> {
    /// What they do.
    pub attack: Attack,
    /// How many of the nodes, from the last one on backwards.
    pub n: usize,
    /// What they train on, if not on their rows as they are.
    pub dataset: Option<&'a Dataset>,
}
