//! What noisy rounds have cost the nodes in privacy, and a clipping norm that follows the updates.

use std::f64::consts::TAU;
use std::num::NonZeroU64;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;

/// Rounds of the same kind, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    sampling_rate: f64,
    noise_multiplier: f64,
    n_rounds: NonZeroU64,
}

/// Remembers noisy rounds and tells their (ε, δ), the privacy that they have cost together.
///
/// A round draws each node with probability `q`, independently of the others (Poisson sampling), and
/// publishes the sum of what they send, each of norm at most `C`, plus noise `N(0, (z·C)²)`. It has
/// the Rényi divergence `R` of order `α`; rounds add up, and the best order gives
///
/// ```text
/// R(α) = ln E[(1 − q + q·exp((2x − 1) / 2z²))^α] / (α − 1)    x from N(0, z²)
/// ε    = min over α of  Σ R(α) + ln((α − 1) / α) − (ln δ + ln α) / (α − 1)
/// ```
/// `R` is from Mironov, Talwar and Zhang, <https://arxiv.org/abs/1908.10530>, `ε` from Canonne,
/// Kamath and Steinke, <https://arxiv.org/abs/2004.00010>. What is protected is whether a node is
/// among those that may be drawn. This does not hold if rounds take a fixed number of nodes, nor if
/// updates are weighted after they were clipped.
///
/// It can be kept in JSON; numbers that [`record`](Self::record) would refuse are refused there too.
///
/// ```
/// use aggregate::Accountant;
///
/// let mut accountant = Accountant::default();
/// for _ in 0..1000 {
///     accountant.record(0.01, 1.1)?; // a node with probability 0.01, with noise of 1.1 clipping norms
/// }
/// assert_eq!(accountant.n_rounds(), 1000);
/// assert!((accountant.epsilon(1e-5)? - 1.712).abs() < 1e-3);
/// # Ok::<(), aggregate::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accountant {
    #[serde(deserialize_with = "checked_runs")]
    runs: Vec<Run>,
}

impl Accountant {
    /// Adds a round that drew each node with probability `sampling_rate`, with noise of
    /// `noise_multiplier` times the clipping norm.
    ///
    /// # Errors
    /// If the rate is not above 0 and at most 1, or the multiplier not finite and above 0.
    pub fn record(&mut self, sampling_rate: f64, noise_multiplier: f64) -> Result<(), Error> {
        let round = Run { sampling_rate, noise_multiplier, n_rounds: NonZeroU64::MIN };
        round.check()?;
        match self.runs.last_mut() {
            Some(last) if (Run { n_rounds: NonZeroU64::MIN, ..*last }) == round => {
                last.n_rounds = last.n_rounds.saturating_add(1);
            }
            _ => self.runs.push(round),
        }
        Ok(())
    }

    /// How many rounds were recorded.
    pub fn n_rounds(&self) -> u64 {
        self.runs.iter().fold(0, |n, run| n.saturating_add(run.n_rounds.get()))
    }

    /// The ε at this δ; 0 without rounds, infinite if there was next to no noise. δ is to be well
    /// below one over the number of nodes.
    ///
    /// # Errors
    /// If `delta` is not above 0 and below 1.
    pub fn epsilon(&self, delta: f64) -> Result<f64, Error> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(option("delta", delta, "above 0 and below 1"));
        }
        let at_order = |order: f64| {
            let rdp = |run: &Run| run.n_rounds.get() as f64 * run.rdp(order);
            let rdp: f64 = self.runs.iter().map(rdp).sum();
            // The total variation, at most √(1 − e^−R) by Bretagnolle and Huber, bounds δ at ε = 0.
            if -(-rdp).exp_m1() <= delta * delta {
                return 0.0;
            }
            rdp + (-1.0 / order).ln_1p() - (delta.ln() + order.ln()) / (order - 1.0)
        };
        Ok(orders().map(at_order).fold(f64::INFINITY, f64::min).max(0.0))
    }
}

/// Orders to try, those that Opacus tries and four larger ones for a few rounds of much noise.
fn orders() -> impl Iterator<Item = f64> {
    let tenths = (11..110).map(|tenths| f64::from(tenths) / 10.0);
    tenths.chain((12..64).chain([64, 128, 256, 512]).map(f64::from))
}

fn checked_runs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Run>, D::Error> {
    let runs = Vec::<Run>::deserialize(deserializer)?;
    runs.iter().try_for_each(Run::check).map_err(serde::de::Error::custom)?;
    Ok(runs)
}

