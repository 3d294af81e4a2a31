//! How often the system held the process back, as it grants it only so much: others may wait for that reason alone.

use super::board::{Board, Figure};
use super::observe::Observer;
use super::slack::Group;

/// Tells it about once a second, where the system tells it.
#[derive(Debug)]
pub(super) struct Throttled<'a> {
    group: Group,
    board: &'a Board,
}

impl<'a> Throttled<'a> {
    /// Of the group of this process.
    pub(super) fn of(board: &'a Board) -> Self {
        Self { group: Group::own(), board }
    }
}

impl Observer for Throttled<'_> {
    fn tick(&mut self) {
        if let Some((periods, seconds)) = self.group.throttled() {
            self.board.set(Figure::ThrottledPeriods, "", periods as f64);
            self.board.set(Figure::ThrottledSeconds, "", seconds);
        }
    }
}
