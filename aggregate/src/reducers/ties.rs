//! TIES: large entries whose sign most agree on.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::magnitudes::thresholds;
use crate::plan::Plan;
use crate::sparse::Sparse;

/// Of each change the `⌈density·n⌉` largest entries of every tensor count; the sign of their weighted
/// sum is elected, and the weighted mean of those that agree is added, times `scale`.
///
/// Yadav et al., <https://arxiv.org/abs/2306.01708>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ties {
    /// Share of entries that count, above 0 and at most 1.
    pub density: f64,
    /// Factor of the merged change.
    pub scale: f64,
}

impl Default for Ties {
    fn default() -> Self {
        Self { density: 0.2, scale: 1.0 }
    }
}

impl Rule for Ties {
    fn name(&self) -> &'static str {
        "ties"
    }

    fn needs(&self) -> Needs {
        Needs { weights: true, base: true, offline: true, ..Needs::default() }
    }

    fn check(&self) -> Result<(), Error> {
        self.share("density", self.density)?;
        self.finite("scale", self.scale)
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let thresholds = thresholds(basis.cohort, basis.order, self.density)?;
        Ok(Plan::Sparse(Sparse::Ties { scale: self.scale, thresholds }))
    }
}
