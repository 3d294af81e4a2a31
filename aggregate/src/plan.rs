//! From the reducer and what is known of the updates to what is done with every block.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::cohort::Cohort;
use crate::columns::{Rule, Sorter};
use crate::gram::Gram;
use crate::median::median;
use crate::privacy::{Noise, PrivateRound};
use crate::select::{bulyan, centred_clipping, clip_scale, geometric_median, multi_krum};
use crate::sparse::Sparse;
use crate::{Error, Options, Reducer};

/// How the values of a block become one row.
#[derive(Debug)]
pub(crate) enum Plan {
    Linear(Linear),
    Columns(Columns),
    Sparse(Sparse),
    Slerp(Slerp),
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
    reducer: Reducer,
    /// For every number of groups that hold a tensor.
    sorters: BTreeMap<usize, Sorter>,
}

/// Two members' coefficients for every tensor of the merge.
#[derive(Debug)]
pub(crate) struct Slerp {
    pub(crate) coefficients: Vec<[f64; 2]>,
}

/// Checks what depends on how many updates there are, before they are read.
pub(crate) fn check_number(cohort: &Cohort<'_>, options: &Options) -> Result<(), Error> {
    let n = cohort.len();
    let n_groups = options.rules.bucket.map_or(n, |size| n.div_ceil(size));
    let reducer = options.rules.reduce;
    match reducer {
        Reducer::Krum { byzantine } => reducer.n_byzantine(byzantine, n_groups, 2).map(|_| ()),
        Reducer::MultiKrum { byzantine, keep } => {
            reducer.n_byzantine(byzantine, n_groups, 2)?;
            if let Some(keep) = keep.filter(|&keep| keep > n_groups) {
                let needed = format!("at least {keep} updates to keep as many");
                return Err(Error::TooFew { reducer: reducer.name(), needed, found: n_groups });
            }
            Ok(())
        }
        Reducer::Bulyan { byzantine } => reducer.n_byzantine(byzantine, n_groups, 4).map(|_| ()),
        Reducer::Slerp { .. } if n != 2 => {
            let needed = "exactly two updates".to_owned();
            Err(Error::TooFew { reducer: reducer.name(), needed, found: n })
        }
        Reducer::Slerp { .. } if cohort.members.iter().any(|m| m.input.update.partial) => {
            let needed = "two whole models, not parts".to_owned();
            Err(Error::TooFew { reducer: reducer.name(), needed, found: n })
        }
        _ => Ok(()),
    }
}

/// The plan of a rule that needs no passes of its own; `gram` is there if [`Rules::needs_gram`](crate::Rules::needs_gram) says so.
pub(crate) fn plan(
    cohort: &Cohort<'_>,
    gram: Option<&Gram>,
    private: Option<&PrivateRound>,
    options: &Options,
) -> Plan {
    let n = cohort.len();
    let reducer = options.rules.reduce;
    let weights: Vec<f64> = cohort.members.iter().map(|member| member.weight).collect();
    let total: f64 = weights.iter().sum();
    let shares: Vec<f64> = weights.iter().map(|w| w / total).collect();
    let buckets = options.rules.bucket.map(|size| buckets(n, size, options.bucket_seed));
    let linear = |weights: Vec<f64>| Plan::Linear(Linear::new(weights, 1.0));
    if let (Some(gram), Some(privacy)) = (gram, private) {
        let clip = privacy.clip();
        let scale = |i: usize| clip_scale(clip, gram.norm(i)) / n as f64;
        let noise = Some(privacy.noise(n));
        return Plan::Linear(Linear { noise, ..Linear::new((0..n).map(scale).collect(), 1.0) });
    }
    match (reducer, gram) {
        (Reducer::Nova, _) => {
            let steps: Vec<f64> = cohort.members.iter().map(|m| m.input.update.steps).collect();
            if steps.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits()) {
                return Plan::Linear(Linear::mean(weights));
            }
            let effective: f64 = shares.iter().zip(&steps).map(|(p, s)| p * s).sum();
            linear(shares.iter().zip(&steps).map(|(p, s)| p * effective / s).collect())
        }
        (Reducer::Buffered { exponent }, _) => {
            let weights = cohort.members.iter().map(|m| discount(m.input.update.age, exponent));
            let weights = weights.map(|s| s / n as f64).collect();
            Plan::Linear(Linear { from_own_base: true, ..Linear::new(weights, 1.0) })
        }
        (Reducer::Async { alpha, exponent }, _) => {
            let weights = cohort.members.iter().map(|m| discount(m.input.update.age, exponent));
            linear(weights.map(|s| alpha * s / n as f64).collect())
        }
        (Reducer::Median | Reducer::TrimmedMean { .. }, _) => {
            let groups = buckets.unwrap_or_else(|| (0..n).map(|i| vec![i]).collect());
            Plan::Columns(Columns::new(groups, reducer, cohort))
        }
        (_, Some(gram)) => by_products(cohort, gram, reducer, &shares, buckets),
        _ => Plan::Linear(Linear::mean(weights)),
    }
}

