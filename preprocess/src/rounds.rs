//! A pipeline that is fitted by several nodes, none of which shows its rows.

use crate::known::Known;
use crate::stats::Needs;
use crate::tensors;
use crate::{
    Error, FitBy, FittedStep, Pipeline, Rows, Scope, Stage, Statistics, StepConfig, Tensor,
};

/// A pipeline on its way to be fitted across nodes, by rounds.
///
/// In each round every node makes [`statistics`](Self::statistics) of its training rows as the steps
/// fitted so far leave them, somebody [merges](Statistics::merge) these, and all
/// [fit](Self::fit) what can be fitted on them: the first step that needs statistics, and every one
/// after it whose statistics follow from those. Behind scalings and `impute` they do, so that one round
/// is enough for most pipelines. It takes another behind a step that mixes channels or bends values, for
/// `pca` behind `impute` if there were gaps, and for `impute` from neighbours by a second method.
///
/// A step that [each node](FitBy::Node) fits for itself waits for nothing: a node fits it on its own
/// rows whenever it makes statistics for a step behind it, and the finished pipeline has no values for it.
///
/// The pipeline is the one that [`Pipeline::fit`] makes of all nodes' series together, to 1e-12; where
/// quantiles count (`robust-scale`, `impute` by `median`), to the rank error that
/// [`Statistics`] states.
///
/// ```
/// use preprocess::{
///     Impute, ImputeMethod, MAX_WEIGHT, Pipeline, Rounds, Rows, Stage, Statistics, ZScore,
/// };
///
/// let configs = [Impute::by(ImputeMethod::Previous).into(), ZScore {}.into()];
/// let stage = Stage::unnamed(1);
/// let rows = |values: &[f64]| vec![Rows::of_series(1, None, values.to_vec())];
/// let (north, south) = (rows(&[1.0, f64::NAN, 3.0, 5.0]), rows(&[f64::NAN, 2.0, 4.0]));
///
/// // On each node, and at the center.
/// let mut rounds = Rounds::new(&configs, &stage)?;
/// let (n, s) = (rounds.statistics(&north)?, rounds.statistics(&south)?);
/// let (all, capped) = Statistics::merge(&[("north", &n), ("south", &s)], Some(MAX_WEIGHT))?;
/// // Of two nodes, none counts more than the other.
/// assert_eq!((capped[0].claimed, capped[0].counted), (4, 3));
/// rounds.fit(&all)?;
/// let pipeline = rounds.finished().expect("one round was enough");
/// assert_eq!(pipeline.configs(), configs);
///
/// let (all, _) = Statistics::merge(&[("north", &n), ("south", &s)], None)?;
/// let mut rounds = Rounds::new(&configs, &stage)?;
/// rounds.fit(&all)?;
/// assert_eq!(rounds.finished(), Some(&Pipeline::fit(&configs, &stage, [north, south].concat())?));
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rounds {
    configs: Vec<StepConfig>,
    /// As many steps as are fitted, with those that need no statistics.
    pipeline: Pipeline,
}

impl Rounds {
    /// Before the first round.
    ///
    /// # Errors
    /// If a step before the first that needs statistics has an option out of range, or there are no
    /// channels.
    pub fn new(configs: &[StepConfig], input: &Stage) -> Result<Self, Error> {
        Self::resume(configs, &Pipeline::from_steps(input.clone(), Vec::new())?)
    }

    /// After the rounds that fitted the steps of a pipeline.
    ///
    /// # Errors
    /// If these are not the first of the steps, or as [`new`](Self::new).
    pub fn resume(configs: &[StepConfig], fitted: &Pipeline) -> Result<Self, Error> {
        if !configs.starts_with(&fitted.configs()) {
            return Err(Error::Statistics {
                what: "the fitted steps are not the first of the steps to fit".to_owned(),
            });
        }
        // What is a node's own is not for others to fit on.
        let mut rounds = Self { configs: configs.to_vec(), pipeline: fitted.shared() };
        rounds.go_on(None)?;
        Ok(rounds)
    }

    /// The steps and what is fitted of them.
    pub fn scope(&self) -> Scope {
        Scope { configs: self.configs.clone(), fitted: self.pipeline.clone() }
    }

    /// The position of the first step that is not fitted, or how many steps there are.
    pub fn position(&self) -> usize {
        self.pipeline.steps().len()
    }

