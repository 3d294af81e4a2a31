//! ADWIN: a window that is as long as its values are alike.

use crate::buckets::Buckets;
#[cfg(feature = "serde")]
use crate::buckets::{Bucket, ROWS};
use crate::detector::{Detector, Verdict, is_usable};
use crate::error::{Error, check_option};

/// Options of [`Adwin`]; by default those of river.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct AdwinConfig {
    /// Confidence `δ`: bounds how often values without a change give an alarm, if they are independent.
    pub delta: f64,
    /// The window is looked at after every so many values.
    pub clock: u32,
    /// Buckets of one size; with one more, the two oldest become one of twice the size.
    pub max_buckets: u32,
    /// Neither part of a cut has fewer values.
    pub min_part: u32,
    /// The window is looked at when it has more values than this.
    pub grace: u32,
    /// Forget the whole window after an alarm, as river does. The paper, and the default, keeps the part of
    /// it behind the change.
    pub reset_after: bool,
}

impl Default for AdwinConfig {
    fn default() -> Self {
        let (clock, max_buckets, min_part, grace) = (32, 5, 5, 10);
        Self { delta: 0.002, clock, max_buckets, min_part, grace, reset_after: false }
    }
}

/// ADWIN ([Bifet and Gavaldà 2007](https://doi.org/10.1137/1.9781611972771.42)), its second version, with the
/// bound by the variance.
///
/// The window is a row of buckets, each the sum and the squared deviations of `2^i` values. At each boundary of two
/// buckets it is cut in an older part of `n0` values and a newer one of `n1`. With
/// `δ' = ln(2·ln(n)/δ)` and `1/m = 1/(n0 − min_part + 1) + 1/(n1 − min_part + 1)`, it is an alarm if
/// `|mean0 − mean1| > √(2/m·σ²·δ') + 2/3·δ'/m`; then the oldest bucket goes, until no cut shows a change.
///
/// As the bound uses the variance, values need not be in [0, 1]. On values that depend on those before, alarms are
/// far more frequent than `delta` says: use it where values are nearly independent, as errors of windows that do
/// not overlap.
///
/// Memory: `16·(max_buckets + 1)` bytes for each of 48 sizes.
///
/// ```
/// use monitor::{Adwin, AdwinConfig, Detector};
///
/// // One answer of ten was wrong, now it is one of two.
/// let mut adwin = Adwin::new(AdwinConfig::default())?;
/// let errors = |i: u32| f64::from(u8::from(if i < 1000 { i % 10 == 0 } else { i % 2 == 0 }));
/// let alarm = (0..2000).find(|&i| adwin.update(errors(i)).is_alarm());
/// assert_eq!(alarm, Some(1055));
/// // The window loses what is before the change, as far as it shows.
/// let more = (1056..2000).filter(|&i| adwin.update(errors(i)).is_alarm()).count();
/// assert!(more > 0 && adwin.mean() > 0.4);
/// # Ok::<(), monitor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Stored", into = "Stored"))]
pub struct Adwin {
    config: AdwinConfig,
    window: Buckets,
    /// Values until the window is looked at.
    wait: u32,
    rang: bool,
}

/// What of the bound is the same at all cuts of a window.
struct Bound {
    log: f64,
    variance: f64,
    less: f64,
}

impl Bound {
    /// By how much the means of two parts may differ.
    fn at(&self, n0: f64, n1: f64) -> f64 {
        let per_m = 1.0 / (n0 - self.less + 1.0) + 1.0 / (n1 - self.less + 1.0);
        (2.0 * per_m * self.variance * self.log).sqrt() + 2.0 / 3.0 * self.log * per_m
    }
}

impl Adwin {
    /// A detector with an empty window.
    ///
    /// # Errors
    /// If `delta` is not between 0 and 1, `clock`, `min_part` or `max_buckets` is 0, or there are more than
    /// 1000 buckets of a size.
    pub fn new(config: AdwinConfig) -> Result<Self, Error> {
        let check = |option, found: f64, is_good, expected| {
            check_option("adwin", option, found, is_good, expected)
        };
        let AdwinConfig { delta, clock, max_buckets, min_part, .. } = config;
        check("delta", delta, delta > 0.0 && delta < 1.0, "a number between 0 and 1")?;
        check("clock", f64::from(clock), clock > 0, "at least 1")?;
        check("min_part", f64::from(min_part), min_part > 0, "at least 1")?;
        let is_good = (1..=1000).contains(&max_buckets);
        check("max_buckets", f64::from(max_buckets), is_good, "1 to 1000")?;
        Ok(Self { config, window: Buckets::new(max_buckets), wait: clock, rang: false })
    }

    /// The number of values in the window.
    pub fn len(&self) -> u64 {
        self.window.n as u64
    }

    /// Whether the window is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The mean of the window; 0 if it is empty.
    pub fn mean(&self) -> f64 {
        if self.is_empty() { 0.0 } else { self.window.sum / self.window.n }
    }

    /// The variance of the window, over `n`; 0 if it is empty.
    pub fn variance(&self) -> f64 {
        if self.is_empty() { 0.0 } else { self.window.squares / self.window.n }
    }

