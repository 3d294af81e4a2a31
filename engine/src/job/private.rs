//! `[train.private]`: training that says little of any one window.

use optim::PrivateConfig;
use serde::{Deserialize, Serialize};

/// `[train.private]`: every window's gradient is clipped and their sum blurred.
///
/// What is protected is one training window: the weights say little of whether it was there. Windows
/// that share rows are refused, as then a row would count several times; windows of one series or
/// person still count each for itself. Each step takes each window with the same probability,
/// independently, which is what accountants of privacy assume. The number of windows, their shapes
/// and fitted preprocessing are not protected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateTraining {
    /// Longest gradient of one window.
    pub clip_norm: f32,
    /// Deviation of the noise on the sum, in units of `clip_norm`.
    pub noise_multiplier: f32,
    /// Makes the noise repeatable, for experiments: who knows the seed can take the noise off. Left
    /// out, the noise is drawn from the system's secret numbers, whose key is kept until the run is
    /// over, in a file beside the state that only its owner can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_seed: Option<u64>,
}

impl PrivateTraining {
    /// What the gradient's sum needs.
    pub fn options(&self) -> PrivateConfig {
        PrivateConfig { clip_norm: self.clip_norm, noise_multiplier: self.noise_multiplier }
    }
}
