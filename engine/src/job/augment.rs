//! `[train.augment]`: random changes to training windows.

use serde::{Deserialize, Serialize};

/// `[train.augment]`: random changes to training windows; what the section does not name is not changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Deviation of normal noise added to every value, after preprocessing.
    pub jitter: f32,
    /// Deviation of a normal factor around 1, one per window and channel.
    pub scale: f32,
    /// Most steps by which a window's start moves, inside its series.
    pub shift: usize,
    /// How far time runs faster or slower within a window, as a share of its pace: 0 to 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub time_warp: f32,
    /// The most of a window that is cut off its ends before the rest is stretched to its length: 0 to 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub crop: f32,
    /// Probability of each channel to be 0 throughout a window, though never of all: 0 to 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub channel_dropout: f32,
}

impl AugmentConfig {
    /// Noise and a factor for values that are scaled, which help with most small data sets
    /// (`bench/ablations.py`): what a job has that names no section of its own.
    pub fn slight() -> Self {
        Self { jitter: 0.1, scale: 0.2, ..Self::default() }
    }
}

/// What earlier versions do not know is written only where it is used.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(strength: &f32) -> bool {
    *strength == 0.0
}
