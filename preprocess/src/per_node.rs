//! Steps that each node fits for itself: what nodes share has no values for them.

use crate::pipeline::{check_series, stats_of};
use crate::{Error, FitBy, FittedStep, Pipeline, Rows, Stage, StepConfig};

/// With steps that each node fits for itself (`fit = "node"`).
///
/// ```
/// use preprocess::{Pipeline, Rows, Stage, StepConfig, ZScore};
///
/// let configs = [StepConfig::from(ZScore {}).by_node()];
/// let stage = Stage::unnamed(1);
/// let (north, south) = ([1.0, 3.0], [101.0, 105.0]);
/// let rows = |values: [f64; 2]| vec![Rows::of_series(1, None, values.to_vec())];
///
/// // What both share has no values; each has its own.
/// let nodes = vec![("north", rows(north)), ("south", rows(south))];
/// let shared = Pipeline::fit_shared(&configs, &stage, nodes)?;
/// assert!(!shared.is_fitted());
/// let own = shared.fit_node(&rows(south))?;
/// assert_eq!(own.apply(rows(south)[0].view())?.values(), [-1.0, 1.0]);
/// assert_eq!(own.shared(), shared);
/// # Ok::<(), preprocess::Error>(())
/// ```
impl Pipeline {
    /// Whether every step has values, or needs none: if not, it cannot run.
    pub fn is_fitted(&self) -> bool {
        self.steps().iter().all(FittedStep::is_fitted)
    }

    /// Whether a step is one that each node fits for itself.
    pub fn has_node_steps(&self) -> bool {
        self.steps().iter().any(|step| step.fit == FitBy::Node)
    }

    /// The same input with other steps.
    pub(crate) fn with_steps(&self, steps: Vec<FittedStep>) -> Result<Self, Error> {
        Self::from_steps(self.input().clone(), steps)
    }

    /// The values of a node: every step that each node fits for itself is fitted on these training rows,
    /// whatever values it had, on what the steps before it leave; the others stay as they are.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_node(&self, series: &[Rows]) -> Result<Self, Error> {
        let Some(last) = self.steps().iter().rposition(|step| step.fit == FitBy::Node) else {
            return Ok(self.clone());
        };
        check_series(series, self.input())?;
        let mut series = series.to_vec();
        let mut own = self.with_steps(Vec::new())?;
        for (at, (step, config)) in self.steps().iter().zip(self.configs()).enumerate() {
            let channels = own.output().channels();
            match step.fit {
                FitBy::Node => own.extend(&config, stats_of(channels, &series))?,
                FitBy::Shared => own.push(step.clone())?,
            }
            if at < last {
                own.run_last(&mut series);
            }
        }
        Ok(own)
    }

    /// What nodes share: as [`fit`](Self::fit) on the training rows of all of them, but steps that each
    /// node fits for itself have no values, and those behind them are fitted on what each node's own
    /// values leave of its rows.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); the node is named where its own rows are at fault.
    pub fn fit_shared(
        configs: &[StepConfig],
        input: &Stage,
        nodes: Vec<(&str, Vec<Rows>)>,
    ) -> Result<Self, Error> {
        let mut series = Vec::new();
        let mut owns = Vec::new();
        for (name, rows) in nodes {
            let first = series.len();
            check_series(&rows, input).map_err(|e| e.of_node(name))?;
            series.extend(rows);
            let own = Self::from_steps(input.clone(), Vec::new())?;
            owns.push((name, first..series.len(), own));
        }
        let mut shared = Self::from_steps(input.clone(), Vec::new())?;
        for config in configs {
            let channels = shared.output().channels();
            if config.fit == FitBy::Node {
                let (places, _) = shared.next_input(config)?;
                shared.push(FittedStep::unfitted(config, places))?;
            } else {
                shared.extend(config, stats_of(channels, &series))?;
            }
            for (name, range, own) in &mut owns {
                let series = &mut series[range.clone()];
                match config.fit {
                    FitBy::Node => own.extend(config, stats_of(channels, series)),
                    FitBy::Shared => own.push(shared.steps()[shared.steps().len() - 1].clone()),
                }
                .map_err(|e| e.of_node(name))?;
                own.run_last(series);
            }
        }
        Ok(shared)
    }
}
