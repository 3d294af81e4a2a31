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

impl Split {
    /// The word for it in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Unmarked => "unmarked",
        }
    }

    /// The split that a cell names, in any case.
    pub(super) fn of_cell(cell: &[u8]) -> Option<Self> {
        let all = [Self::Train, Self::Test, Self::Unmarked];
        all.into_iter().find(|split| cell.eq_ignore_ascii_case(split.name().as_bytes()))
    }
}
