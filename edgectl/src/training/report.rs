//! What training did.

use serde::Serialize;

use super::range_test::RangeTest;
use crate::interrupt::Reason;
use crate::metrics::Metrics;

/// What training did; the JSON form is the contract of `edgectl train --json`, less what the
/// command adds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainReport {
    /// Epochs done, early ones before a resume included.
    pub epochs: u32,
    /// Optimizer steps done.
    pub steps: u64,
    /// Training windows.
    pub examples: usize,
    /// Training windows handled per second in this process.
    pub samples_per_s: f64,
    /// Parameters that were trained; the others are frozen.
    pub trained_parameters: usize,
    /// Learning rate that the schedule starts from.
    pub lr: f32,
    /// The smallest rate of a step, early ones before a resume included; `None` before any step.
    pub lr_min: Option<f32>,
    /// The largest.
    pub lr_max: Option<f32>,
    /// How that rate was chosen, with `lr = "auto"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_test: Option<RangeTest>,
    /// What an accountant of privacy needs to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<PrivateReport>,
    /// Loss over the training windows in the last epoch, as the optimizer saw it; `None` if no
    /// epoch was finished.
    pub loss: Option<f64>,
    /// Metrics of the kept weights on the held-out part, if there is one.
    pub val: Option<Metrics>,
    /// Why it stopped before all epochs were done.
    pub stopped: Option<Reason>,
    /// What is likely not as it should be, such as a loss that rose.
    pub warnings: Vec<String>,
    /// Steps left out because their gradient was not finite.
    pub skipped_steps: u64,
}

/// A warning if a run ends with a larger training loss than it had after its first epoch or round.
///
/// ```
/// use edgectl::training::loss_rose;
///
/// assert!(loss_rose("epoch", 0.5, 0.7).is_some_and(|warning| warning.contains("0.7")));
/// assert_eq!(loss_rose("epoch", 0.5, 0.5), None);
/// ```
pub fn loss_rose(unit: &str, first: f64, last: f64) -> Option<String> {
    (last > first).then(|| {
        format!(
            "the training loss rose from {first:.4} in the first {unit} to {last:.4} in the last; try a smaller [train] lr"
        )
    })
}

/// What an accountant of privacy needs to know of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrivateReport {
    /// What is protected: one window. Rows that stand in several windows are refused.
    pub unit: &'static str,
    /// Probability of each window to be in a step.
    pub sampling_rate: f64,
    /// Steps taken, early ones before a resume included.
    pub steps: u64,
    /// Longest gradient of one window.
    pub clip_norm: f32,
    /// Deviation of the noise on the sum, in units of `clip_norm`.
    pub noise_multiplier: f32,
}
