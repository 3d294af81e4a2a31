//! Bulyan: near the median of those that Krum selects.

use serde::{Deserialize, Serialize};

use super::krum::{n_byzantine, scores};
use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::columns;
use crate::gram::Gram;
use crate::plan::{Columns, Plan};

/// Krum selects `n − 2f` updates one by one; each coordinate is the mean of the `n − 4f` selected
/// values nearest their median. It needs `n ≥ 4f + 3` updates.
///
/// Mhamdi et al., <https://arxiv.org/abs/1802.07927>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bulyan {
    /// How many attackers `f` are to be withstood; without it, as many as `n ≥ 4f + 3` allows.
    pub byzantine: Option<usize>,
}

impl Rule for Bulyan {
    fn name(&self) -> &'static str {
        "bulyan"
    }

    fn needs(&self) -> Needs {
        Needs::DISTANCES
    }

    fn check_number(&self, n: usize, _: bool) -> Result<(), Error> {
        n_byzantine(self, self.byzantine, n, 4).map(|_| ())
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let f = n_byzantine(self, self.byzantine, basis.groups.len(), 4)?;
        let groups = select(&basis.gram, f).into_iter().map(|i| basis.groups[i].clone()).collect();
        let rule = |n: usize| columns::Rule::Nearest { n_kept: n.saturating_sub(2 * f).max(1) };
        Ok(Plan::Columns(Columns::new(groups, rule, basis.cohort)))
    }
}

/// The `n − 2f` updates that Krum selects one by one, in ascending order.
fn select(gram: &Gram, byzantine: usize) -> Vec<usize> {
    let mut rest: Vec<usize> = (0..gram.len()).collect();
    let mut selected = Vec::new();
    while selected.len() < gram.len() - 2 * byzantine {
        let n_near = rest.len().saturating_sub(byzantine + 2).max(1);
        let scores = scores(gram, &rest, n_near);
        let best = (0..rest.len()).min_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
        selected.push(rest.remove(best));
    }
    selected.sort_unstable();
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_is_selected_last() {
        let gram = Gram::on_a_line(&[9.0, 1.0, 1.5, 1.0, -20.0, 1.25, 1.1]);
        // Of the last three the pair that is nearest has equal scores.
        assert_eq!(select(&gram, 1), [0, 1, 2, 5, 6]);
    }
}
