//! The fitted pipeline: fit, apply to series and windows, undo.

use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::error::{check_block, check_rows};
use crate::scale::{Back, Undo};
use crate::stats::{Needs, Stats};
use crate::steps::FittedKind;
use crate::{Error, FittedStep, Rows, RowsRef, Stage, StepConfig};

/// Rows that go through all steps at once, so that they stay in the cache.
const BLOCK: usize = 1024;

/// Most channels of a stored pipeline: a count that stands alone is not believed beyond it, as names
/// are made of it.
const MOST_CHANNELS: usize = 1 << 20;

/// Fitted steps in order, as plain data that can be stored with a model.
///
/// Row steps run over whole series ([`apply`](Self::apply)) or row by row
/// ([`Streamer`](crate::Streamer)); window steps run over each window cut from them
/// ([`apply_window`](Self::apply_window)). Deserializing checks everything that
/// [`from_steps`](Self::from_steps) does, so that a pipeline in hand is a usable one; its numbers come
/// back from JSON exactly.
///
/// ```
/// use preprocess::{Impute, ImputeMethod, Pipeline, Rows, Stage, ZScore};
///
/// let configs = [Impute::by(ImputeMethod::Mean).into(), ZScore {}.into()];
/// // One series of four rows with two channels, one value missing.
/// let training = Rows::of_series(2, None, vec![1.0, 10.0, 2.0, f64::NAN, 3.0, 30.0, 2.0, 20.0]);
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(2), vec![training])?;
///
/// let series = Rows::of_series(2, None, vec![2.0, f64::NAN]);
/// let mut scaled = pipeline.apply(series.view())?;
/// assert_eq!(scaled.values(), [0.0, 0.0]);
///
/// pipeline.invert(scaled.values_mut())?;
/// assert_eq!(scaled.values(), [2.0, 20.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Pipeline {
    /// What comes into each step, and last what comes out.
    stages: Vec<Stage>,
    steps: Vec<FittedStep>,
}

/// A pipeline as it stands in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    channels: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate_hz: Option<f64>,
    steps: Vec<FittedStep>,
}

impl TryFrom<Stored> for Pipeline {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self, Error> {
        let Stored { channels, names, rate_hz, steps } = stored;
        if channels > MOST_CHANNELS {
            return Err(Error::RowLength { expected: MOST_CHANNELS, found: channels });
        }
        let names = names.unwrap_or_else(|| Stage::unnamed(channels).names);
        if names.len() != channels {
            return Err(Error::RowLength { expected: channels, found: names.len() });
        }
        Self::from_steps(Stage { names, rate_hz }, steps)
    }
}

impl From<Pipeline> for Stored {
    fn from(mut pipeline: Pipeline) -> Self {
        let Stage { names, rate_hz } = pipeline.stages.swap_remove(0);
        let channels = names.len();
        let names = (names != Stage::unnamed(channels).names).then_some(names);
        Self { channels, names, rate_hz, steps: pipeline.steps }
    }
}

impl Pipeline {
    /// Fits the steps on the training rows, each on what the steps before it leave.
    ///
    /// Missing values are NaN, and count nowhere. Pass training rows only, or the test result is
    /// flattered.
    ///
    /// # Errors
    /// If an option is out of range or needs a rate that is not known, a row step follows a window
    /// step, there are no channels, rows have other channels or an infinity, or a channel has no value
    /// to fit on.
    pub fn fit(
        configs: &[StepConfig],
        input: &Stage,
        mut series: Vec<Rows>,
    ) -> Result<Self, Error> {
        check_series(&series, input)?;
        let mut pipeline = Self::from_steps(input.clone(), Vec::new())?;
        for (position, config) in configs.iter().enumerate() {
            let channels = pipeline.output().channels();
            pipeline.extend(config, stats_of(channels, &series))?;
            // What no later step is fitted on need not be computed.
            let later = &configs[position + 1..];
            if later.iter().any(|config| config.kind.needs() != Needs::Nothing) {
                pipeline.run_last(&mut series);
            }
        }
        Ok(pipeline)
    }

    /// Fits one step more, on the statistics that it needs of the channels in these places, or of all;
    /// they are not asked for where it needs none.
    pub(crate) fn extend(
        &mut self,
        config: &StepConfig,
        statistics: impl FnOnce(Needs, Option<&[usize]>) -> Stats,
    ) -> Result<(), Error> {
        let position = self.steps.len();
        let blame = |error: Error| error.at(position);
        let (channels, inner) = self.next_input(config)?;
        let stats = match config.kind.needs() {
            Needs::Nothing => Stats { channels: Vec::new(), covariance: None },
            needs => statistics(needs, channels.as_deref()),
        };
        let kind = config.kind.fit(&inner, &stats).map_err(blame)?;
        self.push(FittedStep { kind, channels, fit: config.fit })
    }

