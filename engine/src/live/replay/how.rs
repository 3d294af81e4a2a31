//! How recordings are played.

use std::time::Duration;

use super::super::shift::Shift;

/// How recordings are played.
#[derive(Debug, Clone, Default)]
pub struct Play {
    /// How many times as fast as they were recorded; nothing is as fast as they are taken.
    pub speed: Option<f64>,
    /// Rows a second where the recordings do not say; else what they say.
    pub hz: Option<f64>,
    /// Only the series of this name.
    pub series: Option<String>,
    /// Whether all series begin at the same time, instead of each behind the one before.
    pub together: bool,
    /// Whether they begin again behind their end.
    pub again: bool,
    /// What changes in the values.
    pub shift: Option<Shift>,
    /// How long behind its last row a class is told.
    pub labels: Option<Duration>,
}
