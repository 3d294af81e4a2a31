//! Krum: the update whose neighbours are nearest.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::gram::Gram;
use crate::plan::Plan;

/// The update with the least `Σ ‖x_i − x_j‖²` over its `n − f − 2` nearest others; of equals the
/// first by node, then by content. It needs `n ≥ 2f + 3` updates.
///
/// Blanchard et al., <https://arxiv.org/abs/1703.02757>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Krum {
    /// How many attackers `f` are to be withstood; without it, as many as `n ≥ 2f + 3` allows.
    pub byzantine: Option<usize>,
}

impl Rule for Krum {
    fn name(&self) -> &'static str {
        "krum"
    }

    fn needs(&self) -> Needs {
        Needs::DISTANCES
    }

    fn check_number(&self, n: usize, _: bool) -> Result<(), Error> {
        n_byzantine(self, self.byzantine, n, 2).map(|_| ())
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let f = n_byzantine(self, self.byzantine, basis.groups.len(), 2)?;
        Ok(basis.mean_of(&best(&basis.gram, f, 1)))
    }
}

/// How many attackers are withstood by a rule that needs `factor·f + 3` updates: as many as asked
/// for, or as many as it can.
pub(super) fn n_byzantine(
    rule: &dyn Rule,
    asked: Option<usize>,
    found: usize,
    factor: usize,
) -> Result<usize, Error> {
    let least = factor.saturating_mul(asked.unwrap_or(0)).saturating_add(3);
    if found < least {
        let for_whom = asked.map_or(String::new(), |f| format!(" to withstand {f}"));
        return Err(rule.too_few(format!("at least {least} updates{for_whom}"), found));
    }
    Ok(asked.unwrap_or((found - 3) / factor))
}

/// The scores: of each, the sum of squared distances to its `n_near` nearest others.
pub(super) fn scores(gram: &Gram, among: &[usize], n_near: usize) -> Vec<f64> {
    let score = |&i: &usize| {
        let others = among.iter().filter(|&&j| j != i);
        let mut squares: Vec<f64> = others.map(|&j| gram.square_distance(i, j)).collect();
        squares.sort_by(f64::total_cmp);
        squares.iter().take(n_near).sum()
    };
    among.iter().map(score).collect()
}

/// The `keep` with the lowest scores, in ascending order; of equals the first.
pub(super) fn best(gram: &Gram, byzantine: usize, keep: usize) -> Vec<usize> {
    let all: Vec<usize> = (0..gram.len()).collect();
    let scores = scores(gram, &all, gram.len() - byzantine - 2);
    let mut best = all;
    best.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    best.truncate(keep);
    best.sort_unstable();
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn krum_prefers_the_crowd_and_the_lower_number() {
        let gram = Gram::on_a_line(&[9.0, 1.0, 1.5, 1.0, -20.0, 1.25, 1.1]);
        assert_eq!(best(&gram, 2, 1), [6]);
        assert_eq!(best(&gram, 2, 3), [1, 3, 6]);
        // All alike: ties go to the first.
        assert_eq!(best(&Gram::on_a_line(&[2.0; 5]), 1, 2), [0, 1]);
    }
}
