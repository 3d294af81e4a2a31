//! How many updates become one: a file a rule, and the choice among them.

mod rule;

mod mean;
mod median;
mod norm_clipped_mean;
mod trimmed_mean;

mod bulyan;
mod centred_clipping;
mod geometric_median;
mod krum;
mod multi_krum;

mod asynchronous;
mod buffered;
mod nova;
mod q_fedavg;

mod dare;
mod slerp;
mod ties;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spelling::{no_options, parse_options};
use crate::{Error, Reason, Update};

pub use asynchronous::Async;
pub use buffered::Buffered;
pub use bulyan::Bulyan;
pub use centred_clipping::CentredClipping;
pub use dare::Dare;
pub use geometric_median::GeometricMedian;
pub use krum::Krum;
pub use multi_krum::MultiKrum;
pub use norm_clipped_mean::NormClippedMean;
pub use nova::nova_steps;
pub use q_fedavg::QFedAvg;
pub(crate) use rule::{Needs, Rule};
pub use slerp::Slerp;
pub use ties::Ties;
pub use trimmed_mean::TrimmedMean;

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
/// | `QFedAvg` | `base + Σ F_i^q·Δ_i/lr / Σ h_i` of the losses `F_i` | no | yes | 1 |
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
/// use aggregate::{Reducer, reducers::TrimmedMean};
///
/// let reducer: Reducer = serde_json::from_str(r#"{ "name": "trimmed-mean", "trim": 0.1 }"#)?;
/// assert_eq!(reducer, Reducer::TrimmedMean(TrimmedMean { trim: 0.1 }));
/// assert_eq!("trimmed-mean:trim=0.1".parse::<Reducer>()?, reducer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reducer {
    /// The weighted mean. Sums are in f64 and rounded once; equal inputs come back bit for bit.
    ///
    /// It is the averaging of `FedAvg`, <https://arxiv.org/abs/1602.05629>.
    #[default]
    #[serde(deserialize_with = "no_options")]
    Mean,
    /// See [`NormClippedMean`].
    NormClippedMean(NormClippedMean),
    /// The median of each coordinate; of an even number the mean of the middle two.
    ///
    /// Yin et al., <https://arxiv.org/abs/1803.01498>.
    #[serde(deserialize_with = "no_options")]
    Median,
    /// See [`TrimmedMean`].
    TrimmedMean(TrimmedMean),
    /// See [`Krum`].
    Krum(Krum),
    /// See [`MultiKrum`].
    MultiKrum(MultiKrum),
    /// See [`Bulyan`].
    Bulyan(Bulyan),
    /// See [`GeometricMedian`].
    GeometricMedian(GeometricMedian),
    /// See [`CentredClipping`].
    CentredClipping(CentredClipping),
    /// `FedNova`: changes are divided by the length of the local training, see [`nova_steps`].
    ///
    /// Wang et al., <https://arxiv.org/abs/2007.07481>.
    #[serde(deserialize_with = "no_options")]
    Nova,
    /// See [`QFedAvg`].
    #[serde(rename = "q-fedavg")]
    QFedAvg(QFedAvg),
    /// See [`Buffered`].
    Buffered(Buffered),
    /// See [`Async`].
    Async(Async),
    /// See [`Ties`].
    Ties(Ties),
    /// See [`Dare`].
    Dare(Dare),
    /// See [`Slerp`].
    Slerp(Slerp),
}

impl Reducer {
    /// The names of all rules, as spelled in a configuration. Each of them alone is a rule with the
    /// published options.
    pub const NAMES: [&'static str; 16] = [
        "mean",
        "norm-clipped-mean",
        "median",
        "trimmed-mean",
        "krum",
        "multi-krum",
        "bulyan",
        "geometric-median",
        "centred-clipping",
        "nova",
        "q-fedavg",
        "buffered",
        "async",
        "ties",
        "dare",
        "slerp",
    ];

    /// The rule with its options.
    pub(crate) fn rule(&self) -> &dyn Rule {
        match self {
            Self::Mean => &mean::Mean,
            Self::NormClippedMean(rule) => rule,
            Self::Median => &median::Median,
            Self::TrimmedMean(rule) => rule,
            Self::Krum(rule) => rule,
            Self::MultiKrum(rule) => rule,
            Self::Bulyan(rule) => rule,
            Self::GeometricMedian(rule) => rule,
            Self::CentredClipping(rule) => rule,
            Self::Nova => &nova::Nova,
            Self::QFedAvg(rule) => rule,
            Self::Buffered(rule) => rule,
            Self::Async(rule) => rule,
            Self::Ties(rule) => rule,
            Self::Dare(rule) => rule,
            Self::Slerp(rule) => rule,
        }
    }

    pub(crate) fn needs(&self) -> Needs {
        self.rule().needs()
    }

    /// The name as spelled in a configuration.
    pub fn name(&self) -> &'static str {
        self.rule().name()
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::ReducerOption`] if one is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.rule().check()
    }

    /// Whether the updates' weights count.
    pub fn is_weighted(&self) -> bool {
        self.needs().weights
    }

    /// Whether the models that late updates started from count
    /// ([`Options::older_bases`](crate::Options::older_bases)).
    pub fn reads_older_bases(&self) -> bool {
        self.needs().own_bases
    }

    /// Whether the rule moves a base and cannot do without.
    pub fn needs_base(&self) -> bool {
        self.needs().base
    }

    /// Whether updates must state how good the model was that they started from
    /// ([`Update::loss`](crate::Update::loss)).
    pub fn needs_losses(&self) -> bool {
        self.needs().losses
    }

    /// Whether the rule is for models that somebody chose, and not for a round of nodes' updates.
    pub fn is_offline(&self) -> bool {
        self.needs().offline
    }

    /// What the rule has against what each of the updates says of itself, beside the others.
    pub(crate) fn doubts(&self, updates: &[&Update]) -> Vec<Option<Reason>> {
        self.rule().doubts(updates)
    }
}

impl FromStr for Reducer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_options(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever adds a rule finds it in the tests: goldens, laws and fuzz go over the list.
    #[test]
    fn the_list_is_whole() {
        for name in Reducer::NAMES {
            let reducer: Reducer = name.parse().unwrap();
            assert_eq!(reducer.name(), name);
            reducer.validate().expect(name);
            let json = serde_json::to_string(&reducer).unwrap();
            assert_eq!(serde_json::from_str::<Reducer>(&json).unwrap(), reducer, "{json}");
        }
        let error = "?".parse::<Reducer>().unwrap_err();
        let (_, known) = error.split_once("expected one of ").unwrap();
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert_eq!(known, Reducer::NAMES);
    }

    #[test]
    fn options_are_spelled_as_ever() {
        for (text, json) in [
            ("mean", r#"{"name":"mean"}"#),
            ("krum", r#"{"name":"krum","byzantine":null}"#),
            ("multi-krum:keep=3", r#"{"name":"multi-krum","byzantine":null,"keep":3}"#),
            ("geometric-median", r#"{"name":"geometric-median","steps":1000,"smoothing":1e-6}"#),
            ("dare:seed=7", r#"{"name":"dare","density":0.5,"scale":1.0,"seed":7}"#),
            ("q-fedavg", r#"{"name":"q-fedavg","q":1.0,"lr":0.1}"#),
        ] {
            let reducer: Reducer = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&reducer).unwrap(), json);
        }
        for bad in ["mean:x=1", "nova:steps=1", "krum:f=1", "median:trim=0.1", "ties:density=x"] {
            assert!(bad.parse::<Reducer>().is_err(), "{bad}");
        }
    }
}
