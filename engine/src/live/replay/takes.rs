//! What takes the lines of recordings.

/// Takes lines.
pub trait Target {
    /// Takes a line of a series, without its end.
    ///
    /// # Errors
    /// If no later one can be taken either.
    fn line(&mut self, series: &str, line: &[u8]) -> anyhow::Result<()>;

    /// Hands on what was kept to be sent at once.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    fn flush(&mut self) -> anyhow::Result<()>;

    /// No more lines come; gives how many were not taken.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    fn finish(&mut self) -> anyhow::Result<u64>;
}
