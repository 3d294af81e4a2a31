//! What a training run is told besides its data and its start.

use std::path::Path;

use super::drift::Variate;
use crate::interrupt::Stop;

/// What a training run is told besides its data and its start.
#[derive(Debug, Clone, Copy)]
pub struct TrainOptions<'a> {
    /// The node's name: it is written into the update, and seeds the node's shuffles.
    pub node: &'a str,
    /// Hash of the file the start came from, if it came from a file.
    pub base: Option<&'a str>,
    /// Threads to use; the bits do not depend on it.
    pub threads: usize,
    /// When to stop early.
    pub stop: Stop,
    /// Where the state for `resume` is kept; `None` keeps none.
    pub state: Option<&'a Path>,
    /// Whether to go on from that state.
    pub resume: bool,
    /// Where the node remembers what corrects its drift, if the job has it do so.
    pub variate: Option<Variate<'a>>,
    /// Rounds of the run that the learning-rate schedule spans; 1 for a run of its own.
    pub rounds: u32,
}
