//! What can be wrong with options, data and stored pipelines.

/// An option out of range, data that does not fit, or a stored pipeline that cannot be used.
///
/// Steps are named by their position in the list, from 0, and by their `step` tag.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
        expected: &'static str,
    },
    /// A step over rows comes after a step over windows.
    #[error(
        "step {position} ({step}) works on rows and cannot follow a step that works on windows; \
         move window-normalize to the end"
    )]
    Order {
        /// Position of the row step.
        position: usize,
        /// Its tag.
        step: &'static str,
    },
    /// A pipeline needs at least one channel.
    #[error("the number of channels is 0, expected at least 1")]
    NoChannels,
    /// A slice does not hold whole rows.
    #[error("{found} values are no whole number of rows of {channels} channels")]
    Length {
        /// Channels in a row.
        channels: usize,
        /// Length of the slice.
        found: usize,
    },
    /// A single row has the wrong number of values.
    #[error("the row has {found} values, expected one for each of {expected} channels")]
    RowLength {
        /// Channels in a row.
        expected: usize,
        /// Length of the row.
        found: usize,
    },
    /// A value is infinite; a missing value must be NaN.
    #[error("row {row}, channel {channel} is {found}; mark missing values as NaN")]
    Infinite {
        /// Row within the slice.
        row: usize,
        /// Channel within the row.
        channel: usize,
        /// The value.
        found: f32,
    },
    /// There is nothing to fit a channel on.
    #[error(
        "channel {channel} has no value in the training rows, so {step} cannot be fitted; \
         drop the channel, train on more rows, or put impute with method \"zero\" first"
    )]
    AllMissing {
        /// The channel.
        channel: usize,
        /// The step that was being fitted.
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
    /// A stored parameter has another number of channels than its pipeline.
    #[error("step {position} ({step}): {parameter} has {found} values, expected {expected}")]
    ParameterLength {
        /// Position of the step.
        position: usize,
        /// Its tag.
        step: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// Channels of the pipeline.
        expected: usize,
        /// Values of the parameter.
        found: usize,
    },
    /// A stored parameter has a value that no fit gives.
    #[error(
        "step {position} ({step}): {parameter} is {found} at channel {channel}, expected {expected}"
    )]
    ParameterValue {
        /// Position of the step.
        position: usize,
        /// Its tag.
        step: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// The channel.
        channel: usize,
        /// The value.
        found: f32,
        /// What is accepted, in words.
        expected: &'static str,
    },
    /// A step needs rows that have not come yet.
    #[error(
        "step {position} (impute): method \"linear\" looks at later rows and cannot run on a \
         stream; use \"previous\""
    )]
    NotCausal {
        /// Position of the step.
        position: usize,
    },
    /// There is no such channel.
    #[error("channel {channel} does not exist, the pipeline has {channels} channels from 0")]
    Channel {
        /// The channel asked for.
        channel: usize,
        /// Channels of the pipeline.
        channels: usize,
    },
}

/// Passes if `values` holds whole rows of `channels` and no infinity.
pub(crate) fn check_values(values: &[f32], channels: usize) -> Result<(), Error> {
    if !values.len().is_multiple_of(channels) {
        return Err(Error::Length { channels, found: values.len() });
    }
    match values.iter().position(|v| v.is_infinite()) {
        Some(i) => {
            let (row, channel) = (i / channels, i % channels);
            Err(Error::Infinite { row, channel, found: values[i] })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_must_be_whole_rows_without_infinities() {
        assert_eq!(check_values(&[1.0, f32::NAN, 3.0, 4.0], 2), Ok(()));
        assert_eq!(check_values(&[], 2), Ok(()));
        assert_eq!(
            check_values(&[1.0; 3], 2).unwrap_err().to_string(),
            "3 values are no whole number of rows of 2 channels"
        );
        assert_eq!(
            check_values(&[0.0, 0.0, 0.0, f32::NEG_INFINITY], 2).unwrap_err().to_string(),
            "row 1, channel 1 is -inf; mark missing values as NaN"
        );
    }
}
