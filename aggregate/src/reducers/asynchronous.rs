//! `FedAsync`: the base is mixed with updates from whatever base, late ones less.

use serde::{Deserialize, Serialize};

use super::buffered::discount;
use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::plan::Plan;

/// `base + (1/n) Σ alpha·(1 + age_i)^−exponent Δ_i`
///
/// Xie et al., <https://arxiv.org/abs/1903.03934>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Async {
    /// Share of a fresh update, above 0 and at most 1.
    pub alpha: f64,
    /// The power of the discount.
    pub exponent: f64,
}

impl Default for Async {
    fn default() -> Self {
        Self { alpha: 0.6, exponent: 0.5 }
    }
}

impl Rule for Async {
    fn name(&self) -> &'static str {
        "async"
    }

    fn needs(&self) -> Needs {
        Needs { base: true, any_base: true, ..Needs::default() }
    }

    fn check(&self) -> Result<(), Error> {
        self.share("alpha", self.alpha)?;
        self.at_least_0("exponent", self.exponent)
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let n = basis.cohort.len() as f64;
        let ages = basis.cohort.members.iter().map(|member| member.input.update.age);
        let weights = ages.map(|age| self.alpha * discount(age, self.exponent) / n);
        Ok(basis.linear(weights.collect(), 1.0))
    }
}
