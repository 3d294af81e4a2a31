//! The test of Page and Hinkley: the cumulative sum of how far values are off the mean of all before.

use crate::cusum::Side;
use crate::detector::{Detector, Verdict, is_usable};
use crate::error::{Error, check_option};

/// Options of [`PageHinkley`]; by default those of river.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct PageHinkleyConfig {
    /// Changes of less than this do not count, in units of the values.
    pub delta: f64,
    /// An alarm is given above this, in units of the values.
    pub threshold: f64,
    /// What is left of the sum after each value.
    pub alpha: f64,
    /// Values before the first alarm.
    pub min_values: u32,
    /// Which changes count.
    pub side: Side,
}

impl Default for PageHinkleyConfig {
    fn default() -> Self {
        let (delta, threshold, alpha) = (0.005, 50.0, 1.0 - 0.0001);
        Self { delta, threshold, alpha, min_values: 30, side: Side::Both }
    }
}

/// The test of Page (1954) and Hinkley, with a forgetting factor, as in river.
///
/// With `x̄` the mean of all values, also of the last: `up = α·up + x − x̄ − δ`,
/// `down = α·down + x − x̄ + δ`; an alarm where `up − min up` or `max down − down` exceeds the threshold, and
/// there were `min_values` values. The maximum begins at −1, not below every value: so it does in river.
///
/// Its reference is learned from the values that it looks at; where one is known, [`Cusum`](crate::Cusum) finds
/// a change sooner.
///
/// ```
/// use monitor::{Detector, PageHinkley, PageHinkleyConfig};
///
/// let mut test = PageHinkley::new(PageHinkleyConfig { threshold: 5.0, ..Default::default() })?;
/// let alarm = (0..200).find(|&i| test.update(if i < 100 { 1.0 } else { 2.0 }).is_alarm());
/// assert_eq!(alarm, Some(105));
/// # Ok::<(), monitor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Stored", into = "Stored"))]
pub struct PageHinkley {
    config: PageHinkleyConfig,
    sums: Sums,
}

/// What is kept of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
struct Sums {
    n: f64,
    mean: f64,
    up: f64,
    down: f64,
    min_up: f64,
    max_down: f64,
}

const FRESH: Sums = Sums { n: 0.0, mean: 0.0, up: 0.0, down: 0.0, min_up: 0.0, max_down: -1.0 };

impl PageHinkley {
    /// A test that has seen nothing.
    ///
    /// # Errors
    /// If `delta` is below 0, `threshold` not above 0, `alpha` not above 0 and at most 1, or
    /// `min_values` 0.
    pub fn new(config: PageHinkleyConfig) -> Result<Self, Error> {
        let check = |option, found: f64, is_good, expected| {
            check_option("page-hinkley", option, found, is_good, expected)
        };
        let PageHinkleyConfig { delta, threshold, alpha, min_values, .. } = config;
        let is_good = is_usable(delta) && delta >= 0.0;
        check("delta", delta, is_good, "a finite number, at least 0")?;
        let is_good = is_usable(threshold) && threshold > 0.0;
        check("threshold", threshold, is_good, "a finite number above 0")?;
        check("alpha", alpha, alpha > 0.0 && alpha <= 1.0, "above 0, at most 1")?;
        check("min_values", f64::from(min_values), min_values > 0, "at least 1")?;
        Ok(Self { config, sums: FRESH })
    }

    /// The mean of all values since the beginning; 0 before the first.
    pub fn mean(&self) -> f64 {
        self.sums.mean
    }

    fn rings(&self) -> bool {
        self.statistic() > self.config.threshold
    }
}

impl Detector for PageHinkley {
    #[inline]
    fn update(&mut self, x: f64) -> Verdict {
        if !is_usable(x) {
            return Verdict::Refused;
        }
        if self.rings() {
            self.reset();
        }
        let PageHinkleyConfig { delta, alpha, .. } = self.config;
        let sums = &mut self.sums;
        sums.n += 1.0;
        sums.mean += (1.0 / sums.n) * (x - sums.mean);
        let off = x - sums.mean;
        sums.up = alpha * sums.up + off - delta;
        sums.down = alpha * sums.down + off + delta;
        // Before the first value there is no minimum.
        sums.min_up = if sums.n > 1.0 { sums.min_up.min(sums.up) } else { sums.up };
        sums.max_down = sums.max_down.max(sums.down);
        Verdict::of(self.rings())
    }

    fn statistic(&self) -> f64 {
        let Sums { n, up, down, min_up, max_down, .. } = self.sums;
        if n < f64::from(self.config.min_values) {
            return 0.0;
        }
        let (rise, fall) = (up - min_up, max_down - down);
        match self.config.side {
            Side::Up => rise,
            Side::Down => fall,
            Side::Both => rise.max(fall),
        }
    }

    fn threshold(&self) -> f64 {
        self.config.threshold
    }

    fn reset(&mut self) {
        self.sums = FRESH;
    }
}

/// What is stored.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    config: PageHinkleyConfig,
    sums: Sums,
}

#[cfg(feature = "serde")]
impl From<PageHinkley> for Stored {
    fn from(PageHinkley { config, sums }: PageHinkley) -> Self {
        Self { config, sums }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Stored> for PageHinkley {
    type Error = Error;

    fn try_from(Stored { config, sums }: Stored) -> Result<Self, Error> {
        let fresh = Self::new(config)?;
        let Sums { n, mean, up, down, min_up, max_down } = sums;
        let is_good = [mean, up, down, min_up, max_down].into_iter().all(f64::is_finite)
            && n >= 0.0
            && n.is_finite();
        crate::error::check_state("page-hinkley", is_good, "a sum is not finite")?;
        Ok(Self { sums, ..fresh })
    }
}
