//! Normal scores: how unusual a value is among those that are usual, whatever their distribution.

use crate::detector::is_usable;
use crate::error::{Error, check_option};

/// A kind's mean is drawn to that of all by so many values.
const PRIOR: f64 = 5.0;

/// The most kinds of values.
const MOST_KINDS: usize = 1 << 20;

/// Normal scores of values by those that are usual at a place.
///
/// Values are of kinds, such as windows by the class of their answer, and one kind may be usually larger than
/// another: from a value the mean of its kind is subtracted first, `m_k = (Σx_k + 5·m)/(n_k + 5)` with `m` the mean
/// of all. What is left has the rank `r` among what is left of the `n` usual values, halfway between equal ones, and
/// the score `Φ⁻¹((r + ½)/(n + 1))` (Blom's idea, with ½). Usual values thus have scores of about `0 ± 1` and none
/// beyond what `n` values can tell, however long the tails of the signal are: thresholds mean the same at
/// every place.
///
/// ```
/// use monitor::Scores;
///
/// // Two kinds, one usually 10 more than the other.
/// let usual: Vec<f64> = (0..200).map(|i| f64::from(i % 2 * 10) + f64::from(i * 7 % 20)).collect();
/// let kinds: Vec<u32> = (0..200).map(|i| i % 2).collect();
/// let scores = Scores::fit(&usual, &kinds)?;
/// assert!(scores.score(9.5, 0).abs() < 0.3 && scores.score(19.5, 1).abs() < 0.3);
/// assert!(scores.score(19.5, 0) > 1.0 && scores.score(1e9, 0) < 3.0);
/// # Ok::<(), monitor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Stored", into = "Stored"))]
pub struct Scores {
    /// The mean of all, and of each kind.
    mean: f64,
    kinds: Vec<f64>,
    /// What is left of usual values, rising.
    rests: Vec<f64>,
}

impl Scores {
    /// Takes up what is usual: values and the kind of each. Without kinds all are of one.
    ///
    /// # Errors
    /// If a value is not finite, there are no two different ones, or kinds for another number of values.
    pub fn fit(values: &[f64], kinds: &[u32]) -> Result<Self, Error> {
        Self::fit_signal(0, values, kinds)
    }

    /// The same, where errors name the signal.
    pub(crate) fn fit_signal(signal: usize, values: &[f64], kinds: &[u32]) -> Result<Self, Error> {
        let check = |option, found: usize, is_good, expected| {
            check_option("scores", option, found as f64, is_good, expected)
        };
        let fits = kinds.is_empty() || kinds.len() == values.len();
        check("kinds", kinds.len(), fits, "as many as there are values, or none")?;
        let kind_of = |i: usize| kinds.get(i).map_or(0, |&kind| kind as usize);
        let n_kinds = kinds.iter().max().map_or(1, |&most| (most as usize).saturating_add(1));
        check("a kind", n_kinds, n_kinds <= MOST_KINDS, "below 1048576")?;
        if let Some(position) = values.iter().position(|&x| !is_usable(x)) {
            return Err(Error::Value { owner: "scores", position, found: values[position] });
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mut sums = vec![(0.0, 0.0); n_kinds];
        for (i, x) in values.iter().enumerate() {
            let (n, sum) = &mut sums[kind_of(i)];
            *n += 1.0;
            *sum += x;
        }
        let kinds = sums.iter().map(|(n, sum)| (sum + PRIOR * mean) / (n + PRIOR)).collect();
        let mut fitted = Self { mean, kinds, rests: Vec::new() };
        let mut rests: Vec<f64> =
            values.iter().enumerate().map(|(i, x)| fitted.rest(*x, kind_of(i) as u32)).collect();
        rests.sort_unstable_by(f64::total_cmp);
        match (rests.first(), rests.last()) {
            (Some(least), Some(most)) if least < most => fitted.rests = rests,
            _ => return Err(Error::Constant { signal }),
        }
        Ok(fitted)
    }

    /// The same of at most so many usual values, evenly among them: for files.
    #[must_use]
    pub fn thinned(mut self, most: usize) -> Self {
        let n = self.rests.len();
        if n > most.max(2) {
            let of = |i: usize| self.rests[(2 * i + 1) * n / (2 * most)];
            self.rests = (0..most).map(of).collect();
        }
        self
    }

    fn rest(&self, x: f64, kind: u32) -> f64 {
        x - self.kinds.get(kind as usize).copied().unwrap_or(self.mean)
    }

    /// The score of a value; NaN of one that is not finite. A kind that was not seen has the mean of all.
    pub fn score(&self, x: f64, kind: u32) -> f64 {
        if !is_usable(x) {
            return f64::NAN;
        }
        let rest = self.rest(x, kind);
        let below = self.rests.partition_point(|&known| known < rest);
        let equal = self.rests[below..].partition_point(|&known| known <= rest);
        let rank = below as f64 + 0.5 * equal as f64;
        normal_quantile((rank + 0.5) / (self.rests.len() as f64 + 1.0))
    }
}

/// The value below which a standard normal one is with probability `p`, for `1e-10 ≤ p ≤ 1 − 1e-10`, to 1e-15
/// (Wichura 1988, algorithm AS 241, without its far tails).
pub(crate) fn normal_quantile(p: f64) -> f64 {
    let ratio = |r: f64, above: [f64; 8], below: [f64; 7]| {
        let sum = |start, from: &[f64]| from.iter().rev().fold(start, |sum, c| sum * r + c);
        sum(0.0, &above) / (sum(0.0, &below) * r + 1.0)
    };
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(0.180_625 - q * q, CENTRE.0, CENTRE.1);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let found = ratio((-tail.ln()).sqrt() - 1.6, TAIL.0, TAIL.1);
    if q < 0.0 { -found } else { found }
}

/// Coefficients above and below the line, the constant first.
type Ratio = ([f64; 8], [f64; 7]);

const CENTRE: Ratio = (
    [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ],
    [
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_66e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ],
);

const TAIL: Ratio = (
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
);

/// What is stored.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    mean: f64,
    kinds: Vec<f64>,
    rests: Vec<f64>,
}

