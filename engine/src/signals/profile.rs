//! What `calibrate` found out about a model at work; a part of its file.

use anyhow::ensure;
use monitor::{Conformal, Scores, Watch};
use serde::{Deserialize, Serialize};

use super::input::InputReference;

/// How unusual the input is.
pub const INPUT: usize = 0;

/// The probability of the answer.
pub const CONFIDENCE: usize = 1;

/// Whether the answer was wrong.
pub const ERROR: usize = 2;

/// Windows from which a place takes what is usual there.
pub const FIRST: usize = 200;

/// The signals' names.
pub const NAMES: [&str; 3] = ["input", "confidence", "error"];

/// What is usual of a model's answers on data that it was not trained on, for these weights alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Windows from one false alarm to the next that were asked for, of all detectors together.
    pub arl0: f64,
    /// As it was counted, at places that thresholds were not found on.
    pub arl0_reached: f64,
    /// The lower bound of that at 95 %.
    pub arl0_lower: f64,
    /// Windows, of which none shares a row with another, and their series.
    pub windows: usize,
    /// See [`windows`](Self::windows).
    pub series: usize,
    /// The share of right answers, where there were labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// What windows usually are.
    pub input: InputReference,
    /// Of each signal, what scores are by where nothing is known of a place yet.
    pub scores: Vec<Option<Scores>>,
    /// Detectors with references and thresholds.
    pub watches: Vec<Watch>,
    /// The share of windows whose set is to hold the true class.
    pub coverage: f64,
    /// Sets of classes, where there were labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conformal: Option<Conformal>,
    /// Windows of a new place from which what is usual there was taken: thresholds hold after as many.
    #[serde(default = "first")]
    pub first: usize,
    /// The smallest and the largest value of each channel, before all steps.
    pub ranges: Vec<(f64, f64)>,
}

fn first() -> usize {
    FIRST
}

impl Profile {
    /// Checks it for a model that reads so many channels, of which the steps make so many.
    ///
    /// # Errors
    /// If it contradicts itself or the model.
    pub fn check(&self, channels_in: usize, channels_out: usize) -> anyhow::Result<()> {
        ensure!(self.input.is_valid(channels_out), "the reference of inputs does not fit");
        let is_signal = |watch: &Watch| watch.signal < NAMES.len();
        ensure!(self.watches.iter().all(is_signal), "a detector watches no signal");
        let has_scores = |watch: &Watch| {
            !watch.scored || self.scores.get(watch.signal).is_some_and(Option::is_some)
        };
        ensure!(self.watches.iter().all(has_scores), "a detector has no scores to watch");
        let n = self.watches.len();
        ensure!((1..=100).contains(&n), "{n} detectors");
        let is_one = |share: f64| (0.0..=1.0).contains(&share);
        ensure!(self.accuracy.is_none_or(is_one), "an accuracy that is no share");
        ensure!(self.arl0 > 0.0 && self.arl0.is_finite(), "alarms every {} windows", self.arl0);
        ensure!((2..=1_000_000).contains(&self.first), "{} first windows", self.first);
        ensure!(
            self.ranges.len() == channels_in
                && self.ranges.iter().all(|(least, most)| least <= most),
            "the ranges of values do not fit"
        );
        let is_share = self.coverage > 0.0 && self.coverage < 1.0;
        ensure!(is_share, "a coverage of {}", self.coverage);
        Ok(())
    }
}
