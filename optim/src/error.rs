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
    #[error("unknown optimizer {found:?}, expected one of {}", known.join(", "))]
    UnknownOptimizer {
        /// The name that was given.
        found: String,
        /// The names that there are.
        known: &'static [&'static str],
    },
    /// A pattern for names of parameters is malformed.
    #[error("the pattern {pattern:?} is malformed: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A pattern matches no parameter.
    #[error("the pattern {pattern:?} matches no parameter; there are {}", list(names))]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// The names that there are.
        names: Vec<String>,
    },
    /// Gradients were not finite so many steps in a row.
    #[error(
        "the gradient was not finite {steps} steps in a row; \
         try a smaller learning rate, clipping by norm, or inputs scaled to about 1"
    )]
    NotFinite {
        /// How many.
        steps: u64,
    },
    /// The state was saved by a library that means something else by it.
    #[error("the {optimizer} state has version {found}, this program reads version {expected}")]
    StateVersion {
        /// The name of the optimizer that loads.
        optimizer: &'static str,
        /// The version that is read.
        expected: u32,
        /// The version of the state.
        found: u32,
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

/// The first names, and how many more there are.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
