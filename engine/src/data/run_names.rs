//! How many series and nodes there are among runs of rows.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::files;
use super::reading::Layout;
use super::runs::Run;

/// What runs are called, hashed: a little for each.
#[derive(Debug, Default)]
pub(super) struct RunNames {
    hasher: RandomState,
    series: HashSet<u64>,
    nodes: HashSet<u64>,
}

impl RunNames {
    /// Counts the name of a run.
    pub(super) fn add(&mut self, run: &Run<'_>) {
        let node = if let Some(node) = run.node {
            self.hasher.hash_one(node)
        } else {
            let named = files::Named::of(run.source);
            self.hasher.hash_one((named.home, named.stem))
        };
        self.nodes.insert(node);
        // A sample of a table has no name of its own.
        if matches!(run.layout, Layout::Long | Layout::Recording) {
            self.series.insert(self.hasher.hash_one((node, run.series)));
        }
    }

    /// How many series there are, where a row is a time step.
    pub(super) fn n_series(&self) -> usize {
        self.series.len()
    }

    /// How many nodes they are of.
    pub(super) fn n_nodes(&self) -> usize {
        self.nodes.len()
    }
}