    fn bound(&self) -> Bound {
        Bound {
            log: (2.0 * self.window.n.ln() / self.config.delta).ln(),
            variance: self.window.squares / self.window.n,
            less: f64::from(self.config.min_part),
        }
    }

    /// The first cut, from the old end, for which `found` says so.
    #[inline]
    fn find_cut(&self, mut found: impl FnMut(f64, f64, f64, f64) -> bool) -> bool {
        let least = f64::from(self.config.min_part);
        let (mut n0, mut sum0, mut n1, mut sum1) = (0.0, 0.0, self.window.n, self.window.sum);
        for (size, buckets) in self.window.oldest_first() {
            for bucket in buckets {
                (n0, n1) = (n0 + size, n1 - size);
                (sum0, sum1) = (sum0 + bucket.sum, sum1 - bucket.sum);
                if n1 < least {
                    return false;
                }
                if n0 >= least && found(n0, sum0, n1, sum1) {
                    return true;
                }
            }
        }
        false
    }

    /// Whether some cut shows a change.
    fn has_changed(&self) -> bool {
        let bound = self.bound();
        // A cut shows one only if its square is above this, whatever rounding does; most are not, and
        // this takes no quotient and no root.
        let least = 2.0 * bound.variance * bound.log * self.window.n * (1.0 - 1e-9);
        self.find_cut(|n0, sum0, n1, sum1| {
            let (a, b) = (sum0 * n1, sum1 * n0);
            let apart = (a - b).abs() + 1e-14 * (a.abs() + b.abs());
            // Written so that NaN goes on to the bound itself.
            if apart * apart <= least * n0 * n1 {
                return false;
            }
            (sum0 / n0 - sum1 / n1).abs() > bound.at(n0, n1)
        })
    }
}

impl Detector for Adwin {
    #[inline]
    fn update(&mut self, x: f64) -> Verdict {
        if !is_usable(x) {
            return Verdict::Refused;
        }
        if self.rang && self.config.reset_after {
            self.reset();
        }
        self.rang = false;
        self.window.insert(x);
        self.wait -= 1;
        if self.wait == 0 {
            self.wait = self.config.clock;
            if self.window.n > f64::from(self.config.grace) {
                // A cut leaves values on both sides, so that the window does not become empty.
                while self.has_changed() {
                    self.rang = true;
                    self.window.drop_oldest();
                }
            }
        }
        Verdict::of(self.rang)
    }

    /// The largest `|mean0 − mean1|` of all cuts, as a share of what it may be.
    fn statistic(&self) -> f64 {
        let mut most = 0.0_f64;
        if self.window.n > 1.0 {
            let bound = self.bound();
            self.find_cut(|n0, sum0, n1, sum1| {
                most = most.max((sum0 / n0 - sum1 / n1).abs() / bound.at(n0, n1));
                false
            });
        }
        most
    }

    /// 1.
    fn threshold(&self) -> f64 {
        1.0
    }

    fn reset(&mut self) {
        self.window.clear();
        (self.wait, self.rang) = (self.config.clock, false);
    }
}

/// What is stored: only buckets in use.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    config: AdwinConfig,
    /// Of each size, from that of one value on, the oldest first.
    buckets: Vec<Vec<Bucket>>,
    sum: f64,
    squares: f64,
    wait: u32,
    rang: bool,
}

#[cfg(feature = "serde")]
impl From<Adwin> for Stored {
    fn from(adwin: Adwin) -> Self {
        let Adwin { config, window, wait, rang } = adwin;
        let (buckets, sum, squares) = (window.by_size(), window.sum, window.squares);
        Self { config, buckets, sum, squares, wait, rang }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Stored> for Adwin {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self, Error> {
        let Stored { config, buckets, sum, squares, wait, rang } = stored;
        let mut adwin = Self::new(config)?;
        let check = |is_good, problem| crate::error::check_state("adwin", is_good, problem);
        check((1..=ROWS).contains(&buckets.len()), "it has no row of buckets, or too many")?;
        let most = config.max_buckets as usize;
        check(buckets.iter().all(|row| row.len() <= most), "a row has too many buckets")?;
        let is_square = |squares: f64| squares.is_finite();
        let is_sum = |bucket: &Bucket| bucket.sum.is_finite() && is_square(bucket.squares);
        let is_finite = buckets.iter().flatten().all(is_sum) && sum.is_finite();
        check(is_finite && is_square(squares), "a sum is not finite")?;
        check((1..=config.clock).contains(&wait), "its clock is off")?;
        let last = buckets.last().is_some_and(|row| !row.is_empty());
        check(last || buckets.len() == 1, "its last row is empty")?;
        adwin.window.take_up(&buckets, sum, squares);
        (adwin.wait, adwin.rang) = (wait, rang);
        Ok(adwin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_has_the_moments_of_its_values() {
        let mut adwin =
            Adwin::new(AdwinConfig { clock: 1 << 20, ..AdwinConfig::default() }).unwrap();
        let values: Vec<f64> = testkit::sequence(3, 5000).into_iter().map(f64::from).collect();
        for &x in &values {
            assert_eq!(adwin.update(x), Verdict::Quiet);
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let found = [adwin.mean(), adwin.variance(), adwin.len() as f64];
        testkit::assert_close("window", &found, &[mean, variance, n], 1e-12, 1e-12);
    }
}
