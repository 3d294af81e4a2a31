//! How good a round's model is: on the test rows, and on what the nodes hold out of their training rows.

use std::collections::HashSet;

use aggregate::WeightFile;
use anyhow::Context;
use attn_core::Precision;

use super::arm::Arm;
use crate::checkpoint::Checkpoint;
use crate::data::{Node, train_segments};
use crate::evaluate::{Answers, evaluate_each};
use crate::metrics::Metrics;
use crate::training::{HeldOut, NodeWindows};

impl Arm<'_> {
    /// Metrics of a model on some segments, each by the values of its node.
    ///
    /// # Errors
    /// As [`evaluate_each`].
    pub fn evaluate(self, model: &Checkpoint, segments: &[usize]) -> anyhow::Result<Metrics> {
        let parts = match self.node_fit {
            None => vec![(model.clone(), segments.to_vec())],
            Some(fit) => {
                let parts = fit.by_node(segments).into_iter();
                parts.map(|(node, part)| (fit.give(model.clone(), node), part)).collect()
            }
        };
        self.evaluate_parts(&parts)
    }

    fn evaluate_parts(self, parts: &[(Checkpoint, Vec<usize>)]) -> anyhow::Result<Metrics> {
        let parts: Vec<(&Checkpoint, &[usize])> =
            parts.iter().map(|(model, segments)| (model, segments.as_slice())).collect();
        evaluate_each(&parts, self.dataset, Precision::F32, self.threads)
    }

    /// A model as a node has it, or one that does not train.
    pub(super) fn give(self, model: Checkpoint, node: Option<usize>) -> Checkpoint {
        match self.node_fit {
            None => model,
            Some(fit) => fit.give(model, node),
        }
    }

    /// Metrics of a model on the windows that the nodes hold out of their training rows, all nodes
    /// together; none if the model's job holds out none.
    ///
    /// # Errors
    /// If a node cannot hold out a part, or the answers are not finite.
    pub fn evaluate_held_out(self, model: &Checkpoint) -> anyhow::Result<Option<Metrics>> {
        OfNodes { model, updates: &[], arm: self }.held_out()
    }

    /// What the nodes hold out of their training rows, all together, before any of them trains; none
    /// if the model's job holds out none.
    ///
    /// # Errors
    /// If a node has too few training rows; it is named.
    pub fn held_out(self, start: &Checkpoint) -> anyhow::Result<Option<HeldOut>> {
        if start.meta.run.train().validation.is_none() {
            return Ok(None);
        }
        let mut all: Option<HeldOut> = None;
        for (place, node) in self.nodes.iter().enumerate() {
            let own = self.give(start.clone(), Some(place));
            if let Some(report) = self.windows_of(&own, node)?.report {
                all = Some(all.map_or_else(|| report.clone(), |all| all.joined(&report)));
            }
        }
        Ok(all)
    }

    /// The windows of a node's training rows for its model.
    fn windows_of<'b>(self, own: &'b Checkpoint, node: &Node) -> anyhow::Result<NodeWindows<'b>>
    where
        Self: 'b,
    {
        let segments = train_segments(self.dataset, &node.segments)?;
        NodeWindows::of(own, &own.meta.preprocess, self.dataset, &segments).with_context(|| {
            let name = &node.name;
            format!("node {name} cannot hold out a part of its training rows; hold out another part, or leave the node out of the training with --holdout {name}")
        })
    }
}

/// A global model as each node answers with it: by the node's own values, and where parameters stay on
/// their nodes, with the node's own.
pub(super) struct OfNodes<'a> {
    pub(super) model: &'a Checkpoint,
    /// The last update of each node, by its place.
    pub(super) updates: &'a [Option<WeightFile>],
    pub(super) arm: Arm<'a>,
}

impl OfNodes<'_> {
    fn patterns(&self) -> &[String] {
        &self.model.meta.run.federation().rules.keep_local
    }

    /// A node's last update, if it keeps parameters of its own.
    fn own_of(&self, place: usize) -> Option<&WeightFile> {
        let update = self.updates.get(place)?.as_ref()?;
        (!self.patterns().is_empty()).then_some(update)
    }

    fn of(&self, place: usize) -> anyhow::Result<Checkpoint> {
        let mut own = self.arm.give(self.model.clone(), Some(place));
        if let Some(update) = self.own_of(place) {
            own.take_local(self.patterns(), &Checkpoint::of(update)?)?;
        }
        Ok(own)
    }

    /// On the test rows.
    pub(super) fn test(&self) -> anyhow::Result<Metrics> {
        let arm = self.arm;
        let mut parts = Vec::new();
        let mut test: HashSet<usize> = arm.test.iter().copied().collect();
        for (place, node) in arm.nodes.iter().enumerate() {
            let segments = node.segments.iter().copied().filter(|i| test.contains(i));
            let segments: Vec<usize> = segments.collect();
            if segments.is_empty() || self.own_of(place).is_none() {
                continue;
            }
            for segment in &segments {
                test.remove(segment);
            }
            parts.push((self.of(place)?, segments));
        }
        if parts.is_empty() {
            return arm.evaluate(self.model, arm.test);
        }
        // Nodes that only test have no parameters of their own.
        let rest: Vec<usize> = arm.test.iter().copied().filter(|i| test.contains(i)).collect();
        if !rest.is_empty() {
            parts.push((arm.give(self.model.clone(), None), rest));
        }
        arm.evaluate_parts(&parts)
    }

    /// On what the nodes hold out, if they do.
    pub(super) fn held_out(&self) -> anyhow::Result<Option<Metrics>> {
        if self.model.meta.run.train().validation.is_none() {
            return Ok(None);
        }
        let arm = self.arm;
        let mut answers = Answers::default();
        for (place, node) in arm.nodes.iter().enumerate() {
            let mut own = self.of(place)?;
            // It was fitted on these very windows, if there is one.
            own.meta.temperature = None;
            if let Some(set) = arm.windows_of(&own, node)?.held_out {
                answers.take(&own, &set, Precision::F32, arm.threads);
            }
        }
        answers.metrics(&self.model.meta.classes).map(Some)
    }
}