/// The plan of a rule by distances.
fn by_products(
    cohort: &Cohort<'_>,
    gram: &Gram,
    reducer: Reducer,
    shares: &[f64],
    buckets: Option<Vec<Vec<usize>>>,
) -> Plan {
    let n = gram.len();
    let groups = buckets.unwrap_or_else(|| (0..n).map(|i| vec![i]).collect());
    let group_shares: Vec<f64> =
        groups.iter().map(|g| g.iter().map(|&i| shares[i]).sum()).collect();
    // What each member has in the average of its group.
    let averages: Vec<Vec<f64>> = groups
        .iter()
        .zip(&group_shares)
        .map(|(group, share)| {
            let mut row = vec![0.0; n];
            for &i in group {
                let weighted = shares[i] / share;
                row[i] = if reducer.is_weighted() { weighted } else { 1.0 / group.len() as f64 };
            }
            row
        })
        .collect();
    let plain = groups.len() == n;
    let averaged = (!plain).then(|| gram.of_averages(&averages));
    let gram = averaged.as_ref().unwrap_or(gram);
    let m = gram.len();
    let byzantine = |asked, factor| reducer.n_byzantine(asked, m, factor).unwrap_or(0);
    let mean_of = |selected: &[usize]| -> (Vec<f64>, f64) {
        let mut coefficients = vec![0.0; m];
        for &i in selected {
            coefficients[i] = 1.0;
        }
        (coefficients, selected.len() as f64)
    };
    let (coefficients, total) = match reducer {
        Reducer::NormClippedMean { max_norm } => {
            let norms: Vec<f64> = (0..m).map(|i| gram.norm(i)).collect();
            let limit = max_norm.unwrap_or_else(|| median(&norms));
            let clipped = norms.iter().zip(&group_shares).map(|(&n, p)| p * clip_scale(limit, n));
            (clipped.collect(), 1.0)
        }
        Reducer::Krum { byzantine: asked } => mean_of(&multi_krum(gram, byzantine(asked, 2), 1)),
        Reducer::MultiKrum { byzantine: asked, keep } => {
            let f = byzantine(asked, 2);
            let keep = keep.unwrap_or_else(|| m.saturating_sub(f + 2).max(1));
            mean_of(&multi_krum(gram, f, keep))
        }
        Reducer::Bulyan { byzantine: asked } => {
            let selected = bulyan(gram, byzantine(asked, 4));
            let groups = selected.into_iter().map(|i| groups[i].clone()).collect();
            let reducer = Reducer::Bulyan { byzantine: Some(byzantine(asked, 4)) };
            return Plan::Columns(Columns::new(groups, reducer, cohort));
        }
        Reducer::GeometricMedian { steps, smoothing } => {
            (geometric_median(gram, &group_shares, steps, smoothing), 1.0)
        }
        Reducer::CentredClipping { radius, steps } => (centred_clipping(gram, radius, steps), 1.0),
        other => unreachable!("{} does not need products", other.name()),
    };
    if plain {
        return Plan::Linear(Linear::new(coefficients, total));
    }
    let mut weights = vec![0.0; n];
    for (coefficient, row) in coefficients.iter().zip(&averages) {
        for (weight, share) in weights.iter_mut().zip(row) {
            *weight += coefficient * share;
        }
    }
    Plan::Linear(Linear::new(weights, total))
}

impl Linear {
    fn mean(weights: Vec<f64>) -> Self {
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
    fn new(groups: Vec<Vec<usize>>, reducer: Reducer, cohort: &Cohort<'_>) -> Self {
        let mut columns = Self { groups, reducer, sorters: BTreeMap::new() };
        for tensor in 0..cohort.tensors.len() {
            let n = columns.holding(cohort, tensor).len();
            if n > 0 && !columns.sorters.contains_key(&n) {
                let sorter = Sorter::new(columns.rule(n), n);
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

    fn rule(&self, n: usize) -> Rule {
        match self.reducer {
            // A share like 0.29 of 100 is a hair less than 29.
            Reducer::TrimmedMean { trim } => {
                Rule::Trimmed { n_cut: ((trim * n as f64 + 1e-9) as usize).min((n - 1) / 2) }
            }
            Reducer::Bulyan { byzantine } => {
                let f = byzantine.unwrap_or(0);
                Rule::Nearest { n_kept: n.saturating_sub(2 * f).max(1) }
            }
            _ => Rule::Median,
        }
    }
}

/// `(1 + age)^−exponent`, 1 for a fresh update.
fn discount(age: u64, exponent: f64) -> f64 {
    (1.0 + age as f64).powf(-exponent)
}

/// The members of each bucket, after a shuffle.
fn buckets(n: usize, size: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut all: Vec<usize> = (0..n).collect();
    all.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    all.chunks(size).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_updates_have_no_discount() {
        assert_eq!(discount(0, 0.5).to_bits(), 1f64.to_bits());
        assert!((discount(3, 0.5) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn every_member_is_in_one_bucket() {
        for (n, size) in [(1, 1), (7, 2), (10, 3), (4, 9)] {
            let buckets = buckets(n, size, 3);
            assert_eq!(buckets.len(), n.div_ceil(size));
            let mut all = buckets.concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }
}
