//! Values of steps that each node fits for itself, from statistics instead of rows.

use crate::{Error, FitBy, FittedStep, Pipeline, Rounds, Statistics, StepConfig};

impl Pipeline {
    /// The rounds in which steps that each node fits for itself get values from statistics: of the node's
    /// own training rows, where these are elsewhere by now, or merged of several nodes, for one that has
    /// none. The first round, or the one behind these statistics; they are finished if no step is left.
    ///
    /// ```
    /// use preprocess::{Pipeline, Rows, Stage, StepConfig, ZScore};
    ///
    /// let configs = [StepConfig::from(ZScore {}).by_node()];
    /// let rows = vec![Rows::of_series(1, None, vec![1.0, 3.0])];
    /// let nodes = vec![("north", rows.clone())];
    /// let shared = Pipeline::fit_shared(&configs, &Stage::unnamed(1), nodes)?;
    /// let statistics = shared.node_rounds(None)?.statistics(&rows)?;
    /// assert!(shared.node_rounds(Some(&statistics))?.finished().is_some());
    /// assert_eq!(shared.fit_node_on(&statistics)?, shared.fit_node(&rows)?);
    /// # Ok::<(), preprocess::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the statistics are of other steps, of rows that came through other values, or of no use.
    pub fn node_rounds(&self, behind: Option<&Statistics>) -> Result<Rounds, Error> {
        let steps: Vec<StepConfig> = self.configs().into_iter().map(as_shared).collect();
        let mut so_far = match behind {
            None => self.with_steps(Vec::new())?,
            Some(statistics) => self.round_of(statistics, &steps)?,
        };
        loop {
            let at = so_far.steps().len();
            match self.steps().get(at) {
                None => return Rounds::resume(&steps, &so_far),
                Some(step) if step.fit == FitBy::Shared => so_far.push(step.clone())?,
                Some(_) => {
                    // As far as no values of the pipeline's own stand in between.
                    let by_node = self.steps()[at..].iter().take_while(|s| s.fit == FitBy::Node);
                    return Rounds::resume(&steps[..at + by_node.count()], &so_far);
                }
            }
        }
    }

    /// The pipeline with values by statistics for all steps that each node fits for itself.
    ///
    /// # Errors
    /// As [`node_rounds`](Self::node_rounds), and if a step needs another round.
    pub fn fit_node_on(&self, statistics: &Statistics) -> Result<Self, Error> {
        let rounds = self.node_rounds(Some(statistics))?;
        let all = rounds.finished().filter(|all| all.steps().len() == self.steps().len());
        let Some(all) = all else {
            let at = rounds.position();
            let step = self.steps()[at].kind.kind().name();
            return Err(Error::Statistics {
                what: format!("step {at} ({step}) needs those of another round"),
            });
        };
        let steps = all.steps().iter().zip(self.steps());
        self.with_steps(
            steps.map(|(step, own)| FittedStep { fit: own.fit, ..step.clone() }).collect(),
        )
    }

    /// What is fitted by a round of [`node_rounds`](Self::node_rounds).
    fn round_of(&self, statistics: &Statistics, steps: &[StepConfig]) -> Result<Self, Error> {
        let other = |what: &str| Err(Error::Statistics { what: what.to_owned() });
        let scope = statistics.scope();
        let before = &scope.fitted;
        if before.input() != self.input() {
            return other("they are of other channels, or of another sample rate");
        }
        let n_before = before.steps().len();
        let waiting = self.steps().get(n_before..scope.configs.len());
        let by_node = waiting.is_some_and(|all| all.iter().all(|step| step.fit == FitBy::Node));
        if !steps.starts_with(&scope.configs) || !by_node {
            return other("they are not of the steps that each node fits for itself");
        }
        let differs = |(step, own): (&FittedStep, &FittedStep)| {
            own.fit == FitBy::Shared && step != own || !step.is_fitted()
        };
        if before.steps().iter().zip(self.steps()).any(differs) {
            return other("the steps before were fitted otherwise");
        }
        let mut rounds = Rounds::resume(&scope.configs, before)?;
        rounds.fit(statistics)?;
        Ok(rounds.scope().fitted)
    }
}

fn as_shared(config: StepConfig) -> StepConfig {
    StepConfig { fit: FitBy::Shared, ..config }
}
