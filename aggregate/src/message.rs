//! The messages of errors that hold several others.

use crate::Error;
use crate::reject::lines;

impl Error {
    /// The message by its lines: what is wrong, and each rejected update on a line of its own. An end
    /// of line within one comes from a name or a path.
    ///
    /// ```
    /// let none = aggregate::Error::NothingAdmitted { rejected: Vec::new() };
    /// assert_eq!(none.message_lines(), ["none of the 0 updates can be merged:"]);
    /// ```
    pub fn message_lines(&self) -> Vec<String> {
        let rejected = match self {
            Self::NothingAdmitted { rejected }
            | Self::Rejected { rejected, .. }
            | Self::Quorum { rejected, .. } => rejected.as_slice(),
            _ => &[],
        };
        let whole = self.to_string();
        let first = whole.strip_suffix(&lines(rejected)).unwrap_or(&whole).to_owned();
        std::iter::once(first).chain(rejected.iter().map(|r| format!("  {r}"))).collect()
    }
}
