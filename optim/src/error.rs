//! What can be wrong with options and saved states.

/// An option out of range, an unknown name, or a saved state that does not fit.
///
/// Every message names the offending option or tensor and what would have been accepted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A numeric option is not finite or outside its range.
    #[error("{owner}: {option} is {found}, expected {expected}")]
    Option {
        /// The optimizer or schedule the option belongs to.
        owner: &'static str,
        /// The option's name as spelled in a configuration file.
        option: &'static str,
        /// The value that was given.
        found: f64,
        /// The accepted range in words.
        expected: &'static str,
    },
    /// Two options that are each fine do not go together.
    #[error("{owner}: {conflict}")]
    Conflict {
        /// The optimizer or schedule the options belong to.
        owner: &'static str,
        /// Which options, and what to change.
        conflict: &'static str,
    },
    /// No optimizer has this name.
    #[error(
        "unknown optimizer {found:?}, expected one of {}",
        crate::OptimizerConfig::NAMES.join(", ")
    )]
    UnknownOptimizer {
        /// The name that was given.
        found: String,
    },
    /// The state was saved by another optimizer.
    #[error("the state belongs to optimizer {found:?}, expected {expected:?}")]
    StateOptimizer {
        /// The name of the optimizer that loads.
        expected: &'static str,
        /// The name in the state.
        found: String,
    },
    /// The state lacks a tensor this optimizer needs.
    #[error(
        "the {optimizer} state has no tensor {tensor:?}; \
         was it saved with the same options (momentum on or off)?"
    )]
    StateMissing {
        /// The name of the optimizer that loads.
        optimizer: &'static str,
        /// The tensor that is missing.
        tensor: &'static str,
    },
    /// The state has a tensor this optimizer does not know.
    #[error(
        "the {optimizer} state has an unexpected tensor {tensor:?}; \
         was it saved with the same options (momentum on or off)?"
    )]
    StateExtra {
        /// The name of the optimizer that loads.
        optimizer: &'static str,
        /// The tensor that is not expected.
        tensor: String,
    },
    /// A tensor of the state is for another number of parameters.
    #[error("tensor {tensor:?} of the {optimizer} state has {found} elements, expected {expected}")]
    StateLength {
        /// The name of the optimizer that loads.
        optimizer: &'static str,
        /// The tensor.
        tensor: &'static str,
        /// The number of parameters the optimizer was built for.
        expected: usize,
        /// The number of elements in the state.
        found: usize,
    },
    /// A tensor of the state holds a value no run can produce.
    #[error(
        "tensor {tensor:?} of the {optimizer} state is {found} at element {index}, \
         expected {expected}"
    )]
    StateValue {
        /// The name of the optimizer that loads.
        optimizer: &'static str,
        /// The tensor.
        tensor: &'static str,
        /// The first bad element.
        index: usize,
        /// Its value.
        found: f32,
        /// What is accepted, in words.
        expected: &'static str,
    },
}

/// Passes if `found` is finite and in `range`; the message quotes `expected`.
pub(crate) fn check_option(
    owner: &'static str,
    option: &'static str,
    found: f32,
    in_range: impl Fn(f32) -> bool,
    expected: &'static str,
) -> Result<(), Error> {
    if found.is_finite() && in_range(found) {
        Ok(())
    } else {
        Err(Error::Option { owner, option, found: found.into(), expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_check_refuses_nan_whatever_the_range() {
        let check = |v| check_option("sgd", "momentum", v, |_| true, "any finite number");
        assert_eq!(check(1.0), Ok(()));
        assert!(check(f32::NAN).is_err());
        assert_eq!(
            check(f32::INFINITY).unwrap_err().to_string(),
            "sgd: momentum is inf, expected any finite number"
        );
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        let error = Error::UnknownOptimizer { found: "adamm".into() };
        assert_eq!(
            error.to_string(),
            "unknown optimizer \"adamm\", expected one of sgd, adam, adamw"
        );
    }
}