    /// The pipeline, if all its steps are fitted but those that each node fits for itself.
    pub fn finished(&self) -> Option<&Pipeline> {
        (self.position() == self.configs.len()).then_some(&self.pipeline)
    }

    /// What a node hands out in this round of the training rows it has.
    ///
    /// # Errors
    /// If no step waits for statistics, rows have other channels or an infinity, or a value is beyond
    /// 1e150.
    pub fn statistics(&self, series: &[Rows]) -> Result<Statistics, Error> {
        if self.finished().is_some() {
            return Err(Error::NothingToFit);
        }
        let own = self.pipeline.fit_node(series)?;
        let passed = series.iter().enumerate().map(|(i, rows)| {
            let passed = own.apply(rows.view());
            passed.map_err(|e| Error::Series { series: i, source: Box::new(e) })
        });
        Statistics::of(self.scope(), &passed.collect::<Result<Vec<_>, _>>()?)
    }

    /// Fits every step that can be fitted on the statistics of all nodes.
    ///
    /// # Errors
    /// If the statistics are of other steps or another round, a channel has no value to fit on, or an
    /// option is out of range; nothing is fitted then.
    pub fn fit(&mut self, statistics: &Statistics) -> Result<(), Error> {
        if self.finished().is_some() {
            return Err(Error::NothingToFit);
        }
        self.scope().check_same(statistics.scope())?;
        let mut next = self.clone();
        next.go_on(Some(statistics.known()))?;
        *self = next;
        Ok(())
    }

    /// Fits steps as long as what they need is known.
    fn go_on(&mut self, mut known: Option<Known>) -> Result<(), Error> {
        for config in &self.configs[self.pipeline.steps().len()..] {
            let needs = config.kind.needs();
            let (places, _) = self.pipeline.next_input(config)?;
            if config.fit == FitBy::Node {
                self.pipeline.push(FittedStep::unfitted(config, places))?;
                known = None;
                continue;
            }
            let is_known = known.as_ref().is_some_and(|known| known.has(needs, places.as_deref()));
            if needs != Needs::Nothing && !is_known {
                break;
            }
            let input = self.pipeline.output().clone();
            let given = known.as_ref();
            self.pipeline.extend(config, |_, places| match given {
                Some(known) => known.stats(places),
                None => unreachable!("a step that needs nothing asked for statistics"),
            })?;
            let step = &self.pipeline.steps()[self.pipeline.steps().len() - 1];
            known = known.and_then(|known| known.after(step, &input));
        }
        Ok(())
    }
}

impl Statistics {
    /// Statistics from a file, which is not believed before it is checked.
    ///
    /// | tensor | shape | what it is |
    /// |---|---|---|
    /// | `rows` | `[1]` | training rows |
    /// | `count` | `[channels]` | present values |
    /// | `mean`, `mean_rest` | `[channels]` | their mean, and what it is more than that number |
    /// | `m2` | `[channels]` | `Σ (x − mean)²` |
    /// | `min`, `max` | `[channels]` | their range |
    /// | `points` | `[channels]` | how many quantiles are known, if a step needs them |
    /// | `quantiles` | `[Σ points]` | evenly spaced from `min` to `max`, channel by channel |
    /// | `filled.…` | | the same with gaps filled by neighbours, if a step does so |
    /// | `covariance.count` | `[1]` | rows without a missing value, if a step needs the covariance |
    /// | `covariance.mean`, `covariance.mean_rest` | `[n]` | means over these, of all channels or of those of the step that comes first |
    /// | `covariance.comoment` | `[n, n]` | `Σ (x − mean)(x − mean)ᵀ` over these |
    ///
    /// Of a channel without a value all are 0.
    ///
    /// # Errors
    /// If the scope is none that [`Rounds::scope`] gives, a tensor is missing, unknown or of another
    /// length, or its numbers are of no values: not finite or beyond 1e150, a count that is no whole
    /// number or more than the rows, a mean out of the range, a spread that the range does not allow,
    /// quantiles out of order.
    pub fn from_tensors(scope: Scope, tensors: &[Tensor]) -> Result<Self, Error> {
        let rounds = Rounds::resume(&scope.configs, &scope.fitted)?;
        if rounds.scope() != scope || rounds.finished().is_some() {
            return Err(Error::Statistics { what: "no step waits for them".to_owned() });
        }
        let (rows, known) = tensors::read(&scope, tensors)?;
        Self::checked(scope, rows, known)
    }
}
