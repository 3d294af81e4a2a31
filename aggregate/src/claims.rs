//! What claimed weights are believed: the cap on what a single update counts.

use crate::Limit;
use crate::median::median;

/// A weight, and whose word it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claim {
    /// Finite and at least 0; of an update that does not count, 0.
    pub weight: f64,
    /// How many nodes' updates are in the update, if the weight is its own word; none if it is the
    /// caller's, which is not capped. It should count names that are stated, so that nobody has more
    /// nodes by a number alone.
    pub n_nodes: Option<u64>,
}

/// What each update counts: its claim, or less.
///
/// With `m` the median of the claims per node, `w_i / n_i`, over all updates that claim a weight
/// above 0, a claim counts
///
/// `c_i = min(w_i, max_weight · m · n_i)`,
///
/// and if one of these is more than all others together, it counts as much as they do. So a single
/// update never has more than half of the total, however many nodes it says are in it; of two, both
/// have half. One update alone counts as it claims. Without a limit nothing is capped.
///
/// Neither the order nor the unit of the weights matters, and who claims more never counts less.
///
/// ```
/// use aggregate::{Claim, Limit, cap_weights};
///
/// let claims = [30.0, 10.0, 20.0, 1e15].map(|weight| Claim { weight, n_nodes: Some(1) });
/// // The median is 25, and ten times that is more than the others have together.
/// assert_eq!(cap_weights(&claims, Limit::at(10.0)), [30.0, 10.0, 20.0, 60.0]);
/// assert_eq!(cap_weights(&claims, Limit::at(2.0)), [30.0, 10.0, 20.0, 50.0]);
/// assert_eq!(cap_weights(&claims, Limit::OFF)[3], 1e15);
/// ```
pub fn cap_weights(claims: &[Claim], max_weight: Limit) -> Vec<f64> {
    let mut counted: Vec<f64> = claims.iter().map(|claim| claim.weight).collect();
    let n_nodes = |claim: &Claim| claim.n_nodes.map(|n| n.max(1) as f64);
    let per_node: Vec<f64> = claims
        .iter()
        .filter(|claim| claim.weight > 0.0)
        .filter_map(|claim| Some(claim.weight / n_nodes(claim)?))
        .collect();
    let Some(times) = max_weight.get().filter(|_| !per_node.is_empty()) else { return counted };
    let most = times * median(&per_node);
    for (weight, claim) in counted.iter_mut().zip(claims) {
        if let Some(n_nodes) = n_nodes(claim) {
            // What is claimed stays above 0, also where the product does not.
            *weight = weight.min((most * n_nodes).max(f64::MIN_POSITIVE));
        }
    }
    let largest = (0..counted.len()).max_by(|&i, &j| counted[i].total_cmp(&counted[j]));
    if let Some(largest) = largest.filter(|&i| claims[i].n_nodes.is_some()) {
        let mut others = counted.clone();
        others.swap_remove(largest);
        others.sort_by(f64::total_cmp);
        let others: f64 = others.iter().sum();
        if others > 0.0 {
            counted[largest] = counted[largest].min(others);
        }
    }
    counted
}

