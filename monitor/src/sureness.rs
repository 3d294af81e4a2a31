//! Whose fault it is where nobody tells the true classes: two models that are less sure than they usually are.

use std::collections::VecDeque;

use crate::attribution::{Cause, Paired, binomial_at_most};

/// Answers without which it is not known how sure a model usually is.
const FEWEST: usize = 20;

/// The share of usual answers that are called unsure.
const LOW: f64 = 0.1;

/// The last answers, by which a model is judged.
const LAST: usize = 30;

/// How sure a model usually is: below which confidence few of its answers are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    low: f64,
    /// How many are below at most, as a share.
    rate: f64,
}

impl Usual {
    /// By the confidences of answers that were given while all was well: the tenth of them that is lowest is unsure.
    /// Nothing where there are fewer than 20.
    ///
    /// With `k` of `n` below, the share of all answers that are below has the Beta distribution of `k + 1` and
    /// `n − k`; what is taken is its mean and one deviation, so that few answers promise little.
    pub fn of(confidences: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = confidences.iter().copied().filter(|x| x.is_finite()).collect();
        if sorted.len() < FEWEST {
            return None;
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let low = sorted[(LOW * sorted.len() as f64) as usize];
        let (n, below) = (sorted.len() as f64, sorted.partition_point(|&x| x < low) as f64);
        let mean = (below + 1.0) / (n + 1.0);
        let deviation = (mean * (1.0 - mean) / (n + 2.0)).sqrt();
        Some(Self { low, rate: mean + deviation })
    }
}

/// The last answers of two models to the same windows: which of them were unsure.
///
/// A model that is bad in a way that it does not know, such as one whose classes are permuted, is as sure as ever:
/// this tells only of what comes in.
///
/// ```
/// use monitor::{Cause, Sureness, Usual};
///
/// let usual: Vec<f64> = (0..100).map(|i| 0.9 + 0.001 * f64::from(i)).collect();
/// let usual = Usual::of(&usual);
/// let mut both = Sureness::new(usual, usual);
/// (0..30).for_each(|_| both.observe(0.6, 0.7));
/// assert_eq!(both.cause(0.001), Cause::World);
/// let mut alone = Sureness::new(usual, usual);
/// (0..30).for_each(|_| alone.observe(0.6, 0.99));
/// assert_eq!(alone.cause(0.001), Cause::Model);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Sureness {
    new: Option<Usual>,
    old: Option<Usual>,
    /// Whether the new model and the old one were unsure, the oldest first.
    last: VecDeque<(bool, bool)>,
}

impl Sureness {
    /// Where that is usual of the new model and of the old one, as far as it is known: of a model of which it is not,
    /// every answer is as usual.
    pub fn new(new: Option<Usual>, old: Option<Usual>) -> Self {
        Self { new, old, last: VecDeque::with_capacity(LAST) }
    }

    /// Takes the confidences of both for a window.
    pub fn observe(&mut self, new: f64, old: f64) {
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        let is_low = |x: f64, usual: Option<Usual>| usual.is_some_and(|usual| x < usual.low);
        self.last.push_back((is_low(new, self.new), is_low(old, self.old)));
    }

    /// How many of the last answers there are, and of how many the new model was unsure, and the old one.
    pub fn unsure(&self) -> (usize, usize, usize) {
        let count =
            |is_so: fn(&(bool, bool)) -> bool| self.last.iter().filter(|x| is_so(x)).count();
        (self.last.len(), count(|last| last.0), count(|last| last.1))
    }

    /// The probability that so many of the last answers of the new model are unsure, or more, if all is as usual; and
    /// the same of the old one.
    pub fn p_as_usual(&self) -> (f64, f64) {
        let (n, new, old) = self.unsure();
        let at_least = |k: usize, usual: Option<Usual>| {
            let of = |usual: Usual| binomial_at_most((n - k) as u64, n as u64, 1.0 - usual.rate);
            usual.map_or(1.0, of)
        };
        (at_least(new, self.new), at_least(old, self.old))
    }

    /// Whose fault it is, at a level such as 0.001: that of the world if both are less sure than usual; that of the model
    /// if it alone is, and is unsure where the old one is not ([`Paired::p_worse`]). It is not the model's while the old
    /// one, too, may be less sure, at 0.05.
    pub fn cause(&self, level: f64) -> Cause {
        let (new, old) = self.p_as_usual();
        if new > level {
            return Cause::Unknown;
        }
        if old <= level {
            return Cause::World;
        }
        let mut paired = Paired::default();
        self.last.iter().for_each(|&(new, old)| paired.observe(!new, !old));
        if old > 0.05 && paired.p_worse() <= level { Cause::Model } else { Cause::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(n: u32) -> Usual {
        let confidences: Vec<f64> = (0..n).map(|i| f64::from(i) / f64::from(n)).collect();
        Usual::of(&confidences).expect("enough")
    }

    #[test]
    fn few_answers_promise_little() {
        assert_eq!(Usual::of(&[0.9; FEWEST - 1]), None);
        assert_eq!(Usual::of(&[f64::NAN; 100]), None);
        let (few, many) = (usual(20), usual(10_000));
        assert!(few.rate > 0.2 && many.rate > 0.1 && many.rate < 0.11, "{few:?} {many:?}");
        // All are the same: none is below.
        let same = Usual::of(&[1.0; 50]);
        let mut sureness = Sureness::new(same, same);
        (0..LAST).for_each(|_| sureness.observe(1.0, 1.0));
        assert_eq!(sureness.unsure(), (LAST, 0, 0));
    }

    #[test]
    fn usual_answers_blame_nobody() {
        let mut sureness = Sureness::new(Some(usual(100)), Some(usual(100)));
        assert_eq!(sureness.cause(0.001), Cause::Unknown);
        for i in 0..10_000_u32 {
            let x = f64::from(i.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
            let y = f64::from(i.wrapping_mul(40_503).wrapping_mul(2_654_435_761) >> 8)
                / f64::from(1 << 24);
            sureness.observe(x, y);
            assert_eq!(sureness.cause(0.001), Cause::Unknown, "{i}: {:?}", sureness.unsure());
        }
    }

    #[test]
    fn one_alone_is_the_model_and_both_are_the_world() {
        let after = |new: f64, old: f64| {
            let mut sureness = Sureness::new(Some(usual(100)), Some(usual(100)));
            (0..LAST).for_each(|_| sureness.observe(0.9, 0.9));
            let found = (0..LAST).find_map(|n| {
                sureness.observe(new, old);
                Some((n + 1, sureness.cause(0.001))).filter(|found| found.1 != Cause::Unknown)
            });
            found.map(|(n, cause)| (n <= 12, cause))
        };
        assert_eq!(after(0.01, 0.9), Some((true, Cause::Model)));
        assert_eq!(after(0.01, 0.02), Some((true, Cause::World)));
        assert_eq!(after(0.9, 0.02), None);
        // Half of the windows are strange to the new model, and half of these to the old one.
        let mut partly = Sureness::new(Some(usual(100)), Some(usual(100)));
        for i in 0..LAST {
            let of = |every| if i % every == 0 { 0.01 } else { 0.9 };
            partly.observe(of(2), of(4));
        }
        assert_eq!((partly.cause(0.001), partly.unsure()), (Cause::Unknown, (LAST, 15, 8)));
        let mut unknown = Sureness::new(None, Some(usual(100)));
        (0..LAST).for_each(|_| unknown.observe(0.0, 0.0));
        assert!(unknown.cause(0.001) == Cause::Unknown && unknown.p_as_usual().1 < 1e-9);
    }
}
