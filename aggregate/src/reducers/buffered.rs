//! `FedBuff`: late updates count less, each as a change of the model it started from.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::plan::{Linear, Plan};

/// `base + (1/n) Σ (1 + age_i)^−exponent (x_i − own base)`; the own base must be the base or one of
/// [`Options::older_bases`](crate::Options::older_bases).
///
/// Nguyen et al., <https://arxiv.org/abs/2106.06639>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Buffered {
    /// The power of the discount; one half in the paper.
    pub exponent: f64,
}

impl Default for Buffered {
    fn default() -> Self {
        Self { exponent: 0.5 }
    }
}

impl Rule for Buffered {
    fn name(&self) -> &'static str {
        "buffered"
    }

    fn needs(&self) -> Needs {
        Needs { base: true, own_bases: true, ..Needs::default() }
    }

    fn check(&self) -> Result<(), Error> {
        self.at_least_0("exponent", self.exponent)
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let n = basis.cohort.len() as f64;
        let ages = basis.cohort.members.iter().map(|member| member.input.update.age);
        let weights = ages.map(|age| discount(age, self.exponent) / n).collect();
        Ok(Plan::Linear(Linear { from_own_base: true, ..Linear::new(weights, 1.0) }))
    }
}

/// `(1 + age)^−exponent`, 1 for a fresh update.
pub(super) fn discount(age: u64, exponent: f64) -> f64 {
    (1.0 + age as f64).powf(-exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_updates_have_no_discount() {
        assert_eq!(discount(0, 0.5).to_bits(), 1f64.to_bits());
        assert!((discount(3, 0.5) - 0.5).abs() < 1e-15);
    }
}
