//! The file in which a node hands out statistics of its training rows, and what is merged of several.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aggregate::{TensorData, TensorRef, WeightFile, write_file};
use anyhow::{Context, anyhow, bail, ensure};
use preprocess::{Capped, Pipeline, Rounds, Scope, Statistics, StepConfig, Tensor};
use serde::{Deserialize, Serialize};

use crate::data::{MAX_CLASSES, sorted_classes};
use crate::typed::from_json;

/// The metadata key of a file of statistics.
pub const STATS_KEY: &str = "edgectl-statistics";

/// The version of the metadata that this program writes and reads.
const STATS_FORMAT: u32 = 1;

/// What stands beside the numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    format: u32,
    scope: Scope,
    /// The nodes whose rows they are of.
    nodes: Vec<String>,
    /// The classes that the training rows have.
    classes: Vec<String>,
    /// The most rows that one series has, as the steps that were fitted leave it.
    longest: usize,
}

/// Statistics of training rows, and what else a fresh model must know of them.
#[derive(Debug, Clone)]
pub struct StatsFile {
    /// What steps are fitted on.
    pub statistics: Statistics,
    /// The nodes whose rows they are of.
    pub nodes: Vec<String>,
    /// The classes that the rows have, in their order.
    pub classes: Vec<String>,
    /// The most rows that one series has.
    pub longest: usize,
}

impl StatsFile {
    /// Whether a file has statistics.
    pub fn is_in(file: &WeightFile) -> bool {
        file.metadata().contains_key(STATS_KEY)
    }

    /// Reads a file, of which nothing is believed before it is checked.
    ///
    /// # Errors
    /// If it is no file of statistics, or its numbers are of no rows.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Self::of(&WeightFile::open(path)?).with_context(|| format!("{}", path.display()))
    }

    fn of(file: &WeightFile) -> anyhow::Result<Self> {
        let text = file.metadata().get(STATS_KEY).ok_or_else(|| {
            anyhow!("no statistics: it has no metadata key \"{STATS_KEY}\"; `edgectl preprocess fit` writes it")
        })?;
        let note: Note = from_json(text).context("the metadata is damaged")?;
        ensure!(
            note.format == STATS_FORMAT,
            "statistics of format {}, which edgectl {} does not know",
            note.format,
            env!("CARGO_PKG_VERSION")
        );
        ensure!(
            note.classes.len() <= MAX_CLASSES,
            "{} classes, at most {MAX_CLASSES} are read",
            note.classes.len()
        );
        let mut tensors = Vec::new();
        for info in file.tensors() {
            let mut values = Vec::new();
            file.visit_f64(&info.name, |part| values.extend_from_slice(part))?;
            tensors.push(Tensor { name: info.name.clone(), shape: info.shape.clone(), values });
        }
        let Note { scope, nodes, classes, longest, .. } = note;
        let statistics = Statistics::from_tensors(scope, &tensors)?;
        Ok(Self { statistics, nodes, classes, longest })
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let note = Note {
            format: STATS_FORMAT,
            scope: self.statistics.scope().clone(),
            nodes: self.nodes.clone(),
            classes: self.classes.clone(),
            longest: self.longest,
        };
        let note = serde_json::to_string(&note).context("the metadata")?;
        let tensors = self.statistics.to_tensors();
        let tensors: Vec<TensorRef<'_>> = tensors
            .iter()
            .map(|Tensor { name, shape, values }| TensorRef {
                name,
                shape,
                data: TensorData::F64(values),
            })
            .collect();
        write_file(path, &tensors, &BTreeMap::from([(STATS_KEY.to_owned(), note)]))?;
        Ok(())
    }

    /// The statistics of all nodes' rows together, whose order changes no bit, and the nodes that count
    /// less than they claim.
    ///
    /// # Errors
    /// If two files are of one node, or of other steps or channels.
    pub fn merge(
        parts: &[(String, Self)],
        max_weight: Option<f64>,
    ) -> anyhow::Result<(Self, Vec<Capped>)> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (path, part) in parts {
            for node in &part.nodes {
                if let Some(first) = seen.insert(node, path) {
                    bail!(
                        "{path}: statistics of node {node:?}, as {first} has; its rows would count twice: name each node once (preprocess fit --node NAME)"
                    );
                }
            }
        }
        let named: Vec<(&str, &Statistics)> =
            parts.iter().map(|(path, part)| (path.as_str(), &part.statistics)).collect();
        let (statistics, capped) = Statistics::merge(&named, max_weight)?;
        let classes: BTreeSet<&String> = parts.iter().flat_map(|(_, part)| &part.classes).collect();
        let classes = sorted_classes(classes);
        let nodes = seen.into_keys().map(str::to_owned).collect();
        let longest = parts.iter().map(|(_, part)| part.longest).max().unwrap_or(0);
        Ok((Self { statistics, nodes, classes, longest }, capped))
    }

    /// The rounds of fitting behind this one.
    ///
    /// # Errors
    /// If the statistics are of other steps than a job's.
    pub fn rounds(&self, steps: &[StepConfig]) -> anyhow::Result<Rounds> {
        let scope = self.statistics.scope();
        ensure!(
            scope.configs == steps,
            "the statistics are of other [[preprocess]] steps than the job has; fit them with this job"
        );
        let mut rounds = Rounds::resume(&scope.configs, &scope.fitted)?;
        rounds.fit(&self.statistics)?;
        Ok(rounds)
    }

    /// The pipeline that is fitted on them.
    ///
    /// # Errors
    /// If the statistics are of other steps, or a step needs another round.
    pub fn pipeline(&self, steps: &[StepConfig]) -> anyhow::Result<Pipeline> {
        let rounds = self.rounds(steps)?;
        let unfitted = rounds.position();
        rounds.finished().cloned().ok_or_else(|| {
            anyhow!(
                "step {unfitted} ({}) is still to be fitted: run `edgectl preprocess fit --stats` with this file on each node, and merge what they write",
                steps[unfitted].name()
            )
        })
    }
}
