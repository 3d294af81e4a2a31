//! What is done with every block.

use std::collections::BTreeMap;

use crate::cohort::Cohort;
use crate::columns::{Rule, Sorter};
use crate::gram::{Gram, clip_scale};
use crate::private_round::{Noise, PrivateRound};
use crate::sparse::Sparse;
use crate::sphere::Sphere;

/// How the values of a block become one row.
#[derive(Debug)]
pub(crate) enum Plan {
    Linear(Linear),
    Columns(Columns),
    Sparse(Sparse),
    Sphere(Sphere),
}

/// `(Σ w_i x_i + (total − Σ w_i)·base)/total`
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// Of each member.
    pub(crate) weights: Vec<f64>,
    pub(crate) total: f64,
    /// Whether changes are counted from each member's own base.
    pub(crate) from_own_base: bool,
    /// Whether the weights are those of the updates.
    pub(crate) is_mean: bool,
    pub(crate) noise: Option<Noise>,
}

/// A rule for every coordinate, over members or averages of members.
#[derive(Debug)]
pub(crate) struct Columns {
    /// Members, or buckets of members, whose values are sorted.
    pub(crate) groups: Vec<Vec<usize>>,
    /// For every number of groups that hold a tensor.
    sorters: BTreeMap<usize, Sorter>,
}

/// The plan of private merging: the mean of clipped changes, with noise.
#[cfg_attr(
    not(feature = "privacy"),
    expect(unreachable_code, unused_variables, reason = "there are no such rounds")
)]
pub(crate) fn private_plan(gram: &Gram, round: &PrivateRound) -> Plan {
    let n = gram.len();
    let scaled = gram.norms().into_iter().map(|norm| clip_scale(round.clip(), norm) / n as f64);
    let noise = Some(round.noise(n));
    Plan::Linear(Linear { noise, ..Linear::new(scaled.collect(), 1.0) })
}

impl Linear {
    /// The mean by these weights.
    pub(crate) fn mean(weights: Vec<f64>) -> Self {
        let total = weights.iter().sum();
        Self { is_mean: true, ..Self::new(weights, total) }
    }

    pub(crate) fn new(weights: Vec<f64>, total: f64) -> Self {
        Self { weights, total, from_own_base: false, is_mean: false, noise: None }
    }

    /// What the base weighs: nothing in a mean.
    pub(crate) fn base_weight(&self) -> f64 {
        let rest = self.total - self.weights.iter().sum::<f64>();
        // Coefficients that were made to sum to one do so but for rounding.
        if rest.abs() <= 1e-14 * self.total.abs() { 0.0 } else { rest }
    }
}

impl Columns {
    /// A rule over these groups, given how many of them hold a tensor.
    pub(crate) fn new(
        groups: Vec<Vec<usize>>,
        rule: impl Fn(usize) -> Rule,
        cohort: &Cohort<'_>,
    ) -> Self {
        let mut columns = Self { groups, sorters: BTreeMap::new() };
        for tensor in 0..cohort.tensors.len() {
            let n = columns.holding(cohort, tensor).len();
            if n > 0 && !columns.sorters.contains_key(&n) {
                let sorter = Sorter::new(rule(n), n);
                columns.sorters.insert(n, sorter);
            }
        }
        columns
    }

    /// What is left of the groups, of those members that hold a tensor.
    pub(crate) fn holding(&self, cohort: &Cohort<'_>, tensor: usize) -> Vec<Vec<usize>> {
        let holds = |i: &usize| cohort.info(*i, tensor).is_some();
        let held = |group: &Vec<usize>| group.iter().copied().filter(holds).collect::<Vec<_>>();
        self.groups.iter().map(held).filter(|group| !group.is_empty()).collect()
    }

    pub(crate) fn sorter(&self, n: usize) -> &Sorter {
        &self.sorters[&n]
    }
}
