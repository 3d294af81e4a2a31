//! The mean of changes of bounded norm.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::gram::clip_scale;
use crate::median::median;
use crate::plan::Plan;

/// The weighted mean of changes that were shortened to a greatest norm:
/// `base + Σ p_i Δ_i·min(1, max_norm/‖Δ_i‖)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NormClippedMean {
    /// The greatest norm; without it, the median of all norms.
    pub max_norm: Option<f64>,
}

impl Rule for NormClippedMean {
    fn name(&self) -> &'static str {
        "norm-clipped-mean"
    }

    fn needs(&self) -> Needs {
        Needs { weights: true, base: true, ..Needs::DISTANCES }
    }

    fn check(&self) -> Result<(), Error> {
        self.max_norm.map_or(Ok(()), |norm| self.above_0("max_norm", norm))
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let norms = basis.gram.norms();
        let limit = self.max_norm.unwrap_or_else(|| median(&norms));
        let clipped = norms.iter().zip(&basis.shares).map(|(&n, p)| p * clip_scale(limit, n));
        Ok(basis.linear(clipped.collect(), 1.0))
    }
}
