//! What can be wrong with options, data and stored states.

/// An option out of range, data that does not fit, or a stored state that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is not finite or outside its range.
    #[error("{owner}: {option} is {found}, expected {expected}")]
    Option {
        /// What the option belongs to.
        owner: &'static str,
        /// The option's name.
        option: &'static str,
        /// The value that was given.
        found: f64,
        /// What is accepted, in words.
        expected: &'static str,
    },
    /// There is too little to learn from.
    #[error("{owner}: {found} {what}, expected at least {least}; {hint}")]
    TooFew {
        /// Who wants more.
        owner: &'static str,
        /// Of what there are too few.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are needed.
        least: usize,
        /// What to do.
        hint: &'static str,
    },
    /// A value is missing, infinite or beyond what any sensor measures.
    #[error("{owner}: the value at {position} is {found}, expected a finite number")]
    Value {
        /// Who was given it.
        owner: &'static str,
        /// Its place, from 0.
        position: usize,
        /// The value.
        found: f64,
    },
    /// A value of a series to calibrate on is missing, infinite or beyond what any sensor measures.
    #[error(
        "calibrate: signal {signal} of series {series} is {found} at window {window}, expected a finite \
         number; leave out windows without it"
    )]
    Signal {
        /// The series, from 0.
        series: usize,
        /// The window, from 0.
        window: usize,
        /// The signal, from 0.
        signal: usize,
        /// The value.
        found: f64,
    },
    /// A series does not hold a value of each signal for each window.
    #[error(
        "calibrate: series {series} has {found} values, expected a multiple of {signals} signals"
    )]
    Ragged {
        /// The series, from 0.
        series: usize,
        /// Signals of a window.
        signals: usize,
        /// Values that it has.
        found: usize,
    },
    /// A signal always has the same value, so that nothing can be said of how far from usual one is.
    #[error("signal {signal} does not vary in what it is fitted on; leave it out")]
    Constant {
        /// The signal, from 0.
        signal: usize,
    },
    /// A signal that is to hold errors has another value than 0 and 1.
    #[error("signal {signal} is {found}, expected 0 (right) or 1 (wrong)")]
    NotBits {
        /// The signal, from 0.
        signal: usize,
        /// The value.
        found: f64,
    },
    /// A detector is put on a signal that there is not.
    #[error("detector {detector} watches signal {found}, expected one of {signals} from 0")]
    NoSignal {
        /// The detector, from 0.
        detector: usize,
        /// The signal that it names.
        found: usize,
        /// How many there are.
        signals: usize,
    },
    /// A stored state that nothing here has written.
    #[error("the stored {owner} cannot be used: {problem}")]
    State {
        /// What was to be restored.
        owner: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Passes if an option `is_good`.
pub(crate) fn check_option(
    owner: &'static str,
    option: &'static str,
    found: f64,
    is_good: bool,
    expected: &'static str,
) -> Result<(), Error> {
    if is_good { Ok(()) } else { Err(Error::Option { owner, option, found, expected }) }
}

/// Passes if a stored state `is_good`.
#[cfg(feature = "serde")]
pub(crate) fn check_state(
    owner: &'static str,
    is_good: bool,
    problem: &'static str,
) -> Result<(), Error> {
    if is_good { Ok(()) } else { Err(Error::State { owner, problem }) }
}