impl Run {
    fn check(&self) -> Result<(), Error> {
        let rate = self.sampling_rate;
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(option("sampling_rate", rate, "above 0 and at most 1"));
        }
        check_multiplier(self.noise_multiplier)
    }

    /// The Rényi divergence of one round.
    ///
    /// The papers expand the power, into two series if the order is not whole; with much sampling and
    /// little noise these converge so slowly that Google's accountant leaves the low orders out.
    /// Here the expectation is summed by the trapezoidal rule in `u = x/z`. The integrand has no
    /// singularity within `π·z` of the real line, and is at most `exp(v²/2)` times as large at a
    /// distance of `v` from it. So for any such `v` and steps `h` the sum is wrong by no more than
    /// `2·exp(v²/2) / (exp(2πv/h) − 1)` of the result (Trefethen and Weideman,
    /// <https://doi.org/10.1137/130932132>, theorem 5.1): below 1e-14 with the `h` below. All peaks
    /// lie between 0 and `α/z`, beyond which it falls like `exp(−t²/2)`.
    fn rdp(&self, order: f64) -> f64 {
        let (q, z) = (self.sampling_rate, self.noise_multiplier);
        if q >= 1.0 || z < SMALL_NOISE {
            // Minkowski's inequality, exact for q = 1: the norm of a sum is at most that of its parts.
            return order / (order - 1.0) * ln_mix(q, (order - 1.0) / 2.0 / z / z);
        }
        let step = z.min(1.0) / 2.0;
        let n_steps = ((order / z + 2.0 * REACH) / step).ceil() as usize;
        let logs: Vec<f64> = (0..=n_steps)
            .map(|i| {
                let u = step * i as f64 - REACH;
                order * ln_mix(q, u / z - 0.5 / z / z) - 0.5 * u * u
            })
            .collect();
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
        let log_mean = largest + (sum * step).ln() - 0.5 * TAU.ln();
        log_mean.max(0.0) / (order - 1.0)
    }
}

/// With less noise a bound stands in for the integral, which would need ever more steps. The ε of a
/// round is high in any case then.
const SMALL_NOISE: f64 = 0.05;
/// Standard deviations beyond the outermost peaks that are summed; what is left out is below 1e-22.
const REACH: f64 = 10.0;

/// `ln(1 − q + q·e^x)`
fn ln_mix(q: f64, x: f64) -> f64 {
    if x < 700.0 { (q * x.exp_m1()).ln_1p() } else { x + (q + (1.0 - q) * (-x).exp()).ln() }
}

fn option(option: &'static str, value: f64, expected: &'static str) -> Error {
    Error::PrivacyOption { option, value, expected }
}

fn check_multiplier(found: f64) -> Result<(), Error> {
    if found > 0.0 && found.is_finite() {
        Ok(())
    } else {
        Err(option("noise_multiplier", found, "a finite number above 0"))
    }
}

/// The noise multiplier of the sum of updates that leaves room for a noisy count beside it.
///
/// ```text
/// z_sum = (z⁻² − (2·sigma_b)⁻²)^(−1/2)
/// ```
/// The count is that of nodes whose norm is below the clipping norm, for [`next_clip`]: each adds
/// `½` or `−½` to a sum with noise `N(0, sigma_b²)`. Together they cost what one sum with noise
/// multiplier `z` does, which is the one to [`record`](Accountant::record). Andrew et al.,
/// <https://arxiv.org/abs/1905.03871>, who take a twentieth of the nodes in a round for `sigma_b`.
///
/// ```
/// let z_sum = aggregate::adaptive_noise_multiplier(1.0, 5.0)?;
/// assert!((z_sum - 1.00504).abs() < 1e-5);
/// # Ok::<(), aggregate::Error>(())
/// ```
///
/// # Errors
/// If `z` is not finite and above 0, or `sigma_b` not finite and above `z / 2`.
pub fn adaptive_noise_multiplier(z: f64, sigma_b: f64) -> Result<f64, Error> {
    check_multiplier(z)?;
    let limit = z / 2.0;
    let share = limit / sigma_b;
    if !(sigma_b.is_finite() && sigma_b > limit && share < 1.0) {
        return Err(option(
            "count_noise",
            sigma_b,
            "a finite number above half the noise multiplier",
        ));
    }
    Ok(z / ((1.0 - share) * (1.0 + share)).sqrt())
}

