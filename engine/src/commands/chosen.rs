//! Which nodes of a simulated federation do what, and by whose values their rows pass.

use std::fmt;

use anyhow::ensure;
use serde::Serialize;

use crate::checkpoint::{Checkpoint, NodeStep};
use crate::data::{Dataset, Node, train_segments};

/// Which nodes do what.
pub(super) struct Chosen {
    /// Those that train, and whose test rows test.
    pub(super) nodes: Vec<Node>,
    /// Those whose rows are all for the test.
    pub(super) only_test: Vec<Node>,
    /// All segments of those that are held out.
    pub(super) held_out: Vec<usize>,
}

/// The first names of some nodes; none of none.
pub(super) fn names_of(nodes: &[String]) -> Option<String> {
    const SHOWN: usize = 5;
    let names: Vec<&str> = nodes.iter().take(SHOWN).map(String::as_str).collect();
    let more = nodes.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!nodes.is_empty()).then(|| format!("{}{more}", names.join(", ")))
}

/// Who trains, who only tests and who is held out.
///
/// # Errors
/// If a node that is held out is none, or none is left to train.
pub(super) fn choose_nodes(dataset: &Dataset, holdout: &[String]) -> anyhow::Result<Chosen> {
    let all = dataset.nodes();
    for name in holdout {
        ensure!(
            all.iter().any(|node| &node.name == name),
            "--holdout {name}: there is no such node; the nodes are {}",
            all.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(", ")
        );
    }
    let (held_out, nodes): (Vec<Node>, Vec<Node>) =
        all.into_iter().partition(|node| holdout.contains(&node.name));
    // A node whose rows are all for the test has nothing to train on; its rows still test.
    let trains = |node: &Node| train_segments(dataset, &node.segments).is_ok();
    let (nodes, only_test): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(trains);
    ensure!(!nodes.is_empty(), "no node is left to train");
    let held_out = held_out.into_iter().flat_map(|n| n.segments).collect();
    Ok(Chosen { nodes, only_test, held_out })
}

/// Steps that each node fits for itself.
#[derive(Serialize)]
pub(super) struct NodeFitReport {
    steps: Vec<NodeStep>,
    /// Nodes that do not train: their rows pass by values of the training nodes' merged statistics.
    by_statistics: Vec<String>,
}

impl NodeFitReport {
    pub(super) fn of(start: &Checkpoint, by_statistics: Vec<String>) -> Self {
        Self { steps: NodeStep::all(&start.meta.preprocess), by_statistics }
    }
}

impl fmt::Display for NodeFitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fitted by each node on its training rows", NodeStep::said(&self.steps))?;
        match names_of(&self.by_statistics) {
            None => Ok(()),
            Some(names) => write!(
                f,
                "; rows of {names}, which do not train, pass by the training nodes' merged statistics"
            ),
        }
    }
}
