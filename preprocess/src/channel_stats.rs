//! What is known of one channel's values, and how it merges.

use crate::quantiles::Quantiles;
use crate::scale::Line;
use crate::two_sum::two_sum;

/// Statistics of one channel's present values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChannelStats {
    /// How many there are.
    pub(crate) count: u64,
    /// How many are missing.
    pub(crate) missing: u64,
    /// Their mean.
    pub(crate) mean: f64,
    /// What the mean is more than the number that `mean` holds: with a large offset the digits behind it
    /// count when statistics are merged.
    pub(crate) mean_rest: f64,
    /// `Σ (x − mean)²`.
    pub(crate) m2: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// Their quantiles, where those are needed.
    pub(crate) quantiles: Quantiles,
}

impl ChannelStats {
    pub(crate) fn empty() -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Self {
            count: 0,
            missing: 0,
            mean: 0.0,
            mean_rest: 0.0,
            m2: 0.0,
            min,
            max,
            quantiles: Quantiles::default(),
        }
    }

    /// Takes in what is known of other values, but for their quantiles: the pairwise formula of Chan
    /// et al. (1979).
    pub(crate) fn merge(&mut self, other: &Self) {
        self.missing += other.missing;
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            let missing = self.missing;
            *self = Self { missing, ..other.clone() };
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let delta = (other.mean - self.mean) + (other.mean_rest - self.mean_rest);
        (self.mean, self.mean_rest) = two_sum(self.mean, self.mean_rest + delta * (b / (a + b)));
        self.m2 += other.m2 + delta * delta * (a * b / (a + b));
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Population standard deviation, over `n`.
    pub(crate) fn std(&self) -> f64 {
        (self.m2 / self.count as f64).sqrt()
    }

    /// A quantile, linear between neighbours (`numpy.quantile`'s default).
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        self.quantiles.at(q)
    }

    /// Statistics of `count` times one number.
    pub(crate) fn atom(count: u64, value: f64) -> Self {
        if count == 0 {
            return Self::empty();
        }
        let quantiles = Quantiles::atom(count, value);
        Self { count, mean: value, min: value, max: value, quantiles, ..Self::empty() }
    }

    /// What becomes of them where every value goes on a line that rises.
    pub(crate) fn mapped(&self, line: Line) -> Self {
        if self.count == 0 {
            return self.clone();
        }
        let slope = line.span / line.scale;
        let (mean, mean_rest) = two_sum(line.forward(self.mean), self.mean_rest * slope);
        Self {
            mean,
            mean_rest,
            m2: self.m2 * slope * slope,
            min: line.forward(self.min),
            max: line.forward(self.max),
            quantiles: self.quantiles.mapped(|v| line.forward(v)),
            ..*self
        }
    }

    /// Counts them as a share of themselves, of so many rows.
    pub(crate) fn count_as(&mut self, share: f64, rows: u64) {
        if self.count > 0 {
            let count = ((self.count as f64 * share).round() as u64).clamp(1, rows.max(1));
            self.m2 *= count as f64 / self.count as f64;
            self.quantiles = std::mem::take(&mut self.quantiles).counted(count);
            self.count = count;
        }
        self.missing = rows - self.count;
    }

    /// What becomes of them where every missing value is filled by one number.
    pub(crate) fn filled(&self, value: f64) -> Self {
        let atom = Self::atom(self.missing, value);
        let mut filled = Self { missing: 0, ..self.clone() };
        filled.merge(&atom);
        if !self.quantiles.is_empty() || self.count == 0 {
            filled.quantiles = Quantiles::mixed([&self.quantiles, &atom.quantiles]);
        }
        filled
    }
}
