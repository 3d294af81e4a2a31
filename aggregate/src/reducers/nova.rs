//! `FedNova`: changes divided by the length of the local training.

use super::rule::{Needs, Rule};
use crate::basis::Basis;
use crate::median::median;
use crate::plan::{Linear, Plan};
use crate::{Error, Reason, Update};

/// An update may claim so many times the median of all local steps, and no more.
const MOST_STEPS: f64 = 1000.0;

/// `base + τ Σ p_i Δ_i/s_i` with `τ = Σ p_i s_i` of the local steps `s_i`.
///
/// Steps are what a node says of itself: they count within [`Rules::max_weight`](crate::Rules) times
/// their median and the median over as many, and an update that claims more than a thousand medians
/// is refused. A single node's own word never moves the model further than all others together.
///
/// Wang et al., <https://arxiv.org/abs/2007.07481>.
#[derive(Debug)]
pub(crate) struct Nova;

impl Rule for Nova {
    fn name(&self) -> &'static str {
        "nova"
    }

    fn needs(&self) -> Needs {
        Needs { weights: true, base: true, ..Needs::default() }
    }

    fn doubts(&self, updates: &[&Update]) -> Vec<Option<Reason>> {
        let all: Vec<f64> = updates.iter().map(|update| update.steps).collect();
        let limit = if all.is_empty() { f64::MAX } else { MOST_STEPS * median(&all) };
        let doubt = |&steps: &f64| (steps > limit).then_some(Reason::Steps { steps, limit });
        all.iter().map(doubt).collect()
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let steps: Vec<f64> = basis.cohort.members.iter().map(|m| m.steps).collect();
        if steps.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits()) {
            return Ok(Plan::Linear(Linear::mean(basis.cohort.weights())));
        }
        let effective: f64 = basis.shares.iter().zip(&steps).map(|(p, s)| p * s).sum();
        let scaled = basis.shares.iter().zip(&steps).map(|(p, s)| p * effective / s);
        let mut scaled: Vec<f64> = scaled.collect();
        // Who claims few steps on many examples would move the model further than all others do.
        let largest = (0..scaled.len()).max_by(|&i, &j| scaled[i].total_cmp(&scaled[j]));
        let is_claim = |i: &usize| basis.cohort.members[*i].input.update.n_nodes.is_some();
        if let Some(i) = largest.filter(is_claim) {
            let others: f64 =
                scaled.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, c)| c).sum();
            scaled[i] = if others > 0.0 { scaled[i].min(others) } else { scaled[i] };
        }
        Ok(basis.linear(scaled, 1.0))
    }
}

/// The length of local training for [`Reducer::Nova`](crate::Reducer::Nova), `‖a‖₁` of Wang et al.:
/// how much `steps` steps of SGD with momentum, or with a proximal term, weigh a gradient.
///
/// ```text
/// plain       τ
/// momentum ρ  (τ − ρ(1 − ρ^τ)/(1 − ρ)) / (1 − ρ)
/// proximal    Σ_j |1 − ημ|^j = (1 − |1 − ημ|^τ) / (1 − |1 − ημ|)      of j = 0 … τ − 1
/// ```
/// <https://arxiv.org/abs/2007.07481>. With both, momentum counts. `lr_mu` is `η·μ`, learning rate
/// times strength of the pull; 0 if there is none.
///
/// Beyond `ημ = 1` the factors change their sign from step to step and the norm is that of their
/// magnitudes. From `ημ = 2` on these would grow without bound (the pull overshoots ever further):
/// there `τ` is given, and likewise where a momentum of 1 or more, or a number that is none, makes no
/// sense.
///
/// ```
/// assert_eq!(aggregate::nova_steps(10, 0.0, 0.0), 10.0);
/// assert_eq!(aggregate::nova_steps(2, 0.5, 0.0), 2.5); // the first gradient moves 1 + 0.5
/// assert_eq!(aggregate::nova_steps(2, 0.0, 0.5), 1.5);
/// assert_eq!(aggregate::nova_steps(2, 0.0, 1.5), 1.5); // 1 + |−0.5|
/// ```
pub fn nova_steps(steps: u64, momentum: f64, lr_mu: f64) -> f64 {
    let tau = steps as f64;
    if momentum > 0.0 && momentum < 1.0 {
        let rest = momentum * (1.0 - momentum.powf(tau)) / (1.0 - momentum);
        (tau - rest) / (1.0 - momentum)
    } else if lr_mu > 0.0 && lr_mu <= 1.0 {
        // As 1 − (1 − x)^τ, which for a small x would lose its digits.
        -(tau * (-lr_mu).ln_1p()).exp_m1() / lr_mu
    } else if lr_mu > 1.0 && lr_mu < 2.0 {
        (1.0 - (lr_mu - 1.0).powf(tau)) / (2.0 - lr_mu)
    } else {
        tau
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_of_a_proximal_term_is_the_sum_of_its_factors() {
        for lr_mu in [1e-300, 1e-30, 1e-14, 1e-3, 0.4, 0.999, 1.0, 1.001, 1.7, 1.999] {
            for tau in [1, 2, 7, 50] {
                let factor: f64 = 1.0 - lr_mu;
                let sum: f64 = (0..tau).map(|j| factor.abs().powi(j)).sum();
                let found = nova_steps(tau as u64, 0.0, lr_mu);
                assert!((found - sum).abs() < 1e-9 * sum, "{lr_mu} {tau}: {found}, not {sum}");
            }
        }
    }

    #[test]
    fn what_grows_without_bound_counts_as_steps() {
        for lr_mu in [2.0, 2.5, 1e9, f64::INFINITY, f64::NAN, -1.0] {
            assert_eq!(nova_steps(9, 0.0, lr_mu).to_bits(), 9f64.to_bits(), "{lr_mu}");
        }
        for momentum in [1.0, 3.0, f64::NAN, -0.5] {
            assert_eq!(nova_steps(9, momentum, 0.0).to_bits(), 9f64.to_bits(), "{momentum}");
        }
        for momentum in [0.0, 0.9, 0.999_999] {
            for lr_mu in [0.0, 1.5, 3.0] {
                let found = nova_steps(u64::MAX, momentum, lr_mu);
                assert!(found.is_finite() && found > 0.0, "{momentum} {lr_mu}: {found}");
            }
        }
    }
}
