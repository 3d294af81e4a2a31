//! `[train.validation]`: which training rows are held out.

use serde::{Deserialize, Serialize};

/// `[train.validation]`: which training rows are held out to watch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// How much is held out, above 0 and at most 0.5.
    pub fraction: f64,
    /// What is held out.
    #[serde(default)]
    pub by: ValidationBy,
    /// Which part of a cross-validation: 0 to `1/fraction − 1`, only with `by = "series"`.
    #[serde(default)]
    pub fold: usize,
}

impl ValidationConfig {
    /// Parts of a cross-validation with this fraction.
    pub fn folds(&self) -> usize {
        (1.0 / self.fraction).round().max(1.0) as usize
    }
}

/// What a validation split holds out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidationBy {
    /// Whole series, evenly from every class.
    #[default]
    Series,
    /// The end of every series.
    Time,
}