/// The clipping norm of the next round, which goes towards the quantile `gamma` of the norms.
///
/// ```text
/// C · exp(−rate·(share_below − gamma))
/// ```
/// `share_below` is the share of the nodes whose norm was at most `clip`; with noise it may lie outside
/// of 0 to 1. Andrew et al., <https://arxiv.org/abs/1905.03871>, with `gamma` 0.5 and
/// `rate` 0.2.
///
/// ```
/// assert!(aggregate::next_clip(1.0, 0.8, 0.5, 0.2) < 1.0);
/// ```
pub fn next_clip(clip: f64, share_below: f64, gamma: f64, rate: f64) -> f64 {
    clip * (-rate * (share_below - gamma)).exp()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(sampling_rate: f64, noise_multiplier: f64, n_rounds: u64) -> Run {
        Run { sampling_rate, noise_multiplier, n_rounds: n_rounds.try_into().unwrap() }
    }

    fn epsilon(q: f64, z: f64, n_rounds: u64, delta: f64) -> f64 {
        Accountant { runs: vec![run(q, z, n_rounds)] }.epsilon(delta).unwrap()
    }

    fn assert_near(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance * expected, "{found}, expected {expected}");
    }

    #[test]
    fn epsilons_are_exact_and_no_higher_than_googles() {
        // The lines of tests/golden/make_epsilons.py.
        for (q, z, n_rounds, delta, exact, google) in [
            (1.0, 0.7, 1, 1e-5, 7.162_778, 7.162_778),      // order 4.1
            (1.0, 4.0, 100, 1e-6, 15.327_984, 15.327_984),  // order 3.0
            (0.1, 0.7, 1, 1e-5, 4.143_794, 4.143_794),      // order 4.0
            (0.1, 0.7, 1000, 1e-5, 58.065_582, 64.175_805), // order 1.5
            (0.1, 1.1, 100, 1e-6, 7.465_083, 7.470_482),    // order 3.8
            (0.1, 4.0, 1000, 1e-5, 3.736_242, 3.736_242),   // order 6.3
            (0.01, 0.7, 100, 1e-5, 3.148_087, 3.148_150),   // order 4.4
            (0.01, 1.1, 1, 1e-6, 0.984_429, 0.984_429),     // order 12
            (0.01, 1.1, 1000, 1e-5, 1.711_770, 1.711_770),  // order 9.6
            (0.01, 2.0, 14062, 1e-6, 3.163_815, 3.163_815), // order 8.5
            (256.0 / 60_000.0, 0.7, 1000, 1e-5, 2.936_799, 2.936_858), // order 4.8
            (256.0 / 60_000.0, 1.1, 14062, 1e-5, 2.596_556, 2.596_556), // order 8.1
            (256.0 / 60_000.0, 4.0, 14062, 1e-6, 0.564_216, 0.564_216), // order 36
        ] {
            let found = epsilon(q, z, n_rounds, delta);
            assert_near(found, exact, 1e-6);
            assert!(found <= google + 1e-6, "{found}, by Google {google}");
        }
    }

    #[test]
    fn the_mnist_tutorial_costs_3_by_the_older_conversion() {
        let run = run(256.0 / 60_000.0, 1.1, 14062);
        let older = |order: f64| 14062.0 * run.rdp(order) - 1e-5_f64.ln() / (order - 1.0);
        assert_near(orders().map(older).fold(f64::INFINITY, f64::min), 3.008, 1e-3);
    }

    #[test]
    fn the_divergence_is_the_closed_form_and_the_binomial_sum() {
        for (z, order) in [(0.01, 1.1), (0.7, 3.5), (4.0, 512.0)] {
            assert_near(run(1.0, z, 1).rdp(order), order / (2.0 * z * z), 1e-12);
        }
        for z in [0.05, 0.3, 1.0, 7.0] {
            for (q, order) in [(0.001, 2), (0.5, 3), (0.02, 17), (0.9, 64)] {
                let (mut logs, mut log_binomial) = (Vec::new(), 0.0);
                for k in 0..=order {
                    let (k, rest) = (f64::from(k), f64::from(order - k));
                    let power = (k * k - k) / (2.0 * z * z);
                    logs.push(log_binomial + k * f64::ln(q) + rest * f64::ln_1p(-q) + power);
                    log_binomial += f64::ln(rest / (k + 1.0));
                }
                let largest = logs.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
                let expected = (largest + sum.ln()) / f64::from(order - 1);
                let found = run(q, z, 1).rdp(f64::from(order));
                assert!((found - expected).abs() < 1e-13 + 1e-12 * expected, "{found} {expected}");
                let bound = run(q, z.min(0.049), 1).rdp(f64::from(order));
                assert!(bound >= found, "{bound} for less noise than {found}");
            }
        }
    }

    #[test]
    fn equal_rounds_are_one_run_and_json_keeps_them() {
        let mut kept = Accountant::default();
        assert_eq!(kept.epsilon(1e-5).ok(), Some(0.0));
        for (q, z) in [(0.1, 1.1), (0.1, 1.1), (0.3, 1.1), (0.1, 1.1)] {
            kept.record(q, z).unwrap();
        }
        assert_eq!(kept.runs, [run(0.1, 1.1, 2), run(0.3, 1.1, 1), run(0.1, 1.1, 1)]);
        assert_eq!(kept.n_rounds(), 4);
        let json = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Accountant>(&json).unwrap(), kept);

        let first = r#"{"runs":[{"sampling_rate":0.1,"noise_multiplier":1.1,"n_rounds":2}"#;
        assert!(json.starts_with(first), "{json}");
        for (from, to) in [("0.1,", "1.5,"), ("1.1,", "0,"), (":2}", ":0}"), ("runs", "run")] {
            let bad = json.replacen(from, to, 1);
            assert!(serde_json::from_str::<Accountant>(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let mut kept = Accountant::default();
        for rate in [0.0, -0.1, 1.1, f64::NAN] {
            let error = kept.record(rate, 1.0).unwrap_err();
            assert!(
                matches!(error, Error::PrivacyOption { option: "sampling_rate", .. }),
                "{error}"
            );
        }
        for z in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            let expected = format!(
                "noise_multiplier of private merging is {z}, expected a finite number above 0"
            );
            assert_eq!(kept.record(0.5, z).unwrap_err().to_string(), expected);
            assert!(adaptive_noise_multiplier(z, 10.0).is_err());
        }
        assert_eq!(kept, Accountant::default());
        for delta in [0.0, 1.0, -1e-5, f64::NAN] {
            assert!(kept.epsilon(delta).is_err(), "{delta}");
        }
        for sigma_b in [0.5, 0.1, -3.0, f64::INFINITY, f64::NAN] {
            assert!(adaptive_noise_multiplier(1.0, sigma_b).is_err(), "{sigma_b}");
        }
    }

    #[test]
    fn sum_and_count_cost_what_one_sum_does() {
        for (z, sigma_b) in [(1.0, 0.51), (0.3, 5.0), (4.0, 3.0), (1.0, 0.5 + 1e-15)] {
            let z_sum = adaptive_noise_multiplier(z, sigma_b).unwrap();
            assert_near(z_sum.powi(-2) + (2.0 * sigma_b).powi(-2), z.powi(-2), 1e-12);
        }
    }

    #[test]
    fn the_clip_grows_while_norms_are_above_it() {
        assert_near(next_clip(3.0, 0.0, 0.5, 0.2), 3.0 * 0.1_f64.exp(), 1e-15);
        assert_near(next_clip(3.0, 1.0, 0.5, 0.2), 3.0 * (-0.1_f64).exp(), 1e-15);
        assert_near(next_clip(3.0, 0.5, 0.5, 0.2), 3.0, 1e-15);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// More rounds, more nodes in a round or less noise: more ε. And ε is at least 0.
        #[test]
        fn epsilon_rises_with_what_costs_privacy(
            q in 1e-6..0.9, log_z in -2.0..3.0, n in 1_u64..1 << 40, delta in 1e-12..0.9,
        ) {
            let z = 10_f64.powf(log_z);
            let least = epsilon(q, z, n, delta);
            prop_assert!(least >= 0.0);
            // Rounding, at most 1e-14 a round and order.
            let least = least * (1.0 - 1e-9) - 1e-12 * n as f64;
            prop_assert!(epsilon(q, z, 2 * n, delta) >= least);
            prop_assert!(epsilon(1.1 * q, z, n, delta) >= least);
            prop_assert!(epsilon(q, z / 1.1, n, delta) >= least);
            prop_assert!(epsilon(q, z, n, delta / 2.0) >= least);
            prop_assert!(epsilon(q, z * 1e-170, n, delta) == f64::INFINITY);
        }
    }
}
