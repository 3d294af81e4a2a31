//! What training did.

use std::collections::BTreeMap;

use serde::Serialize;

use super::calibration::Calibration;
use super::range_test::RangeTest;
use super::split::HeldOut;
use crate::interrupt::Reason;
use crate::metrics::Metrics;

/// What training did; the JSON form is the contract of `edgectl train --json`, less what the
/// command adds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainReport {
    /// Epochs done, early ones before a resume included.
    pub epochs: u32,
    /// Epochs that were asked for.
    pub planned_epochs: u32,
    /// Whether that number follows from the number of training windows (`epochs = "auto"`).
    #[serde(skip_serializing_if = "is_false")]
    pub epochs_by_windows: bool,
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
    /// Loss of the first step, before anything was learned.
    pub start_loss: Option<f64>,
    /// Loss over the training windows in the last epoch, as the optimizer saw it; `None` if no
    /// epoch was finished.
    pub loss: Option<f64>,
    /// Metrics of the kept weights on the held-out part, if there is one; without the temperature, which was
    /// fitted there.
    pub val: Option<Metrics>,
    /// What that part is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<HeldOut>,
    /// The temperature that was fitted on the held-out part.
    #[serde(flatten)]
    pub calibration: Option<Calibration>,
    /// Why it stopped before all epochs were done.
    pub stopped: Option<Reason>,
    /// What is likely not as it should be, such as a loss that rose.
    pub warnings: Vec<String>,
    /// Steps left out because their gradient was not finite.
    pub skipped_steps: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a run leaves.
pub(super) struct Outcome {
    pub(super) params: Vec<f32>,
    pub(super) report: TrainReport,
    pub(super) train_metrics: BTreeMap<String, f64>,
    /// The mean of the steps' learning rates.
    pub(super) mean_lr: f32,
}

/// How much more than at first a loss is that rose; less is chance, as of the last round, whose rate moves
/// nothing any more.
const ABOVE: f64 = 1.02;

/// A loss this much larger than that of a run's first step is no matter of chance.
const FAR_ABOVE: f64 = 1.5;

/// A warning if a run ends with a larger training loss than it had in its first epoch or round, or with
/// one far above that of its very first step: its losses at the first step, in the first and in the last
/// unit.
///
/// ```
/// use engine::training::loss_rose;
///
/// let warning = loss_rose("epoch", (Some(0.6), Some(0.5), Some(0.7)));
/// assert!(warning.is_some_and(|warning| warning.contains("0.7")));
/// assert_eq!(loss_rose("epoch", (Some(0.6), Some(0.5), Some(0.503))), None);
/// assert!(loss_rose("epoch", (Some(2.0), Some(9.0), Some(9.0))).is_some());
/// ```
pub fn loss_rose(
    unit: &str,
    (start, first, last): (Option<f64>, Option<f64>, Option<f64>),
) -> Option<String> {
    let last = last?;
    let (from, of) = match (first, start) {
        (Some(first), _) if last > ABOVE * first => (first, format!("first {unit}")),
        (_, Some(start)) if last > FAR_ABOVE * start => (start, "first step".to_owned()),
        _ => return None,
    };
    Some(format!(
        "the training loss rose from {from:.4} in the {of} to {last:.4} in the last {unit}; try a smaller [train] lr"
    ))
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