#[cfg(feature = "serde")]
impl From<Scores> for Stored {
    fn from(Scores { mean, kinds, rests }: Scores) -> Self {
        Self { mean, kinds, rests }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Stored> for Scores {
    type Error = Error;

    fn try_from(Stored { mean, kinds, rests }: Stored) -> Result<Self, Error> {
        let are_usable = |values: &[f64]| values.iter().all(|&x| is_usable(x));
        let is_good = are_usable(&kinds)
            && are_usable(&rests)
            && is_usable(mean)
            && rests.is_sorted()
            && rests.first() < rests.last()
            && !kinds.is_empty();
        crate::error::check_state("scores", is_good, "its values are no rising numbers")?;
        Ok(Self { mean, kinds, rests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of SciPy 1.17.
    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        for (p, expected) in [
            (1e-8, -5.612_001_244_174_789),
            (0.001, -3.090_232_306_167_813),
            (0.07, -1.475_791_028_179_170_6),
            (0.3, -0.524_400_512_708_040_9),
            (0.5, 0.0),
            (0.9, 1.281_551_565_544_601_5),
            (0.999_5, 3.290_526_731_491_925_5),
        ] {
            let found = normal_quantile(p);
            assert!((found - expected).abs() < 1e-12, "{p}: {found}");
        }
    }

    #[test]
    fn ranks_are_halfway_between_equal_values() {
        let scores = Scores::fit(&[1.0, 2.0, 2.0, 3.0], &[]).unwrap();
        for (x, rank) in [(0.0, 0.0), (1.0, 0.5), (1.5, 1.0), (2.0, 2.0), (3.0, 3.5), (4.0, 4.0)] {
            let expected = normal_quantile((rank + 0.5) / 5.0);
            testkit::assert_same_bits("score", &[scores.score(x, 0)], &[expected]);
        }
        assert!(scores.score(f64::NAN, 0).is_nan());
    }

    #[test]
    fn usual_values_that_say_nothing_are_refused() {
        for values in [&[][..], &[1.0, 1.0]] {
            assert_eq!(Scores::fit(values, &[]), Err(Error::Constant { signal: 0 }));
        }
        assert!(Scores::fit(&[1.0, f64::INFINITY], &[]).is_err());
        assert!(Scores::fit(&[1.0, 2.0], &[0]).is_err());
        assert!(Scores::fit(&[1.0, 2.0], &[0, u32::MAX]).is_err());
    }

    #[test]
    fn fewer_values_score_about_the_same() {
        let values: Vec<f64> = (0..5000).map(|i| f64::from(i * 7919 % 5003)).collect();
        let all = Scores::fit(&values, &[]).unwrap();
        let few = all.clone().thinned(500);
        for x in [10.0, 700.0, 2500.0, 4990.0] {
            assert!((all.score(x, 0) - few.score(x, 0)).abs() < 0.2, "{x}");
        }
    }
}