    /// One step more, as it is.
    pub(crate) fn push(&mut self, step: FittedStep) -> Result<(), Error> {
        let output = step.check(self.output()).map_err(|error| error.at(self.steps.len()))?;
        self.steps.push(step);
        self.stages.push(output);
        self.check_order()
    }

    /// Runs the last step over rows that have passed those before it.
    pub(crate) fn run_last(&self, series: &mut [Rows]) {
        let (Some(step), [.., input, output]) = (self.steps.last(), &self.stages[..]) else {
            return;
        };
        if is_per_window(step) {
            return;
        }
        for rows in series {
            let mut out = Rows::new(output.channels());
            let mut chain = Chain::new(std::iter::once(step.start(input)));
            for (_, block) in blocks(rows.view()) {
                chain.push(block, &mut out);
            }
            chain.finish(&mut out);
            *rows = out;
        }
    }

    /// The channels that the next step runs on, if not all, and what it gets; its options are checked.
    pub(crate) fn next_input(
        &self,
        config: &StepConfig,
    ) -> Result<(Option<Vec<usize>>, Stage), Error> {
        let blame = |error: Error| error.at(self.steps.len());
        let mut inner = self.output().clone();
        let channels = config.places(&inner).map_err(blame)?;
        if let Some(places) = &channels {
            inner.names = places.iter().map(|&place| inner.names[place].clone()).collect();
        }
        config.kind.plan(&inner).map_err(blame)?;
        config.fit.check(&config.kind).map_err(blame)?;
        Ok((channels, inner))
    }

    /// A pipeline of steps that were fitted before.
    ///
    /// # Errors
    /// Names the first step and parameter that is wrong.
    pub fn from_steps(input: Stage, steps: Vec<FittedStep>) -> Result<Self, Error> {
        if input.channels() == 0 {
            return Err(Error::NoChannels);
        }
        let mut stages = vec![input];
        for (position, step) in steps.iter().enumerate() {
            let input = &stages[position];
            stages.push(step.check(input).map_err(|error| error.at(position))?);
        }
        let pipeline = Self { stages, steps };
        pipeline.check_order()?;
        Ok(pipeline)
    }

    /// What is the same on all nodes: without the values of steps that each node fits for itself.
    #[must_use]
    pub fn shared(&self) -> Self {
        let steps = self.steps.iter().map(FittedStep::shared).collect();
        Self { stages: self.stages.clone(), steps }
    }

    /// Fails, and names the first step without values, unless all are fitted.
    pub(crate) fn check_fitted(&self) -> Result<(), Error> {
        match self.steps.iter().position(|step| !step.is_fitted()) {
            None => Ok(()),
            Some(at) => Err(Error::Unfitted { step: self.steps[at].kind.kind().name() }.at(at)),
        }
    }

    /// Fails unless row steps come first.
    fn check_order(&self) -> Result<(), Error> {
        let n_rows = self.row_steps().count();
        match self.steps.iter().skip(n_rows).position(|step| !is_per_window(step)) {
            None => Ok(()),
            Some(at) => {
                let step = self.steps[n_rows + at].kind.kind().name();
                Err(Error::Order { step }.at(n_rows + at))
            }
        }
    }

    /// What comes in.
    pub fn input(&self) -> &Stage {
        &self.stages[0]
    }

    /// What comes out.
    pub fn output(&self) -> &Stage {
        &self.stages[self.steps.len()]
    }

    /// The fitted steps in order.
    pub fn steps(&self) -> &[FittedStep] {
        &self.steps
    }

    /// The steps without their parameters.
    pub fn configs(&self) -> Vec<StepConfig> {
        let steps = self.steps.iter().zip(&self.stages);
        steps.map(|(step, input)| step.config(input)).collect()
    }

    /// Whether one row comes out for each that goes in.
    pub fn keeps_rows(&self) -> bool {
        self.row_steps().all(|step| step.kind.kind().keeps_rows())
    }

    /// Runs the row steps over one whole series.
    ///
    /// A series is what belongs together in time: no step looks past its ends.
    ///
    /// # Errors
    /// If the rows have other channels, a value is infinite, or a step is not [fitted](Self::is_fitted).
    pub fn apply(&self, series: RowsRef<'_>) -> Result<Rows, Error> {
        let mut out = Rows::new(self.output().channels());
        self.apply_to(series, &mut out)?;
        Ok(out)
    }

