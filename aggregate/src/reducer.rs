//! How many updates become one: the choice of the rule.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The rule that makes one model of many.
///
/// With `Δ_i = x_i − base`, `p_i = w_i / Σ w_j` of the updates' weights, and distances over the
/// whole model (all float tensors together):
///
/// | rule | result | weights count | base | least updates |
/// |---|---|---|---|---|
/// | `Mean` | `Σ p_i x_i` | yes | no | 1 |
/// | `NormClippedMean` | `base + Σ p_i Δ_i·min(1, max_norm/‖Δ_i‖)` | yes | yes | 1 |
/// | `Median` | the middle value of each coordinate | no | no | 1 |
/// | `TrimmedMean` | the mean of each coordinate without the extremes | no | no | 1 |
/// | `Krum` | the update whose neighbours are nearest | no | no | `2f + 3` |
/// | `MultiKrum` | the mean of the `keep` best by Krum's score | no | no | `2f + 3` |
/// | `Bulyan` | of those Krum selects, the mean of what is near the median | no | no | `4f + 3` |
/// | `GeometricMedian` | the `z` of least `Σ p_i ‖z − x_i‖` | yes | no | 1 |
/// | `CentredClipping` | `v ← v + (1/n) Σ (x_i − v)·min(1, radius/‖x_i − v‖)` from the base on | no | yes | 1 |
/// | `Nova` | `base + τ Σ p_i Δ_i/s_i`, `τ = Σ p_i s_i` of the local steps `s_i` | yes | yes | 1 |
/// | `Buffered` | `base + (1/n) Σ (1 + age_i)^−a (x_i − own base)` | no | yes | 1 |
/// | `Async` | `base + (1/n) Σ alpha·(1 + age_i)^−a Δ_i` | no | yes | 1 |
/// | `Ties` | `base + scale·(mean of the large changes that agree in sign)` | yes | yes | 1 |
/// | `Dare` | `base + scale·Σ p_i Δ_i·Bernoulli(density)/density` | yes | yes | 1 |
/// | `Slerp` | spherical interpolation of two, tensor by tensor | no | no | 2 |
///
/// In a configuration file it is a table with the rule's `name` and its options; as text it is the
/// name, or name and options: `trimmed-mean:trim=0.1`.
///
/// ```
/// use aggregate::Reducer;
///
/// let reducer: Reducer = serde_json::from_str(r#"{ "name": "trimmed-mean", "trim": 0.1 }"#)?;
/// assert_eq!(reducer, Reducer::TrimmedMean { trim: 0.1 });
/// assert_eq!("trimmed-mean:trim=0.1".parse::<Reducer>()?, reducer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", from = "Spelling")]
#[non_exhaustive]
pub enum Reducer {
    /// The weighted mean. Sums are in f64 and rounded once; equal inputs come back bit for bit.
    ///
    /// It is the averaging of `FedAvg`, <https://arxiv.org/abs/1602.05629>.
    #[default]
    Mean,
    /// The weighted mean of changes that were shortened to a greatest norm.
    NormClippedMean {
        /// The greatest norm; without it, the median of all norms.
        max_norm: Option<f64>,
    },
    /// The median of each coordinate; of an even number the mean of the middle two.
    ///
    /// Yin et al., <https://arxiv.org/abs/1803.01498>.
    Median,
    /// The mean of each coordinate without the `⌊trim·n⌋` lowest and as many highest.
    ///
    /// Yin et al., <https://arxiv.org/abs/1803.01498>.
    TrimmedMean {
        /// Share that is dropped at each end, at least 0 and below one half.
        trim: f64,
    },
    /// The update with the least `Σ ‖x_i − x_j‖²` over its `n − f − 2` nearest others; of equals
    /// the first by content.
    ///
    /// Blanchard et al., <https://arxiv.org/abs/1703.02757>.
    Krum {
        /// How many attackers `f` are to be withstood; without it, as many as `n ≥ 2f + 3` allows.
        byzantine: Option<usize>,
    },
    /// The mean of the updates with the lowest scores of Krum.
    MultiKrum {
        /// As for Krum.
        byzantine: Option<usize>,
        /// How many are averaged; without it `n − f − 2`.
        keep: Option<usize>,
    },
    /// Krum selects `n − 2f` updates one by one; each coordinate is the mean of the `n − 4f`
    /// selected values nearest their median.
    ///
    /// Mhamdi et al., <https://arxiv.org/abs/1802.07927>.
    Bulyan {
        /// How many attackers `f` are to be withstood; without it, as many as `n ≥ 4f + 3` allows.
        byzantine: Option<usize>,
    },
    /// The geometric median by the smoothed Weiszfeld algorithm, from the weighted mean on.
    ///
    /// Pillutla et al. (RFA), <https://arxiv.org/abs/1912.13445>.
    GeometricMedian {
        /// Most steps; fewer if it has converged.
        steps: u32,
        /// The least distance that is divided by, above 0.
        smoothing: f64,
    },
    /// Centred clipping, from the base on, which is where the last round ended.
    ///
    /// Karimireddy et al., <https://arxiv.org/abs/2012.10333>.
    CentredClipping {
        /// The greatest distance that counts in full; without it, the median distance of each step.
        radius: Option<f64>,
        /// Steps.
        steps: u32,
    },
    /// `FedNova`: changes are divided by the length of the local training.
    ///
    /// Wang et al., <https://arxiv.org/abs/2007.07481>.
    Nova,
    /// `FedBuff`: late updates count less, each as a change of the model it started from, which
    /// must be the base or one of `older_bases`.
    ///
    /// Nguyen et al., <https://arxiv.org/abs/2106.06639>.
    Buffered {
        /// The power `a` of the discount; one half in the paper.
        exponent: f64,
    },
    /// `FedAsync`: the base is mixed with updates from whatever base, late ones less.
    ///
    /// Xie et al., <https://arxiv.org/abs/1903.03934>.
    Async {
        /// Share of a fresh update, above 0 and at most 1.
        alpha: f64,
        /// The power `a` of the discount.
        exponent: f64,
    },
    /// TIES: of each change the `⌈density·n⌉` largest entries of every tensor count; the sign of
    /// their weighted sum is elected, and the weighted mean of those that agree is added.
    ///
    /// Yadav et al., <https://arxiv.org/abs/2306.01708>.
    Ties {
        /// Share of entries that count, above 0 and at most 1.
        density: f64,
        /// Factor of the merged change.
        scale: f64,
    },
    /// DARE: entries of each change are dropped at random, and the others scaled up.
    ///
    /// Yu et al., <https://arxiv.org/abs/2311.03099>.
    Dare {
        /// Share of entries that stay, above 0 and at most 1.
        density: f64,
        /// Factor of the merged change.
        scale: f64,
        /// Seed of what is dropped.
        seed: u64,
    },
    /// Spherical interpolation from the first to the second of two updates, in the order of the
    /// list; where they are nearly parallel, a straight one.
    Slerp {
        /// Where between the first (0) and the second (1).
        t: f64,
    },
}