/// What each length of local training counts: within `max_weight` times the median of all, and the
/// median over as many. So no single node stretches the others' changes, or its own, beyond that.
pub(crate) fn bound_steps(steps: &[f64], max_weight: Limit) -> Vec<f64> {
    let Some(times) = max_weight.get().filter(|_| !steps.is_empty()) else { return steps.to_vec() };
    let (times, middle) = (times.max(1.0), median(steps));
    steps.iter().map(|steps| steps.clamp(middle / times, middle * times)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capped(claims: &[(f64, u64)], max_weight: f64) -> Vec<f64> {
        let claim = |&(weight, n): &(f64, u64)| Claim { weight, n_nodes: Some(n) };
        let claims: Vec<Claim> = claims.iter().map(claim).collect();
        cap_weights(&claims, Limit::at(max_weight))
    }

    fn assert_all(name: &str, found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{name}");
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() <= 1e-12 * e.abs(), "{name}: {found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn claims_are_capped_per_node_and_never_more_than_half() {
        for (what, claims, expected) in [
            ("alone", &[(1e15, 1)][..], &[1e15][..]),
            ("two weigh the same", &[(30.0, 1), (10.0, 1)], &[10.0, 10.0]),
            ("alike", &[(30.0, 1), (10.0, 1), (20.0, 1)], &[30.0, 10.0, 20.0]),
            ("one of many", &[(1e15, 1), (8.0, 1), (10.0, 1), (12.0, 1)], &[30.0, 8.0, 10.0, 12.0]),
            ("half is the others' sum", &[(50.0, 1), (10.0, 1), (10.0, 1)], &[20.0, 10.0, 10.0]),
            ("a region of five", &[(50.0, 5), (10.0, 1), (60.0, 6)], &[50.0, 10.0, 60.0]),
            ("a loud region", &[(1e15, 2), (8.0, 1), (9.0, 1), (10.0, 1)], &[27.0, 8.0, 9.0, 10.0]),
            ("no nodes", &[(5.0, 0), (5.0, 1)], &[5.0, 5.0]),
            (
                "weight 0 has no say",
                &[(0.0, 1), (0.0, 1), (8.0, 1), (9.0, 1), (9.0, 1)],
                &[0.0, 0.0, 8.0, 9.0, 9.0],
            ),
            ("tiny", &[(5e-324, 2), (5e-324, 2)], &[5e-324, 5e-324]),
            ("huge", &[(f64::MAX, 1), (f64::MAX, 1), (f64::MAX, 1)], &[f64::MAX; 3]),
        ] {
            assert_all(what, &capped(claims, 10.0), expected);
        }
        let twenty = [vec![(10.0, 1); 20], vec![(1e15, 1), (1000.0, 10)]].concat();
        let found = capped(&twenty, 10.0);
        assert_all("ten medians", &found[20..], &[100.0, 300.0]);
    }

    #[test]
    fn the_callers_word_is_not_capped() {
        let own = |weight| Claim { weight, n_nodes: None };
        assert_eq!(cap_weights(&[own(30.0), own(10.0)], Limit::at(10.0)), [30.0, 10.0]);
        let mixed = [own(1e9), Claim { weight: 1e15, n_nodes: Some(1) }];
        assert_eq!(cap_weights(&mixed, Limit::at(10.0)), [1e9, 1e9]);
    }

    #[test]
    fn steps_count_within_a_range_of_their_median() {
        let steps = [1.0, 40.0, 50.0, 60.0, 1e9];
        assert_eq!(bound_steps(&steps, Limit::at(10.0)), [5.0, 40.0, 50.0, 60.0, 500.0]);
        assert_eq!(bound_steps(&steps, Limit::at(0.1)), [50.0; 5]);
        assert_eq!(bound_steps(&steps, Limit::OFF), steps);
        assert!(bound_steps(&[], Limit::at(10.0)).is_empty());
    }

    fn any_claims() -> impl Strategy<Value = Vec<(f64, u64)>> {
        let weight = prop_oneof![1 => Just(0.0), 8 => 1.0..1000.0f64, 2 => 1e3..1e15f64];
        prop::collection::vec((weight, prop_oneof![4 => Just(1), 1 => 1..1_000_000u64]), 1..12)
    }

    proptest! {
        #[test]
        fn laws(
            (claims, order) in any_claims().prop_flat_map(|claims| {
                let order: Vec<usize> = (0..claims.len()).collect();
                (Just(claims), Just(order).prop_shuffle())
            }),
            max_weight in 0.5..20.0f64,
            exponent in -60..60i32,
            more in 1.0..1e6f64,
            who in any::<prop::sample::Index>(),
        ) {
            let counted = capped(&claims, max_weight);
            // Nobody counts more than claimed, who claims something counts, and none above half.
            let total: f64 = counted.iter().sum();
            for (c, (w, _)) in counted.iter().zip(&claims) {
                prop_assert!(c <= w && (*w == 0.0) == (*c == 0.0), "{claims:?} {counted:?}");
                let alone = counted.iter().filter(|&&c| c > 0.0).count() < 2;
                let half = 0.5 * total * (1.0 + 1e-12);
                prop_assert!(alone || *c <= half, "{counted:?}");
            }
            // The order does not matter, nor does the unit.
            let shuffled: Vec<_> = order.iter().map(|&i| claims[i]).collect();
            let expected: Vec<f64> = order.iter().map(|&i| counted[i]).collect();
            prop_assert_eq!(capped(&shuffled, max_weight), expected);
            let unit = 2f64.powi(exponent);
            let scaled: Vec<_> = claims.iter().map(|&(w, n)| (w * unit, n)).collect();
            let expected: Vec<f64> = counted.iter().map(|c| c * unit).collect();
            prop_assert_eq!(capped(&scaled, max_weight), expected);
            // Who claims more does not count less.
            let who = who.index(claims.len());
            let mut louder = claims.clone();
            louder[who].0 *= more;
            prop_assert!(capped(&louder, max_weight)[who] >= counted[who] * (1.0 - 1e-12));
            // Capping what was capped with the same median changes nothing.
            prop_assert!(capped(&claims, f64::MAX).iter().zip(&claims).all(|(c, (w, _))| c <= w));
        }

        #[test]
        fn claims_that_are_alike_count_as_they_are(
            weights in prop::collection::vec(10.0..20.0f64, 3..12),
        ) {
            let claims: Vec<_> = weights.iter().map(|&w| (w, 1)).collect();
            prop_assert_eq!(capped(&claims, 10.0), weights);
        }
    }
}
