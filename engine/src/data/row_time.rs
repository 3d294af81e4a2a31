//! The time column of a long table, and in what its times are.

use super::reading::{Clock, TimeUnit};
use super::times::TimeKind;

/// The time column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    pub(super) column: usize,
    /// What its name says of its unit.
    pub(super) named: Option<TimeUnit>,
    /// How times are written, once one was read.
    pub(super) kind: TimeKind,
}

impl Time {
    /// In what the times are, where that is known.
    pub(super) fn unit(self) -> Option<TimeUnit> {
        match self.kind {
            TimeKind::Number => self.named,
            TimeKind::Date | TimeKind::OffsetDate => Some(TimeUnit::Date),
            TimeKind::Text => Some(TimeUnit::Unknown),
        }
    }

    pub(super) fn clock(self) -> Clock {
        TimeUnit::clock(self.unit())
    }

    /// The seconds of its unit.
    pub(super) fn seconds(self) -> f64 {
        self.unit().map_or(1.0, TimeUnit::seconds)
    }
}
