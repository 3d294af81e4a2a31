//! Multi-Krum: the mean of the best by Krum's score.

use serde::{Deserialize, Serialize};

use super::krum::{best, n_byzantine};
use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::plan::Plan;

/// The mean of the updates with the lowest scores of [Krum](super::Krum).
///
/// Blanchard et al., <https://arxiv.org/abs/1703.02757>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiKrum {
    /// As for Krum.
    pub byzantine: Option<usize>,
    /// How many are averaged; without it `n − f − 2`.
    pub keep: Option<usize>,
}

impl Rule for MultiKrum {
    fn name(&self) -> &'static str {
        "multi-krum"
    }

    fn needs(&self) -> Needs {
        Needs::DISTANCES
    }

    fn check(&self) -> Result<(), Error> {
        let holds = self.keep != Some(0);
        holds.then_some(()).ok_or_else(|| self.out_of_range("keep", 0.0, "at least 1 update"))
    }

    fn check_number(&self, n: usize, _: bool) -> Result<(), Error> {
        n_byzantine(self, self.byzantine, n, 2)?;
        match self.keep.filter(|&keep| keep > n) {
            Some(keep) => Err(self.too_few(format!("at least {keep} updates to keep as many"), n)),
            None => Ok(()),
        }
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let n = basis.groups.len();
        let f = n_byzantine(self, self.byzantine, n, 2)?;
        let keep = self.keep.unwrap_or_else(|| n.saturating_sub(f + 2).max(1));
        Ok(basis.mean_of(&best(&basis.gram, f, keep)))
    }
}
