//! What a search is told.

use super::trials::Trials;
use crate::interrupt::Stop;

/// What the search is told.
pub struct Search<'a> {
    /// What is trained and measured.
    pub trials: &'a Trials<'a>,
    /// How many candidates are tried, the job as it is among them.
    pub n_trials: usize,
    /// Windows there are to train on.
    pub windows: usize,
    /// Seed of what is proposed.
    pub seed: u64,
    /// When no more is proposed.
    pub until: Stop,
    /// When nothing more is measured.
    pub end: Stop,
    /// Hears of every training; told how many there will be at most, and of what is best.
    pub progress: &'a (dyn SearchProgress + Sync),
}

/// Hears how a search goes.
pub trait SearchProgress {
    /// After every measurement, which was `trained` for now or known before.
    fn measured(&self, trained: bool);
    /// What is going on.
    fn note(&self, text: &str);
}
