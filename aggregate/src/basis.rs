//! What a rule makes its plan of: the members, or averages of members at random.

use crate::cohort::Cohort;
use crate::gram::Gram;
use crate::plan::{Linear, Plan};

/// Members in groups, and what is known of them before the pass.
#[derive(Debug)]
pub(crate) struct Basis<'a> {
    pub(crate) cohort: &'a Cohort<'a>,
    /// The tensors that are merged.
    pub(crate) order: &'a [usize],
    /// The members of each group; one each without buckets.
    pub(crate) groups: Vec<Vec<usize>>,
    /// What each group has of all weights.
    pub(crate) shares: Vec<f64>,
    /// Products of the changes of the groups; of none unless the rule asks for them.
    pub(crate) gram: Gram,
    /// What each member has in the average of its group, if there are buckets.
    averages: Option<Vec<Vec<f64>>>,
}

impl<'a> Basis<'a> {
    /// A group for each member, or the groups that the rules ask for.
    pub(crate) fn new(
        cohort: &'a Cohort<'a>,
        order: &'a [usize],
        gram: Option<&Gram>,
        buckets: Option<Buckets>,
    ) -> Self {
        let n = cohort.len();
        let weights = cohort.weights();
        let total: f64 = weights.iter().sum();
        let shares: Vec<f64> = weights.iter().map(|w| w / total).collect();
        let gram = gram.cloned().unwrap_or_default();
        let Some(buckets) = buckets.filter(|buckets| buckets.size > 1) else {
            let groups = (0..n).map(|i| vec![i]).collect();
            return Self { cohort, order, groups, shares, gram, averages: None };
        };
        let groups = buckets.deal(n);
        let share_of = |group: &Vec<usize>| group.iter().map(|&i| shares[i]).sum();
        let group_shares: Vec<f64> = groups.iter().map(share_of).collect();
        let average = |(group, share): (&Vec<usize>, &f64)| {
            let mut row = vec![0.0; n];
            for &i in group {
                row[i] =
                    if buckets.weighted { shares[i] / share } else { 1.0 / group.len() as f64 };
            }
            row
        };
        let averages: Vec<Vec<f64>> = groups.iter().zip(&group_shares).map(average).collect();
        // Of a single member there is nothing to average, and without products none are needed.
        let gram = if gram.len() == n { gram.of_averages(&averages) } else { gram };
        let averages = (groups.len() < n).then_some(averages);
        Self { cohort, order, groups, shares: group_shares, gram, averages }
    }

    /// The plan `(Σ c_g x_g + (total − Σ c_g)·base)/total` over the groups `g`.
    pub(crate) fn linear(&self, coefficients: Vec<f64>, total: f64) -> Plan {
        let Some(averages) = &self.averages else {
            return Plan::Linear(Linear::new(coefficients, total));
        };
        let mut weights = vec![0.0; self.cohort.len()];
        for (coefficient, row) in coefficients.iter().zip(averages) {
            for (weight, share) in weights.iter_mut().zip(row) {
                *weight += coefficient * share;
            }
        }
        Plan::Linear(Linear::new(weights, total))
    }

    /// The plain mean of some groups.
    pub(crate) fn mean_of(&self, selected: &[usize]) -> Plan {
        let mut coefficients = vec![0.0; self.groups.len()];
        for &i in selected {
            coefficients[i] = 1.0;
        }
        self.linear(coefficients, selected.len() as f64)
    }
}

/// How members are dealt to groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buckets {
    /// Members in a group, at least 1.
    pub(crate) size: usize,
    #[cfg_attr(not(feature = "random"), expect(dead_code, reason = "of the shuffle"))]
    pub(crate) seed: u64,
    /// Whether averages go by the members' weights.
    pub(crate) weighted: bool,
}

impl Buckets {
    /// The members of each group, after a shuffle. [`Rules::validate`](crate::Rules::validate)
    /// refuses groups where there is none to be had.
    fn deal(&self, n: usize) -> Vec<Vec<usize>> {
        #[cfg_attr(not(feature = "random"), expect(unused_mut, reason = "shuffled"))]
        let mut all: Vec<usize> = (0..n).collect();
        #[cfg(feature = "random")]
        {
            use rand::SeedableRng;
            use rand::seq::SliceRandom;
            all.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(self.seed));
        }
        all.chunks(self.size).map(<[usize]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_in_one_bucket() {
        for (n, size) in [(1, 1), (7, 2), (10, 3), (4, 9)] {
            let buckets = Buckets { size, seed: 3, weighted: false }.deal(n);
            assert_eq!(buckets.len(), n.div_ceil(size));
            let mut all = buckets.concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }
}