impl Reducer {
    /// The name as spelled in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::NormClippedMean { .. } => "norm-clipped-mean",
            Self::Median => "median",
            Self::TrimmedMean { .. } => "trimmed-mean",
            Self::Krum { .. } => "krum",
            Self::MultiKrum { .. } => "multi-krum",
            Self::Bulyan { .. } => "bulyan",
            Self::GeometricMedian { .. } => "geometric-median",
            Self::CentredClipping { .. } => "centred-clipping",
            Self::Nova => "nova",
            Self::Buffered { .. } => "buffered",
            Self::Async { .. } => "async",
            Self::Ties { .. } => "ties",
            Self::Dare { .. } => "dare",
            Self::Slerp { .. } => "slerp",
        }
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::ReducerOption`] if one is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let check = |option, value: f64, holds: bool, expected| {
            let reducer = self.name();
            let error = Error::ReducerOption { reducer, option, value, expected };
            if holds { Ok(()) } else { Err(error) }
        };
        let above_0 =
            |option, v: f64| check(option, v, v.is_finite() && v > 0.0, "a finite number above 0");
        let share = |option, v: f64| check(option, v, v > 0.0 && v <= 1.0, "above 0 and at most 1");
        let finite = |option, v: f64| check(option, v, v.is_finite(), "a finite number");
        match *self {
            Self::Mean | Self::Median | Self::Nova | Self::Krum { .. } | Self::Bulyan { .. } => {
                Ok(())
            }
            Self::NormClippedMean { max_norm } => {
                max_norm.map_or(Ok(()), |norm| above_0("max_norm", norm))
            }
            Self::TrimmedMean { trim } => {
                check("trim", trim, (0.0..0.5).contains(&trim), "at least 0 and below 0.5")
            }
            Self::MultiKrum { keep, .. } => {
                check("keep", 0.0, keep != Some(0), "at least 1 update")
            }
            Self::GeometricMedian { steps, smoothing } => {
                check("steps", steps.into(), steps > 0, "at least 1")?;
                above_0("smoothing", smoothing)
            }
            Self::CentredClipping { radius, steps } => {
                check("steps", steps.into(), steps > 0, "at least 1")?;
                radius.map_or(Ok(()), |radius| above_0("radius", radius))
            }
            Self::Buffered { exponent } => {
                check("exponent", exponent, exponent.is_finite() && exponent >= 0.0, "at least 0")
            }
            Self::Async { alpha, exponent } => {
                share("alpha", alpha)?;
                check("exponent", exponent, exponent.is_finite() && exponent >= 0.0, "at least 0")
            }
            Self::Ties { density, scale } | Self::Dare { density, scale, .. } => {
                share("density", density)?;
                finite("scale", scale)
            }
            Self::Slerp { t } => check("t", t, (0.0..=1.0).contains(&t), "0 to 1"),
        }
    }

    /// Whether the updates' weights count.
    pub fn is_weighted(&self) -> bool {
        matches!(
            self,
            Self::Mean
                | Self::NormClippedMean { .. }
                | Self::GeometricMedian { .. }
                | Self::Nova
                | Self::Ties { .. }
                | Self::Dare { .. }
        )
    }

    /// Whether the rule moves a base and cannot do without.
    pub fn needs_base(&self) -> bool {
        matches!(
            self,
            Self::NormClippedMean { .. }
                | Self::CentredClipping { .. }
                | Self::Nova
                | Self::Buffered { .. }
                | Self::Async { .. }
                | Self::Ties { .. }
                | Self::Dare { .. }
        )
    }

    /// Whether the rule goes by scalar products of whole changes.
    pub(crate) fn is_by_distance(&self) -> bool {
        matches!(
            self,
            Self::NormClippedMean { .. }
                | Self::Krum { .. }
                | Self::MultiKrum { .. }
                | Self::Bulyan { .. }
                | Self::GeometricMedian { .. }
                | Self::CentredClipping { .. }
        )
    }

    /// Whether updates may have started from any model.
    pub(crate) fn takes_any_base(&self) -> bool {
        matches!(self, Self::Async { .. })
    }

    /// How many attackers are withstood: as many as asked for, or as many as the rule can.
    pub(crate) fn n_byzantine(
        &self,
        asked: Option<usize>,
        found: usize,
        factor: usize,
    ) -> Result<usize, Error> {
        let least = factor.saturating_mul(asked.unwrap_or(0)).saturating_add(3);
        if found < least {
            let for_whom = asked.map_or(String::new(), |f| format!(" to withstand {f}"));
            let needed = format!("at least {least} updates{for_whom}");
            return Err(Error::TooFew { reducer: self.name(), needed, found });
        }
        Ok(asked.unwrap_or((found - 3) / factor))
    }
}

impl FromStr for Reducer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_options(text)
    }
}

/// Parses `name` or `name:key=value,key=value` as the table it stands for.
pub(crate) fn parse_options<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let (name, options) = text.split_once(':').unwrap_or((text, ""));
    let mut table = serde_json::Map::new();
    table.insert("name".into(), name.into());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let Some((key, value)) = option.split_once('=') else {
            return Err(format!("{option:?} in {text:?} is not of the form key=value"));
        };
        // What is no number and no boolean is a word.
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        if key == "name" || table.insert(key.into(), value).is_some() {
            return Err(format!("{key} stands twice in {text:?}"));
        }
    }
    serde_json::from_value(table.into()).map_err(|e| format!("{text:?}: {e}"))
}

/// What is read: options may be left out, and unknown keys are refused, which serde does beside a
/// tag only if the variant has braces.
#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Spelling {
    Mean {},
    NormClippedMean {
        max_norm: Option<f64>,
    },
    Median {},
    TrimmedMean {
        #[serde(default = "default_trim")]
        trim: f64,
    },
    Krum {
        byzantine: Option<usize>,
    },
    MultiKrum {
        byzantine: Option<usize>,
        keep: Option<usize>,
    },
    Bulyan {
        byzantine: Option<usize>,
    },
    GeometricMedian {
        #[serde(default = "default_weiszfeld_steps")]
        steps: u32,
        #[serde(default = "default_smoothing")]
        smoothing: f64,
    },
    CentredClipping {
        radius: Option<f64>,
        #[serde(default = "default_clipping_steps")]
        steps: u32,
    },
    Nova {},
    Buffered {
        #[serde(default = "default_exponent")]
        exponent: f64,
    },
    Async {
        #[serde(default = "default_alpha")]
        alpha: f64,
        #[serde(default = "default_exponent")]
        exponent: f64,
    },
    Ties {
        #[serde(default = "default_ties_density")]
        density: f64,
        #[serde(default = "default_scale")]
        scale: f64,
    },
    Dare {
        #[serde(default = "default_dare_density")]
        density: f64,
        #[serde(default = "default_scale")]
        scale: f64,
        #[serde(default)]
        seed: u64,
    },
    Slerp {
        #[serde(default = "default_t")]
        t: f64,
    },
}

fn default_trim() -> f64 {
    0.2
}

fn default_weiszfeld_steps() -> u32 {
    1000
}

fn default_smoothing() -> f64 {
    1e-6
}

fn default_clipping_steps() -> u32 {
    5
}

fn default_exponent() -> f64 {
    0.5
}

fn default_alpha() -> f64 {
    0.6
}

fn default_ties_density() -> f64 {
    0.2
}

fn default_dare_density() -> f64 {
    0.5
}

fn default_scale() -> f64 {
    1.0
}

fn default_t() -> f64 {
    0.5
}

impl From<Spelling> for Reducer {
    fn from(spelling: Spelling) -> Self {
        match spelling {
            Spelling::Mean {} => Self::Mean,
            Spelling::NormClippedMean { max_norm } => Self::NormClippedMean { max_norm },
            Spelling::Median {} => Self::Median,
            Spelling::TrimmedMean { trim } => Self::TrimmedMean { trim },
            Spelling::Krum { byzantine } => Self::Krum { byzantine },
            Spelling::MultiKrum { byzantine, keep } => Self::MultiKrum { byzantine, keep },
            Spelling::Bulyan { byzantine } => Self::Bulyan { byzantine },
            Spelling::GeometricMedian { steps, smoothing } => {
                Self::GeometricMedian { steps, smoothing }
            }
            Spelling::CentredClipping { radius, steps } => Self::CentredClipping { radius, steps },
            Spelling::Nova {} => Self::Nova,
            Spelling::Buffered { exponent } => Self::Buffered { exponent },
            Spelling::Async { alpha, exponent } => Self::Async { alpha, exponent },
            Spelling::Ties { density, scale } => Self::Ties { density, scale },
            Spelling::Dare { density, scale, seed } => Self::Dare { density, scale, seed },
            Spelling::Slerp { t } => Self::Slerp { t },
        }
    }
}

/// The length of local training for [`Reducer::Nova`], `‖a‖₁` of Wang et al.: how much `steps` steps
/// of SGD with momentum, or with a proximal term, weigh a gradient.
///
/// ```text
/// plain       τ
/// momentum ρ  (τ − ρ(1 − ρ^τ)/(1 − ρ)) / (1 − ρ)
/// proximal    (1 − (1 − ημ)^τ) / (ημ)
/// ```
/// <https://arxiv.org/abs/2007.07481>. With both, momentum counts. `lr_mu` is `η·μ`, learning rate
/// times strength of the pull; 0 if there is none.
///
/// ```
/// assert_eq!(aggregate::nova_steps(10, 0.0, 0.0), 10.0);
/// assert_eq!(aggregate::nova_steps(2, 0.5, 0.0), 2.5); // the first gradient moves 1 + 0.5
/// assert_eq!(aggregate::nova_steps(2, 0.0, 0.5), 1.5);
/// ```
pub fn nova_steps(steps: u64, momentum: f64, lr_mu: f64) -> f64 {
    let tau = steps as f64;
    if momentum > 0.0 {
        let rest = momentum * (1.0 - momentum.powf(tau)) / (1.0 - momentum);
        (tau - rest) / (1.0 - momentum)
    } else if lr_mu > 0.0 {
        (1.0 - (1.0 - lr_mu).powf(tau)) / lr_mu
    } else {
        tau
    }
}
