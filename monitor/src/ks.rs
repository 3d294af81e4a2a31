//! The test of Kolmogorov and Smirnov for two samples: how likely a distance is by chance.

/// The probability that two samples of `n` and `m` values of one continuous distribution have a distance of at least `d`,
/// exactly.
///
/// All orders of the values are equally likely, and an order is a path on a lattice, from `(0, 0)` to
/// `(n, m)`. The path is followed step by step, and what leaves the band `|i/n − j/m| < d` is added up: no
/// difference of large numbers, so that small probabilities have all their digits. As
/// `scipy.stats.ks_2samp(method="exact")`; takes `n·m` steps.
///
/// # Panics
/// If a sample is empty.
///
/// ```
/// // Two samples of three that do not overlap: 2 of the 20 orders.
/// assert!((monitor::ks_exact_p(1.0, 3, 3) - 0.1).abs() < 1e-15);
/// ```
#[expect(clippy::cast_possible_wrap, reason = "as many values as that fit in no memory")]
pub fn ks_exact_p(d: f64, n: usize, m: usize) -> f64 {
    assert!(n > 0 && m > 0, "ks_exact_p: samples of {n} and {m} values");
    let (n, m) = (n.min(m) as i64, n.max(m) as i64);
    // Distances are multiples of one over the least common multiple.
    let unit = n / gcd(n, m);
    let steps = (d * (unit * m) as f64).round() as i64;
    if steps <= 0 {
        return 1.0;
    }
    // |i·m − j·n| in units of the greatest common divisor.
    let (per_i, per_j) = (m / gcd(n, m), n / gcd(n, m));
    let is_inside = |i: i64, j: i64| (i * per_i - j * per_j).abs() < steps;
    // at[j]: the probability to be at (i, j) without having left.
    let mut at = vec![0.0; m as usize + 1];
    let mut left = 0.0;
    at[0] = 1.0;
    for i in 0..=n {
        // The band of this i, and what was in that of the last: elsewhere, nothing is.
        let first = (((i - 1) * per_i - steps) / per_j).max(0);
        let last = ((i * per_i + steps) / per_j + 1).min(m);
        let mut from_left = 0.0;
        for j in first..=last {
            // What came from (i − 1, j), and from (i, j − 1).
            let here = at[j as usize] + from_left;
            from_left = 0.0;
            at[j as usize] = 0.0;
            if here <= 0.0 {
                continue;
            }
            if !is_inside(i, j) {
                left += here;
                continue;
            }
            let rest = (n - i + m - j) as f64;
            if rest > 0.0 {
                at[j as usize] = here * ((n - i) as f64 / rest);
                from_left = here * ((m - j) as f64 / rest);
            }
        }
    }
    left.min(1.0)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The same for large samples: `Q(d·√(n·m/(n + m)))` with Kolmogorov's limit
/// `Q(t) = 2·Σ_k (−1)^(k−1)·exp(−2k²t²)`, as `scipy.stats.kstwobign.sf`.
///
/// # Panics
/// If a sample is empty.
pub fn ks_asymptotic_p(d: f64, n: usize, m: usize) -> f64 {
    assert!(n > 0 && m > 0, "ks_asymptotic_p: samples of {n} and {m} values");
    let (n, m) = (n as f64, m as f64);
    kolmogorov(d * (n * (m / (n + m))).sqrt())
}

fn kolmogorov(t: f64) -> f64 {
    use std::f64::consts::{PI, TAU};
    if t <= 0.0 {
        return 1.0;
    }
    if t < 1.0 {
        // The same in a series that converges where the other does not.
        let term = |k: f64| (-((2.0 * k - 1.0) * PI / t).powi(2) / 8.0).exp();
        let sum: f64 = (1..=4).rev().map(|k| term(f64::from(k))).sum();
        return 1.0 - TAU.sqrt() / t * sum;
    }
    let term = |k: i32| (-2.0 * f64::from(k * k) * t * t).exp();
    2.0 * (1..=6).rev().map(|k| if k % 2 == 1 { term(k) } else { -term(k) }).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order of the values, one by one.
    fn by_hand(d: f64, n: u32, m: u32) -> f64 {
        let (mut far, mut all) = (0_u32, 0_u32);
        for order in 0_u32..1 << (n + m) {
            if order.count_ones() != n {
                continue;
            }
            let (mut i, mut j, mut most) = (0, 0, 0.0_f64);
            for k in 0..n + m {
                if order >> k & 1 == 1 {
                    i += 1;
                } else {
                    j += 1;
                }
                most = most.max((f64::from(i) / f64::from(n) - f64::from(j) / f64::from(m)).abs());
            }
            all += 1;
            far += u32::from(most > d - 1e-9);
        }
        f64::from(far) / f64::from(all)
    }

    #[test]
    fn it_is_the_share_of_all_orders() {
        for (n, m) in [(1, 1), (2, 3), (4, 4), (3, 7), (6, 4), (5, 8), (1, 9)] {
            for step in 0..=n * m {
                let d = f64::from(step) / f64::from(n * m);
                // Between two distances that can be, rounding decides: the next one is meant.
                let lcm = f64::from(n * m) / gcd(i64::from(n), i64::from(m)) as f64;
                if (d * lcm - (d * lcm).round()).abs() > 1e-9 {
                    continue;
                }
                let (found, expected) = (ks_exact_p(d, n as usize, m as usize), by_hand(d, n, m));
                assert!((found - expected).abs() < 1e-14, "{d} {n} {m}: {found} and {expected}");
            }
        }
    }

    #[test]
    fn the_two_series_meet() {
        let (below, above) = (kolmogorov(1.0 - 1e-12), kolmogorov(1.0));
        assert!((below - above).abs() < 1e-11, "{below} and {above}");
        assert!(kolmogorov(0.0) >= 1.0 && kolmogorov(0.05) <= 1.0);
    }
}
