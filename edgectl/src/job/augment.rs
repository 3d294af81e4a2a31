//! `[train.augment]`: random changes to training windows.

use serde::{Deserialize, Serialize};

/// `[train.augment]`: random changes to training windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Deviation of normal noise added to every value, after preprocessing.
    pub jitter: f32,
    /// Deviation of a normal factor around 1, one per window and channel.
    pub scale: f32,
    /// Most steps by which a window's start moves, inside its series.
    pub shift: usize,
}
