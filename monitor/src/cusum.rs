//! CUSUM: the cumulative sum of how far values are off a fixed reference.

use crate::detector::{Detector, Verdict, is_usable};
use crate::error::{Error, check_option};

/// Which changes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Side {
    /// Values that become larger, as errors and distances do.
    Up,
    /// Values that become smaller, as confidence does.
    Down,
    /// Both.
    Both,
}

/// CUSUM of Page (1954) with a fixed reference.
///
/// With `z = (x − mean)/deviation`: `up = max(0, up + z − k)`, `down = max(0, down − z − k)`; an alarm where
/// the larger one of the sides that count exceeds the threshold `h`. `k`, the allowance, is half the change
/// that matters, in deviations.
///
/// On independent normal values, two-sided with `k = 0.5` and `h = 5`, there are 465 values from one false
/// alarm to the next on average; with a mean and a deviation that were estimated from few values, or on values
/// that depend on those before, there are far fewer: take the threshold from [`calibrate`](crate::calibrate()).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Stored", into = "Stored"))]
pub struct Cusum {
    mean: f64,
    deviation: f64,
    /// `1/deviation`, as a product is faster than a quotient.
    per_deviation: f64,
    side: Side,
    allowance: f64,
    threshold: f64,
    up: f64,
    down: f64,
    /// Whether the last value gave an alarm.
    rang: bool,
}

impl Cusum {
    /// A detector for values that are usually `mean ± deviation`.
    ///
    /// # Errors
    /// If the mean is not finite, the deviation not above 0, `allowance` below 0 or `threshold` not above 0.
    pub fn new(
        mean: f64,
        deviation: f64,
        side: Side,
        allowance: f64,
        threshold: f64,
    ) -> Result<Self, Error> {
        let check = |option, found: f64, is_good, expected| {
            check_option("cusum", option, found, is_good, expected)
        };
        check("mean", mean, is_usable(mean), "a finite number")?;
        let is_scale = is_usable(deviation) && deviation > 1e-100;
        check("deviation", deviation, is_scale, "a finite number above 0")?;
        let is_good = is_usable(allowance) && allowance >= 0.0;
        check("allowance", allowance, is_good, "a finite number, at least 0")?;
        let is_good = is_usable(threshold) && threshold > 0.0;
        check("threshold", threshold, is_good, "a finite number above 0")?;
        let (up, down, per_deviation) = (0.0, 0.0, 1.0 / deviation);
        Ok(Self {
            mean,
            deviation,
            per_deviation,
            side,
            allowance,
            threshold,
            up,
            down,
            rang: false,
        })
    }

    /// The same with another threshold, from the beginning.
    ///
    /// # Errors
    /// If it is not a finite number above 0.
    pub fn with_threshold(&self, threshold: f64) -> Result<Self, Error> {
        Self::new(self.mean, self.deviation, self.side, self.allowance, threshold)
    }

    /// What values usually are: mean and deviation.
    pub fn reference(&self) -> (f64, f64) {
        (self.mean, self.deviation)
    }

    /// Which changes count.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Half the change that matters, in deviations.
    pub fn allowance(&self) -> f64 {
        self.allowance
    }

    /// The sums of the sides: up and down; 0 on a side that does not count.
    pub fn sums(&self) -> (f64, f64) {
        (self.up, self.down)
    }
}

impl Detector for Cusum {
    #[inline]
    fn update(&mut self, x: f64) -> Verdict {
        if !is_usable(x) {
            return Verdict::Refused;
        }
        if self.rang {
            self.reset();
        }
        let z = (x - self.mean) * self.per_deviation;
        if self.side != Side::Down {
            self.up = (self.up + z - self.allowance).max(0.0);
        }
        if self.side != Side::Up {
            self.down = (self.down - z - self.allowance).max(0.0);
        }
        self.rang = self.up.max(self.down) > self.threshold;
        Verdict::of(self.rang)
    }

    fn statistic(&self) -> f64 {
        self.up.max(self.down)
    }

    fn threshold(&self) -> f64 {
        self.threshold
    }

    fn reset(&mut self) {
        (self.up, self.down, self.rang) = (0.0, 0.0, false);
    }
}

/// What is stored.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    mean: f64,
    deviation: f64,
    side: Side,
    allowance: f64,
    threshold: f64,
    up: f64,
    down: f64,
}

#[cfg(feature = "serde")]
impl From<Cusum> for Stored {
    fn from(cusum: Cusum) -> Self {
        let Cusum { mean, deviation, side, allowance, threshold, up, down, .. } = cusum;
        Self { mean, deviation, side, allowance, threshold, up, down }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Stored> for Cusum {
    type Error = Error;

    fn try_from(s: Stored) -> Result<Self, Error> {
        let fresh = Self::new(s.mean, s.deviation, s.side, s.allowance, s.threshold)?;
        let is_sum = |sum: f64| sum.is_finite() && sum >= 0.0;
        let is_good = is_sum(s.up) && is_sum(s.down);
        crate::error::check_state("cusum", is_good, "a sum is below 0 or not finite")?;
        let rang = s.up.max(s.down) > s.threshold;
        Ok(Self { up: s.up, down: s.down, rang, ..fresh })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_published_recursion() {
        let mut cusum = Cusum::new(10.0, 2.0, Side::Both, 0.5, 3.0).unwrap();
        let mut found = Vec::new();
        for x in [12.0, 14.0, 9.0, 6.0, 4.0, 12.0] {
            let verdict = cusum.update(x);
            found.push((cusum.sums(), verdict.is_alarm()));
        }
        let expected = [(0.5, 0.0), (2.0, 0.0), (1.0, 0.0), (0.0, 1.5), (0.0, 4.0), (0.5, 0.0)];
        assert_eq!(found, expected.map(|sums| (sums, sums.1 > 3.0)));
    }
}
