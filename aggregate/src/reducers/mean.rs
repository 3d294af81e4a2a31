//! The weighted mean.

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::plan::{Linear, Plan};

/// `Σ p_i x_i`, the averaging of `FedAvg`: <https://arxiv.org/abs/1602.05629>.
#[derive(Debug)]
pub(crate) struct Mean;

impl Rule for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn needs(&self) -> Needs {
        Needs { weights: true, ..Needs::default() }
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        Ok(Plan::Linear(Linear::mean(basis.cohort.weights())))
    }
}
