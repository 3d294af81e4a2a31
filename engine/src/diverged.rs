//! Training that went astray, told apart from a program that fails.

use std::fmt;

/// What an update is refused for that diverged, lies or uses another one's name. Whoever is refused for
/// anything else was told the wrong thing, or made by another program.
const OF_ATTACKS: [&str; 6] = ["value", "norm", "steps", "duplicate", "overlap", "copy"];

/// Weights, a gradient or answers are not finite: what was asked for cannot be learned this way,
/// though nothing is wrong with files and machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diverged {
    message: String,
}

impl Diverged {
    pub(crate) fn new(message: String) -> Self {
        Self { message }
    }

    /// Whether this is what an error comes of: a run that diverged, or a merge whose result leaves
    /// the range of its numbers or that too few updates are left for that can be believed.
    ///
    /// ```
    /// use engine::diverged::Diverged;
    ///
    /// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    /// assert!(!Diverged::is_cause_of(&anyhow::Error::new(full).context("writing the model")));
    /// ```
    pub fn is_cause_of(error: &anyhow::Error) -> bool {
        error.chain().any(|cause| {
            cause.is::<Self>()
                || match cause.downcast_ref::<aggregate::Error>() {
                    Some(aggregate::Error::OutOfRange { .. }) => true,
                    Some(
                        aggregate::Error::NothingAdmitted { rejected }
                        | aggregate::Error::Quorum { rejected, .. },
                    ) => rejected.iter().all(|r| OF_ATTACKS.contains(&r.reason.kind())),
                    _ => false,
                }
        })
    }
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diverged {}
