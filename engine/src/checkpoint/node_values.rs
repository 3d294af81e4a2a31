//! Values of steps that each node fits for itself, `fit = "node"`: where they come from, and what says so.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use preprocess::{FitBy, FittedStep, Pipeline};
use serde::Serialize;

use super::stats_file::StatsFile;
use crate::data::Dataset;

/// A step that each node fits for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStep {
    /// Its place among the steps, from 0.
    pub position: usize,
    /// What it is called.
    pub step: &'static str,
}

/// What gave steps that each node fits for itself their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeValues {
    /// The steps.
    pub steps: Vec<NodeStep>,
    /// On how many training rows they were fitted.
    pub rows: u64,
    /// The data that has the rows, or the file with statistics of them.
    pub of: String,
}

impl NodeStep {
    /// Those of a pipeline, with values or without.
    pub fn all(pipeline: &Pipeline) -> Vec<Self> {
        Self::that(pipeline, |step| step.fit == FitBy::Node)
    }

    /// Those without values.
    pub fn unfitted(pipeline: &Pipeline) -> Vec<Self> {
        Self::that(pipeline, |step| !step.is_fitted())
    }

    fn that(pipeline: &Pipeline, is: impl Fn(&FittedStep) -> bool) -> Vec<Self> {
        let steps = pipeline.steps().iter().enumerate().filter(|(_, step)| is(step));
        steps.map(|(position, step)| Self { position, step: step.kind.kind().name() }).collect()
    }

    /// Them as a sentence begins, with its verb.
    pub fn said(steps: &[Self]) -> String {
        let names: Vec<String> = steps.iter().map(Self::to_string).collect();
        match names.as_slice() {
            [one] => format!("step {one} is"),
            all => format!("steps {} are", all.join(", ")),
        }
    }
}

impl fmt::Display for NodeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.position, self.step)
    }
}

impl NodeValues {
    /// Fits the steps on the training rows of these segments; none if there are no such steps, or the
    /// rows have all steps behind them.
    ///
    /// # Errors
    /// If a channel has no value, or an infinite one.
    pub fn of_rows(
        pipeline: &mut Pipeline,
        dataset: &Dataset,
        train: &[usize],
        data: &[PathBuf],
    ) -> anyhow::Result<Option<Self>> {
        if !pipeline.has_node_steps() || dataset.preprocessed {
            return Ok(None);
        }
        let series = dataset.rows(train, pipeline.input().rate_hz);
        *pipeline = pipeline.fit_node(&series).context("fitting [[preprocess]]")?;
        let of = match data {
            [] => String::new(),
            [one] => one.display().to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
        };
        let rows = series.iter().map(|rows| rows.len() as u64).sum();
        Ok(Some(Self { steps: NodeStep::all(pipeline), rows, of }))
    }

    /// Takes the values from a file of statistics.
    ///
    /// # Errors
    /// If all steps have values, or the statistics are of other steps.
    pub fn of_statistics(pipeline: &mut Pipeline, path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        ensure!(
            !pipeline.is_fitted(),
            "--stats {shown} has no effect: all steps of the model have values, which a model that was merged or made by init has not where fit = \"node\""
        );
        let file = StatsFile::read(path)?;
        *pipeline = pipeline.fit_node_on(&file.statistics).with_context(|| {
            format!("{shown}: statistics for steps with fit = \"node\" are those of `edgectl preprocess fit --model MODEL --data DATA --out {shown}`, with --stats FILE of the round before where there are several")
        })?;
        let steps = NodeStep::all(pipeline);
        Ok(Self { steps, rows: file.statistics.rows(), of: shown.to_string() })
    }
}

impl fmt::Display for NodeValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, rows, of } = self;
        let steps = NodeStep::said(steps);
        write!(f, "{steps} fitted on the {rows} training rows of {of}: fit = \"node\"")
    }
}

/// A pipeline that runs where values do not matter, as for how many rows come out: steps without values
/// are fitted on the rows of these segments.
///
/// # Errors
/// If they cannot be.
pub fn stand_in<'a>(
    pipeline: &'a Pipeline,
    dataset: &Dataset,
    segments: &[usize],
) -> anyhow::Result<Cow<'a, Pipeline>> {
    if pipeline.is_fitted() || dataset.preprocessed {
        return Ok(Cow::Borrowed(pipeline));
    }
    let series = dataset.rows(segments, pipeline.input().rate_hz);
    Ok(Cow::Owned(pipeline.fit_node(&series).context("fitting [[preprocess]]")?))
}
