//! How windows are answered.

use std::time::Duration;

use super::judged::Terms;
use crate::job::{Abstain, Keep, Late, Priority};

/// How windows are answered.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What becomes of windows that come faster than the model answers.
    pub keep: Keep,
    /// From the arrival of a window's last row to its answer.
    pub deadline: Option<Duration>,
    /// What becomes of later answers.
    pub late: Late,
    /// How urgent the threads are that answer.
    pub priority: Priority,
    /// How often to look for another model.
    pub watch: Duration,
    /// What is asked of it before it is live.
    pub terms: Terms,
    /// A longer step, in usual ones, is a gap.
    pub gap: Option<f64>,
    /// Rows whose time is longer ago are old.
    pub stale: Option<Duration>,
    /// Nothing for so many usual steps is no signal.
    pub silence: Option<f64>,
    /// Whether answers tell every class's probability.
    pub probs: bool,
    /// An answer that is less probable is kept back.
    pub abstain: Option<Abstain>,
    /// The share of given answers that have to be right, where that may move.
    pub abstain_right: f64,
    /// Under load every how many-th window stays due at least; 1 for each.
    pub stride_most: u64,
    /// Windows after which what is usual is taken from those of this place; 0 for never.
    pub refit: Option<usize>,
    /// How many times as long the model takes, to try out what happens then.
    pub slow: f64,
}
