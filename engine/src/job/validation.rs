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
    /// Which part of a cross-validation: 0 to `1/fraction − 1`.
    #[serde(default)]
    pub fold: usize,
    /// Which weights a run with several epochs ends with, and whether held-out rows choose at all.
    #[serde(default, skip_serializing_if = "Kept::is_best")]
    pub keep: Kept,
}

impl ValidationConfig {
    /// A fold of `folds`, of series or, where there are too few, of time.
    pub fn part(fold: usize, folds: usize) -> Self {
        Self { fraction: 1.0 / folds as f64, by: ValidationBy::Auto, fold, keep: Kept::Best }
    }

    /// A share of the training rows, by series or, where there are too few, by time.
    pub fn share(fraction: f64) -> Self {
        Self { fraction, by: ValidationBy::Auto, fold: 0, keep: Kept::Best }
    }

    /// Parts of a cross-validation with this fraction.
    pub fn folds(&self) -> usize {
        (1.0 / self.fraction).round().max(1.0) as usize
    }
}

/// Which weights are kept where rows are held out, and whether these choose anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// Those of the epoch with the least loss on the held-out rows, which also choose a temperature.
    #[default]
    Best,
    /// Those of the last epoch, as without held-out rows, which then decide nothing: they measure.
    Last,
}

impl Kept {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
    fn is_best(&self) -> bool {
        *self == Self::Best
    }
}

/// What a validation split holds out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidationBy {
    /// Whole series, evenly from every class.
    #[default]
    Series,
    /// A stretch of every series: its end, or for a later fold the stretch before that of the fold before.
    Time,
    /// By series where every class has several, else by time; the report says which.
    Auto,
}
