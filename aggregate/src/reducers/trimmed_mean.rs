//! The mean of each coordinate without the extremes.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::columns;
use crate::plan::{Columns, Plan};

/// The mean of each coordinate without the `⌊trim·n⌋` lowest and as many highest.
///
/// Yin et al., <https://arxiv.org/abs/1803.01498>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrimmedMean {
    /// Share that is dropped at each end, at least 0 and below one half.
    pub trim: f64,
}

impl Default for TrimmedMean {
    fn default() -> Self {
        Self { trim: 0.2 }
    }
}

impl Rule for TrimmedMean {
    fn name(&self) -> &'static str {
        "trimmed-mean"
    }

    fn needs(&self) -> Needs {
        Needs { buckets: true, ..Needs::default() }
    }

    fn check(&self) -> Result<(), Error> {
        let holds = (0.0..0.5).contains(&self.trim);
        let error = || self.out_of_range("trim", self.trim, "at least 0 and below 0.5");
        holds.then_some(()).ok_or_else(error)
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        // A share like 0.29 of 100 is a hair less than 29.
        let n_cut = |n: usize| ((self.trim * n as f64 + 1e-9) as usize).min((n - 1) / 2);
        let rule = |n| columns::Rule::Trimmed { n_cut: n_cut(n) };
        Ok(Plan::Columns(Columns::new(basis.groups.clone(), rule, basis.cohort)))
    }
}
