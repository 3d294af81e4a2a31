//! Whose fault it is: two models on the same windows.

/// Answers of two models for the same windows: how often which one was right.
///
/// Both see the same windows, so that what is hard for both cancels. If only the new model is worse, it is the
/// model; if both are worse than they were, it is the world.
///
/// ```
/// use monitor::{Cause, Paired};
///
/// let mut answers = Paired::default();
/// for window in 0..60 {
///     answers.observe(window % 3 == 0, window % 20 != 0);
/// }
/// assert!(answers.p_worse() < 1e-6);
/// assert_eq!(answers.cause(0.95, 0.01), Cause::Model);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Paired {
    /// Windows for which both were right.
    pub both: u32,
    /// Windows for which only the new model was right.
    pub only_new: u32,
    /// Windows for which only the old model was right.
    pub only_old: u32,
    /// Windows for which neither was right.
    pub neither: u32,
}

/// What made a model's answers worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The new model is worse than the old one on the same windows: take it back.
    Model,
    /// Both are worse than they were: what comes in has changed; adapt.
    World,
    /// Nothing is sure.
    Unknown,
}

impl Paired {
    /// Counts a window.
    pub fn observe(&mut self, new_is_right: bool, old_is_right: bool) {
        let count = match (new_is_right, old_is_right) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.only_new,
            (false, true) => &mut self.only_old,
            (false, false) => &mut self.neither,
        };
        *count = count.saturating_add(1);
    }

    /// Windows that were counted.
    pub fn n(&self) -> u64 {
        [self.both, self.only_new, self.only_old, self.neither].map(u64::from).iter().sum()
    }

    /// McNemar's test, exactly: the probability of a difference as large, either way, if both models were
    /// equally good. Of the windows for which one was right, each is then right for half.
    pub fn p(&self) -> f64 {
        let (b, c) = (u64::from(self.only_new), u64::from(self.only_old));
        (2.0 * binomial_at_most(b.min(c), b + c, 0.5)).min(1.0)
    }

    /// The same one-sided: the probability that the new model seems as bad, or worse, if it were as good as the
    /// old one.
    pub fn p_worse(&self) -> f64 {
        let (b, c) = (u64::from(self.only_new), u64::from(self.only_old));
        binomial_at_most(b, b + c, 0.5)
    }

    /// Whose fault it is, if the old model had this accuracy before, at a level such as 0.01.
    ///
    /// It is the model if the new one is worse by [`p_worse`](Self::p_worse). It is the world if it is
    /// not, and the old one is right less often than `accuracy` lets expect.
    pub fn cause(&self, accuracy: f64, level: f64) -> Cause {
        let right = u64::from(self.both) + u64::from(self.only_old);
        if self.p_worse() <= level {
            Cause::Model
        } else if binomial_at_most(right, self.n(), accuracy) <= level {
            Cause::World
        } else {
            Cause::Unknown
        }
    }
}

/// The probability of at most `k` of `n`, each with probability `p`.
pub(crate) fn binomial_at_most(k: u64, n: u64, p: f64) -> f64 {
    if k >= n || p.is_nan() || p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    // From the largest term on, each by its quotient to the last. Terms rise up to the mode.
    let mode = (((n + 1) as f64 * p) as u64).min(k);
    let log = ln_choose(n, mode) + mode as f64 * p.ln() + (n - mode) as f64 * (-p).ln_1p();
    let (odds, top) = (p / (1.0 - p), log.exp());
    let (mut sum, mut term) = (top, top);
    for i in (1..=mode).rev() {
        term *= i as f64 / ((n - i + 1) as f64 * odds);
        sum += term;
        if term <= sum * 1e-18 {
            break;
        }
    }
    term = top;
    for i in mode + 1..=k {
        term *= (n - i + 1) as f64 / i as f64 * odds;
        sum += term;
        if term <= sum * 1e-18 {
            break;
        }
    }
    sum.min(1.0)
}

/// `ln C(n, k)`.
fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// `ln n!`: a product for small `n`, Stirling's series beyond.
fn ln_factorial(n: u64) -> f64 {
    if n < 20 {
        return (2..=n).map(|i| i as f64).product::<f64>().ln();
    }
    let x = n as f64 + 1.0;
    let square = x * x;
    let series =
        1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series / x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_meets_the_product() {
        let mut product = 0.0;
        for n in 1..200_u64 {
            product += (n as f64).ln();
            assert!((ln_factorial(n) - product).abs() <= 1e-12 * product.max(1.0), "{n}");
        }
    }

    #[test]
    fn tails_are_those_of_all_terms() {
        for (n, p) in [(1, 0.5), (7, 0.3), (12, 0.9), (20, 0.05)] {
            let term = |i: u64| {
                let choose = (0..i).fold(1.0, |c, j| c * (n - j) as f64 / (j + 1) as f64);
                choose * f64::powi(p, i as i32) * f64::powi(1.0 - p, (n - i) as i32)
            };
            let mut sum = 0.0;
            for k in 0..=n {
                sum += term(k);
                assert!((binomial_at_most(k, n, p) - sum).abs() < 1e-13, "{k} of {n} at {p}");
            }
        }
        assert!(binomial_at_most(0, 0, 0.5) >= 1.0 && binomial_at_most(3, 9, 1.0) <= 0.0);
    }

    #[test]
    fn it_is_the_world_if_both_are_worse() {
        let both = Paired { both: 20, only_new: 4, only_old: 5, neither: 31 };
        assert_eq!(both.cause(0.95, 0.01), Cause::World);
        let fine = Paired { both: 55, only_new: 2, only_old: 1, neither: 2 };
        assert_eq!(fine.cause(0.95, 0.01), Cause::Unknown);
        assert_eq!(Paired::default().cause(0.95, 0.01), Cause::Unknown);
    }
}
