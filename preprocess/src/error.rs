//! What can be wrong with options, data and stored pipelines.

use crate::dispatch::vectorized;
use crate::{RowsRef, Stage};

/// An option out of range, data that does not fit, or a stored pipeline that cannot be used.
///
/// Steps are named by their position in the list, from 0, and by their `step` tag.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is wrong with one of the steps.
    #[error("step {position}: {source}")]
    Step {
        /// Position of the step.
        position: usize,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// An option is not finite or outside its range.
    #[error("{owner}: {option} is {found}, expected {expected}")]
    Option {
        /// The step or section the option belongs to.
        owner: &'static str,
        /// The option's name as spelled in a configuration file.
        option: &'static str,
        /// The value that was given.
        found: f64,
        /// What is accepted, in words.
        expected: String,
    },
    /// A step counts in seconds or Hz, and it is not known how often a row comes.
    #[error(
        "{step}: {option} needs the sample rate, which is not known; give [data] sample_rate_hz, or a \
         time column"
    )]
    NoRate {
        /// The step.
        step: &'static str,
        /// Its option.
        option: &'static str,
    },
    /// A step over rows comes after a step over windows.
    #[error(
        "{step} works on rows and cannot follow a step that works on windows; move window-normalize \
         to the end"
    )]
    Order {
        /// The tag of the row step.
        step: &'static str,
    },
    /// A step that makes more or fewer rows runs on some channels only.
    #[error("{step} changes how many rows there are, so it takes all channels; leave out channels")]
    NotForSome {
        /// The step.
        step: &'static str,
    },
    /// A step names a channel that does not come in.
    #[error("{step}: there is no channel {channel:?} here; the channels are {known}")]
    UnknownChannel {
        /// The step.
        step: &'static str,
        /// The name, or the place.
        channel: String,
        /// The channels there are.
        known: String,
    },
    /// A step names a channel twice, or none.
    #[error("{step}: channels {found}; name each once")]
    ChannelList {
        /// The step.
        step: &'static str,
        /// What is wrong.
        found: String,
    },
    /// A pipeline needs at least one channel.
    #[error("the number of channels is 0, expected at least 1")]
    NoChannels,
    /// Rows with another number of values.
    #[error("the rows have {found} values, expected one for each of {expected} channels")]
    RowLength {
        /// Channels in a row.
        expected: usize,
        /// Length of the row.
        found: usize,
    },
    /// A value is infinite; a missing value must be NaN.
    #[error("row {row}, channel {channel:?} is {found}; mark missing values as NaN")]
    Infinite {
        /// Row within the series, from 0.
        row: usize,
        /// Name of the channel.
        channel: String,
        /// The value.
        found: f64,
    },
    /// There is nothing to fit a channel on.
    #[error(
        "channel {channel:?} has no value in the training rows, so {step} cannot be fitted; drop the \
         channel, train on more rows, or put impute with method \"zero\" first"
    )]
    AllMissing {
        /// Name of the channel.
        channel: String,
        /// The step that was being fitted.
        step: &'static str,
    },
    /// The training rows do not tell what a step must know.
    #[error("{step} cannot be fitted: {reason}")]
    Fit {
        /// The step.
        step: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// A step of which nothing is fitted is to be fitted by each node.
    #[error(
        "{step}: fit = \"node\" has no effect, as nothing of this step is fitted; leave it out"
    )]
    NothingOfANode {
        /// The step.
        step: &'static str,
    },
    /// A step that each node fits for itself has no values.
    #[error(
        "{step} is fitted by each node (fit = \"node\") and has no values here; fit it on a node's \
         training rows"
    )]
    Unfitted {
        /// The step.
        step: &'static str,
    },
    /// One of the training series is at fault.
    #[error("training series {series}: {source}")]
    Series {
        /// Index of the series.
        series: usize,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A stored parameter has another number of values than it needs.
    #[error("{step}: {parameter} has {found} values, expected {expected}")]
    ParameterLength {
        /// The step.
        step: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// How many it needs.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A stored parameter has a value that no fit gives.
    #[error("{step}: {parameter} is {found} at channel {channel:?}, expected {expected}")]
    ParameterValue {
        /// The step.
        step: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// Name of the channel.
        channel: String,
        /// The value.
        found: f64,
        /// What is accepted, in words.
        expected: &'static str,
    },
    /// A step needs rows that have not come yet.
    #[error("{step} looks at later rows and cannot run on a stream; {instead}")]
    NotCausal {
        /// The step.
        step: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// There is no such channel.
    #[error("channel {channel} does not exist, the pipeline has {channels} channels from 0")]
    Channel {
        /// The channel asked for.
        channel: usize,
        /// Channels of the pipeline.
        channels: usize,
    },
    /// Steps stand between that mix or make channels or rows, so that values cannot be taken back.
    #[error("values cannot be taken back to their units, as {step} mixes channels or rows")]
    NoInverse {
        /// The step.
        step: &'static str,
    },
    /// Statistics that no rows have, or that are of other rows than those to be fitted on.
    #[error("these statistics cannot be used: {what}")]
    Statistics {
        /// What is wrong.
        what: String,
    },
    /// All steps of a pipeline are fitted, or none needs to be.
    #[error("no step waits for statistics: what the steps need is in their options, or was fitted")]
    NothingToFit,
    /// What a node handed out is at fault.
    #[error("{node}: {source}")]
    Node {
        /// The name it was given.
        node: String,
        /// What is wrong.
        source: Box<Error>,
    },
}

impl Error {
    /// Blames a node.
    pub(crate) fn of_node(self, node: &str) -> Self {
        Self::Node { node: node.to_owned(), source: Box::new(self) }
    }

    /// Blames a step.
    pub(crate) fn at(self, position: usize) -> Self {
        Self::Step { position, source: Box::new(self) }
    }
}

/// Passes if an option `is_good`.
pub(crate) fn check_option(
    owner: &'static str,
    option: &'static str,
    found: f64,
    is_good: bool,
    expected: impl Into<String>,
) -> Result<(), Error> {
    if is_good {
        Ok(())
    } else {
        Err(Error::Option { owner, option, found, expected: expected.into() })
    }
}

/// Passes if a parameter has one finite number for each channel.
pub(crate) fn check_finite(
    step: &'static str,
    parameter: &'static str,
    values: &[f64],
    input: &Stage,
) -> Result<(), Error> {
    check_parameter(step, parameter, values, input, f64::is_finite, "a finite number")
}

/// Passes if a parameter has one finite number above 0 for each channel.
pub(crate) fn check_positive(
    step: &'static str,
    parameter: &'static str,
    values: &[f64],
    input: &Stage,
) -> Result<(), Error> {
    let is_good = |v: f64| v.is_finite() && v > 0.0;
    check_parameter(step, parameter, values, input, is_good, "a finite number above 0")
}

fn check_parameter(
    step: &'static str,
    parameter: &'static str,
    values: &[f64],
    input: &Stage,
    is_good: fn(f64) -> bool,
    expected: &'static str,
) -> Result<(), Error> {
    let (needed, found) = (input.channels(), values.len());
    if found != needed {
        return Err(Error::ParameterLength { step, parameter, expected: needed, found });
    }
    match values.iter().position(|&v| !is_good(v)) {
        None => Ok(()),
        Some(place) => {
            let (channel, found) = (input.names[place].clone(), values[place]);
            Err(Error::ParameterValue { step, parameter, channel, found, expected })
        }
    }
}

/// Passes if rows have the channels of a stage and no infinity.
pub(crate) fn check_rows(rows: RowsRef<'_>, input: &Stage) -> Result<(), Error> {
    check_block(rows, 0, input)
}

/// The same for some rows of a series, from row `first` on.
pub(crate) fn check_block(rows: RowsRef<'_>, first: usize, input: &Stage) -> Result<(), Error> {
    let channels = input.channels();
    if rows.channels() != channels {
        return Err(Error::RowLength { expected: channels, found: rows.channels() });
    }
    // Without a way out of the loop it takes several values at once.
    let any = vectorized(
        #[inline(always)]
        || rows.values().iter().fold(false, |any, v| any | v.is_infinite()),
    );
    if !any {
        return Ok(());
    }
    match rows.values().iter().position(|v| v.is_infinite()) {
        None => Ok(()),
        Some(at) => Err(Error::Infinite {
            row: first + at / channels,
            channel: input.names[at % channels].clone(),
            found: rows.values()[at],
        }),
    }
}
