//! Least-squares polynomials through evenly spaced values, by orthogonal polynomials.

/// The discrete Chebyshev polynomials over `n` places one apart, centred about 0: each is orthogonal to
/// the others on these places, so that no equations have to be solved, and long windows and high orders
/// keep their digits.
///
/// `p₀ = 1`, `pₖ₊₁(t) = t·pₖ(t) − βₖ·pₖ₋₁(t)` with `βₖ = k²(n² − k²)/(4(4k² − 1))`; the sum of `pₖ²` is
/// `n·β₁·…·βₖ`.
#[derive(Debug, Clone)]
pub(crate) struct Polynomials {
    n: usize,
    /// `β₁` and so on.
    beta: Vec<f64>,
}

impl Polynomials {
    /// Those up to an order, which is lowered to `n − 1` if it is higher.
    pub(crate) fn new(n: usize, order: usize) -> Self {
        let beta = |k: usize| {
            let (k, n) = (k as f64, n as f64);
            k * k * (n * n - k * k) / (4.0 * (4.0 * k * k - 1.0))
        };
        Self { n, beta: (1..=order.min(n.saturating_sub(1))).map(beta).collect() }
    }

    /// Where the row at `index` lies.
    fn place(&self, index: usize) -> f64 {
        index as f64 - (self.n - 1) as f64 / 2.0
    }

    /// The `deriv`-th derivative of each polynomial at the row `index`, where `f` gets its number.
    fn each_at(&self, index: usize, deriv: usize, mut f: impl FnMut(usize, f64)) {
        let t = self.place(index);
        // The derivatives 0 to `deriv` of this polynomial and of the one before it.
        let (mut this, mut last) = ([0.0; MOST_DERIV + 1], [0.0; MOST_DERIV + 1]);
        this[0] = 1.0;
        f(0, this[deriv]);
        let mut beta_before = 0.0;
        for (k, &beta) in self.beta.iter().enumerate() {
            let mut next = [0.0; MOST_DERIV + 1];
            for s in 0..=deriv {
                let lower = if s > 0 { s as f64 * this[s - 1] } else { 0.0 };
                next[s] = lower + t * this[s] - beta_before * last[s];
            }
            (last, this, beta_before) = (this, next, beta);
            f(k + 1, this[deriv]);
        }
    }

    /// The share of each polynomial in the least-squares fit of a channel's values.
    pub(crate) fn fit(&self, values: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut shares = vec![0.0; self.beta.len() + 1];
        for (index, value) in values.enumerate() {
            self.each_at(index, 0, |k, p| shares[k] += p * value);
        }
        let mut norm = self.n as f64;
        for (k, share) in shares.iter_mut().enumerate() {
            norm *= if k > 0 { self.beta[k - 1] } else { 1.0 };
            *share /= norm;
        }
        shares
    }

    /// The `deriv`-th derivative of a [`fit`](Self::fit) at a row, per row.
    pub(crate) fn value(&self, shares: &[f64], index: usize, deriv: usize) -> f64 {
        let mut sum = 0.0;
        self.each_at(index, deriv, |k, p| sum += shares[k] * p);
        sum
    }

    /// What each value is multiplied by to give the fit's derivative in the middle.
    pub(crate) fn weights(&self, deriv: usize) -> Vec<f64> {
        let mut shares = Vec::with_capacity(self.beta.len() + 1);
        let mut norm = self.n as f64;
        self.each_at(self.n / 2, deriv, |k, p| {
            norm *= if k > 0 { self.beta[k - 1] } else { 1.0 };
            shares.push(p / norm);
        });
        (0..self.n).map(|index| self.value(&shares, index, 0)).collect()
    }
}

/// Highest derivative.
pub(crate) const MOST_DERIV: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polynomial_is_its_own_fit() {
        for n in [4, 5, 31, 1001] {
            let basis = Polynomials::new(n, 3);
            let scale = n as f64;
            let at = |i: usize| {
                let t = i as f64 / scale;
                [2.0 - t + 3.0 * t * t - t * t * t, -1.0 + 6.0 * t - 3.0 * t * t, 6.0 - 6.0 * t]
            };
            let shares = basis.fit((0..n).map(|i| at(i)[0]));
            for index in [0, 1, n / 2, n - 1] {
                for (deriv, expected) in at(index).into_iter().enumerate() {
                    let found = basis.value(&shares, index, deriv) * scale.powf(deriv as f64);
                    assert!((found - expected).abs() < 1e-9, "{n} {index} {deriv}: {found}");
                }
            }
        }
    }

    #[test]
    fn an_order_above_the_number_of_values_goes_through_all() {
        let values = [3.0, -1.0, 7.0];
        let basis = Polynomials::new(3, 9);
        let shares = basis.fit(values.into_iter());
        let found: Vec<f64> = (0..3).map(|i| basis.value(&shares, i, 0)).collect();
        testkit::assert_close("through all", &found, &values, 1e-14, 0.0);
        // A single value has no slope.
        let shares = Polynomials::new(1, 3).fit([5.0].into_iter());
        testkit::assert_same_bits("slope", &[Polynomials::new(1, 3).value(&shares, 0, 1)], &[0.0]);
    }
}
