//! An error whose message is laid out in lines.

use std::fmt;

/// A message of several lines, such as a place in a file with a mark under it. Each line is kept by
/// itself: an end of line within one comes from a file, and is shown as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines(Vec<String>);

impl Lines {
    pub(crate) fn new(lines: impl IntoIterator<Item = String>) -> Self {
        Self(lines.into_iter().collect())
    }

    /// The lines.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Lines {}
