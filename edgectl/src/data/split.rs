//! Which rows are for training, and which for the test.

/// What rows are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Rows to train on.
    Train,
    /// Rows to test on; nothing is fitted on them.
    Test,
    /// Rows of a file that does not say.
    Unmarked,
}
