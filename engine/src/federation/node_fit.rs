//! Steps that each node fits for itself, in a run of all nodes: whose rows pass by which values.

use std::collections::HashMap;

use anyhow::Context;
use preprocess::Pipeline;

use super::fit::fit_for_others;
use crate::checkpoint::{Checkpoint, Meta};
use crate::data::{Dataset, Node, train_segments};

/// The values of every node of a run, which do not change from round to round.
#[derive(Debug, Clone)]
pub struct NodeFit {
    /// With the values of each node that trains.
    of_nodes: Vec<Pipeline>,
    /// With those of all of them together, by statistics, where rows of others are answered.
    of_all: Option<Pipeline>,
    /// Which node a segment belongs to.
    owners: HashMap<usize, usize>,
}

impl NodeFit {
    /// Fits the steps of each node on its training rows, and on statistics of all of them if there are
    /// `others`, that do not train; none if a model has no such steps.
    ///
    /// # Errors
    /// If a step cannot be fitted; the node is named.
    pub fn of(
        meta: &Meta,
        dataset: &Dataset,
        nodes: &[Node],
        others: bool,
    ) -> anyhow::Result<Option<Self>> {
        let shared = &meta.preprocess;
        if !shared.has_node_steps() {
            return Ok(None);
        }
        let own = |node: &Node| {
            let train = train_segments(dataset, &node.segments)?;
            let own = shared.fit_node(&dataset.rows(&train, shared.input().rate_hz));
            own.with_context(|| format!("node {}: fitting [[preprocess]]", node.name))
        };
        let of_nodes = nodes.iter().map(own).collect::<anyhow::Result<_>>()?;
        let of_all = || fit_for_others(&meta.run, shared, dataset, nodes);
        let of_all = others.then(of_all).transpose()?;
        let owners = nodes.iter().enumerate();
        let owners = owners.flat_map(|(at, node)| node.segments.iter().map(move |&i| (i, at)));
        Ok(Some(Self { of_nodes, of_all, owners: owners.collect() }))
    }

    /// The model as a node has it, by its place; of none, with the values of all together.
    #[must_use]
    pub fn give(&self, mut model: Checkpoint, node: Option<usize>) -> Checkpoint {
        let pipeline = match node {
            Some(place) => Some(&self.of_nodes[place]),
            None => self.of_all.as_ref(),
        };
        if let Some(pipeline) = pipeline {
            model.meta.preprocess.clone_from(pipeline);
        }
        model
    }

    /// These segments by the nodes to which they belong, those of no node last.
    pub fn by_node(&self, segments: &[usize]) -> Vec<(Option<usize>, Vec<usize>)> {
        let mut parts: Vec<(Option<usize>, Vec<usize>)> =
            (0..self.of_nodes.len()).map(Some).chain([None]).map(|n| (n, Vec::new())).collect();
        for &segment in segments {
            let place = self.owners.get(&segment).copied().unwrap_or(self.of_nodes.len());
            parts[place].1.push(segment);
        }
        parts.retain(|(_, segments)| !segments.is_empty());
        parts
    }
}
