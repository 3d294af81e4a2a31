//! `[window]`: how series become windows.

use serde::{Deserialize, Serialize};

/// `[window]`: how series become windows, in time steps. Without `len` a whole series is one window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// Steps of a window; left out: a whole series is one window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub len: Option<usize>,
    /// Steps between the starts of two windows; `len` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// The same for training rows; `stride` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_stride: Option<usize>,
    /// Most steps of a whole-series window; the longest training series if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_len: Option<usize>,
    /// Which row's label a window takes.
    pub label: WindowLabel,
}

/// Which row's label a window takes where labels stand on rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowLabel {
    /// The most frequent one; of equals the first class.
    #[default]
    Majority,
    /// That of the last row.
    Last,
    /// That of the row in the middle.
    Middle,
    /// That of all its rows; none if they differ, or one has none.
    Pure,
}