    /// [`apply`](Self::apply) into rows of one's own, whose memory is used again: what they held before is
    /// gone. A long series costs about as much for fresh memory as for a filter.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); what `out` then holds is of no use.
    ///
    /// # Panics
    /// If `out` has other channels than what comes out.
    pub fn apply_to(&self, series: RowsRef<'_>, out: &mut Rows) -> Result<(), Error> {
        let channels = self.output().channels();
        assert_eq!(out.channels(), channels, "rows of {} channels", out.channels());
        check_rows(series.slice(0..0), self.input())?;
        self.check_fitted()?;
        let mut chain = self.chain();
        out.clear();
        out.reserve(self.rows_out(series.len()));
        for (first, block) in blocks(series) {
            // Block by block, so that they come from memory once.
            check_block(block, first, self.input())?;
            chain.push(block, out);
        }
        chain.finish(out);
        Ok(())
    }

    /// About how many rows come out of so many, by the rates: what memory is reserved for.
    fn rows_out(&self, n_rows: usize) -> usize {
        let ratio = match (self.input().rate_hz, self.output().rate_hz) {
            (Some(before), Some(after)) => after / before,
            _ => 1.0,
        };
        // A rate that rises far is left to grow as rows come.
        (n_rows as f64 * ratio.min(4.0)).ceil() as usize
    }

    /// Takes rows that came out back to their original units: undoes the scalings, last step first.
    ///
    /// Imputed and smoothed values stay, and window steps cannot be undone, as the window's own mean is
    /// gone: see [`apply_window_keeping`](Self::apply_window_keeping).
    ///
    /// # Errors
    /// If a step mixes, adds or takes away channels, cannot be undone, as differences, or is not fitted.
    pub fn invert(&self, values: &mut [f64]) -> Result<(), Error> {
        let channels = self.output().channels();
        for back in self.way_back()? {
            for row in values.chunks_exact_mut(channels) {
                for (v, back) in row.iter_mut().zip(&back) {
                    *v = back.value(*v);
                }
            }
        }
        Ok(())
    }

    /// Takes values of one channel back to their original units, such as a forecast of it.
    ///
    /// # Errors
    /// If there is no such channel, or a step mixes channels or cannot be undone.
    pub fn invert_channel(&self, channel: usize, values: &mut [f64]) -> Result<(), Error> {
        let channels = self.output().channels();
        if channel >= channels {
            return Err(Error::Channel { channel, channels });
        }
        for back in self.way_back()? {
            for v in &mut *values {
                *v = back[channel].value(*v);
            }
        }
        Ok(())
    }

    /// What takes each channel back, last step first.
    fn way_back(&self) -> Result<Vec<Vec<Back>>, Error> {
        self.check_fitted()?;
        let mut all = Vec::new();
        for (step, stages) in self.steps.iter().zip(self.stages.windows(2)).rev() {
            let undo = step.undo(&stages[0]);
            if stages[0].names != stages[1].names || undo == Undo::Impossible {
                return Err(Error::NoInverse { step: step.kind.kind().name() });
            }
            if let Undo::Values(back) = undo {
                all.push(back);
            }
        }
        Ok(all)
    }

    /// The row steps at the start of a series.
    pub(crate) fn chain(&self) -> Chain {
        let steps = self.row_steps().zip(&self.stages);
        Chain::new(steps.map(|(step, input)| step.start(input)))
    }

    /// The steps before the first window step.
    pub(crate) fn row_steps(&self) -> impl Iterator<Item = &FittedStep> {
        self.steps.iter().take_while(|step| !is_per_window(step))
    }
}

fn is_per_window(step: &FittedStep) -> bool {
    matches!(step.kind, FittedKind::WindowNormalize(_))
}

/// Passes if all rows are like those of a stage.
pub(crate) fn check_series(series: &[Rows], input: &Stage) -> Result<(), Error> {
    for (i, rows) in series.iter().enumerate() {
        check_rows(rows.view(), input)
            .map_err(|e| Error::Series { series: i, source: Box::new(e) })?;
    }
    Ok(())
}

/// What a step may ask for of rows with so many channels, see [`Pipeline::extend`].
pub(crate) fn stats_of(
    channels: usize,
    series: &[Rows],
) -> impl FnOnce(Needs, Option<&[usize]>) -> Stats {
    move |needs, places| match places {
        None => Stats::of(needs, channels, series),
        Some(places) => {
            let some = series.iter().map(|rows| rows.of_channels(places));
            Stats::of(needs, places.len(), &some.collect::<Vec<_>>())
        }
    }
}

/// A series in the pieces in which it runs, each with the number of its first row.
fn blocks(series: RowsRef<'_>) -> impl Iterator<Item = (usize, RowsRef<'_>)> {
    let starts = (0..series.len()).step_by(BLOCK);
    starts.map(move |start| (start, series.slice(start..series.len().min(start + BLOCK))))
}
