//! Sets of classes that hold the true one as often as promised.

use crate::error::{Error, check_option};

/// Split conformal prediction by the least ambiguous sets (Sadinle, Lei and Wasserman 2019), fitted on windows that
/// the model was not trained on.
///
/// The score of a window is `1 − p` of its true class. Of `n` scores, `q` is the `⌈(n + 1)(1 − α)⌉`-th smallest, and
/// the set of another window has the classes with `1 − p ≤ q`. If windows are exchangeable, it holds the
/// true class with a probability of at least `1 − α`. With `α < 1/(n + 1)` no score is large enough, and the set
/// has all classes.
///
/// The class with the largest `p` is always in the set, which would be empty where the model is less sure
/// than it was; only for `α ≥ 1`, which asks for nothing, it is empty.
///
/// ```
/// use monitor::Conformal;
///
/// let scores: Vec<f64> = (1..=19).map(|i| f64::from(i) / 20.0).collect();
/// let conformal = Conformal::new(&scores)?;
/// // The 18th of 19 scores is 0.9: classes with p ≥ 0.1.
/// assert_eq!(conformal.quantile(0.1), 0.9);
/// let set = |p: &[f64], level| conformal.set(p, level).collect::<Vec<_>>();
/// assert_eq!(set(&[0.7, 0.25, 0.05], 0.1), [0, 1]);
/// assert_eq!(set(&[0.7, 0.25, 0.05], 0.8), [0]);
/// # Ok::<(), monitor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Vec<f64>", into = "Vec<f64>"))]
pub struct Conformal {
    /// Rising.
    scores: Vec<f64>,
}

impl Conformal {
    /// Sets by the scores, `1 − p` of the true class, of held-out windows.
    ///
    /// # Errors
    /// If there is none, or one is not in [0, 1].
    pub fn new(scores: &[f64]) -> Result<Self, Error> {
        if scores.is_empty() {
            let (what, hint) = ("held-out windows", "take some that the model was not trained on");
            return Err(Error::TooFew { owner: "conformal", what, found: 0, least: 1, hint });
        }
        if let Some(position) = scores.iter().position(|score| !(0.0..=1.0).contains(score)) {
            return Err(Error::Value { owner: "conformal", position, found: scores[position] });
        }
        let mut scores = scores.to_vec();
        scores.sort_unstable_by(f64::total_cmp);
        Ok(Self { scores })
    }

    /// The scores, rising.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The largest score of a class in the set for level `α`: 1 where all classes are in it, below 0 where
    /// none is.
    pub fn quantile(&self, alpha: f64) -> f64 {
        if alpha >= 1.0 {
            return -1.0;
        }
        let n = self.scores.len();
        // A rank that is whole but for rounding is meant whole: 20·0.9 is 18, not 19.
        let rank = ((n as f64 + 1.0) * (1.0 - alpha) - 1e-9).ceil();
        if alpha <= 0.0 || rank > n as f64 { 1.0 } else { self.scores[(rank as usize).max(1) - 1] }
    }

    /// The classes of the set for level `α`, by their probabilities.
    pub fn set<P: Copy + Into<f64>>(&self, p: &[P], alpha: f64) -> impl Iterator<Item = usize> {
        let quantile = self.quantile(alpha);
        let mut best = 0;
        for (i, &p_i) in p.iter().enumerate() {
            if p_i.into() > p[best].into() {
                best = i;
            }
        }
        let is_in = move |i: usize, p: f64| {
            quantile >= 1.0 || (quantile >= 0.0 && (i == best || 1.0 - p <= quantile))
        };
        p.iter().enumerate().filter(move |(i, p)| is_in(*i, (**p).into())).map(|(i, _)| i)
    }
}

impl TryFrom<Vec<f64>> for Conformal {
    type Error = Error;

    fn try_from(scores: Vec<f64>) -> Result<Self, Error> {
        Self::new(&scores)
    }
}

impl From<Conformal> for Vec<f64> {
    fn from(conformal: Conformal) -> Self {
        conformal.scores
    }
}

/// A level that follows what labels say: adaptive conformal inference
/// ([arXiv 2106.00170](https://arxiv.org/abs/2106.00170)).
///
/// `α ← α + γ(target − error)`, with an error of 1 where the set missed the true class. Over any `T` labels,
/// whatever comes, `|mean error − target| ≤ (max(α₁, 1 − α₁) + γ)/(γT)`, as long as the set is
/// empty for `α ≥ 1` and has all classes for `α ≤ 0`, as that of [`Conformal`].
///
/// ```
/// let mut level = monitor::AdaptiveLevel::new(0.1, 0.005)?;
/// level.update(true); // a miss: sets become larger
/// assert_eq!(level.level(), 0.1 + 0.005 * (0.1 - 1.0));
/// # Ok::<(), monitor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "StoredLevel", into = "StoredLevel"))]
pub struct AdaptiveLevel {
    target: f64,
    gamma: f64,
    level: f64,
}

impl AdaptiveLevel {
    /// Begins with the target as level; `gamma` is how far a label moves it.
    ///
    /// # Errors
    /// If `target` is not between 0 and 1, or `gamma` not above 0 and at most 1.
    pub fn new(target: f64, gamma: f64) -> Result<Self, Error> {
        let check = |option, found: f64, is_good, expected| {
            check_option("adaptive level", option, found, is_good, expected)
        };
        check("target", target, target > 0.0 && target < 1.0, "a number between 0 and 1")?;
        check("gamma", gamma, gamma > 0.0 && gamma <= 1.0, "above 0, at most 1")?;
        Ok(Self { target, gamma, level: target })
    }

    /// What to ask [`Conformal::set`] for; from `−γ` to `1 + γ`.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// Learns whether the set missed the true class.
    pub fn update(&mut self, missed: bool) {
        self.level += self.gamma * (self.target - f64::from(u8::from(missed)));
    }
}

/// What is stored.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLevel {
    target: f64,
    gamma: f64,
    level: f64,
}

#[cfg(feature = "serde")]
impl From<AdaptiveLevel> for StoredLevel {
    fn from(AdaptiveLevel { target, gamma, level }: AdaptiveLevel) -> Self {
        Self { target, gamma, level }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<StoredLevel> for AdaptiveLevel {
    type Error = Error;

    fn try_from(StoredLevel { target, gamma, level }: StoredLevel) -> Result<Self, Error> {
        let fresh = Self::new(target, gamma)?;
        let is_good = (-gamma..=1.0 + gamma).contains(&level);
        crate::error::check_state("adaptive level", is_good, "its level is out of range")?;
        Ok(Self { level, ..fresh })
    }
}
