//! Attackers: nodes whose updates are meant to do harm.

use std::str::FromStr;

use anyhow::bail;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::checkpoint::Provenance;
use crate::data::{Dataset, Labels, Node};

/// What attackers send instead of what they have learned.
///
/// With `Δ` the change that an attacker would have made, and `μ` and `σ` the mean and deviation of
/// the honest changes, value by value, which it is assumed to know:
///
/// | attack | change |
/// |---|---|
/// | `sign-flip` | `−10·Δ` |
/// | `gaussian` | normal noise, ten times as long as the honest changes are on average |
/// | `label-flip` | trained honestly on labels in reverse order of the classes |
/// | `alie` | `μ − 1.5·σ`: a little is enough, Baruch et al., <https://arxiv.org/abs/1902.06156> |
/// | `ipm` | `−0.5·μ`: inner product manipulation, Xie et al., <https://arxiv.org/abs/1903.03936> |
/// | `nan` | NaN everywhere |
/// | `inflate` | `−Δ`, said to be trained on 10^15 examples: no further than the honest changes, so that only the weight of the claim is left to notice |
/// | `impersonate` | `−Δ`, in the name of an honest node |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// The opposite of what was learned, ten times.
    SignFlip,
    /// Noise.
    Gaussian,
    /// Learned from wrong labels.
    LabelFlip,
    /// A little off the honest mean, within the honest spread.
    Alie,
    /// Against the honest mean.
    Ipm,
    /// No numbers.
    Nan,
    /// The opposite of what was learned, with a claim to count more than all others.
    Inflate,
    /// The opposite of what was learned, as if an honest node had sent it.
    Impersonate,
}

/// How many times the opposite is sent.
const FLIP: f64 = -10.0;
/// Length of the noise in honest changes.
const NOISE: f64 = 10.0;
/// Deviations from the honest mean.
const ALIE: f64 = 1.5;
/// Share of the honest mean.
const IPM: f64 = -0.5;
/// How many times what was learned goes where claims do the harm.
const OPPOSITE: f64 = -1.0;
/// Examples that are claimed.
const INFLATED: u64 = 1_000_000_000_000_000;

impl Attack {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SignFlip,
        Self::Gaussian,
        Self::LabelFlip,
        Self::Alie,
        Self::Ipm,
        Self::Nan,
        Self::Inflate,
        Self::Impersonate,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignFlip => "sign-flip",
            Self::Gaussian => "gaussian",
            Self::LabelFlip => "label-flip",
            Self::Alie => "alie",
            Self::Ipm => "ipm",
            Self::Nan => "nan",
            Self::Inflate => "inflate",
            Self::Impersonate => "impersonate",
        }
    }

    /// Whether the harm is in the weights, and not in what is said of them.
    pub fn is_in_weights(self) -> bool {
        !matches!(self, Self::Inflate | Self::Impersonate)
    }

    /// What an attacker says of its update, given what an honest one says of its own.
    pub fn claim(self, own: &mut Provenance, honest: &Provenance) {
        match self {
            Self::Inflate => own.examples = INFLATED,
            Self::Impersonate => own.node.clone_from(&honest.node),
            _ => {}
        }
    }

    /// What the attacker with the honest result `own` sends, given the honest results of the others
    /// and the model that all started from.
    ///
    /// # Panics
    /// If there is no honest result, or lengths differ.
    pub fn forge(self, base: &[f32], own: &[f32], honest: &[&[f32]], seed: u64) -> Vec<f32> {
        let n = honest.len() as f64;
        assert!(n > 0.0, "an attack needs honest nodes");
        let mean = |i: usize| honest.iter().map(|x| f64::from(x[i])).sum::<f64>() / n;
        let each = |value: &mut dyn FnMut(usize, f64) -> f64| -> Vec<f32> {
            base.iter().enumerate().map(|(i, &b)| value(i, b.into()) as f32).collect()
        };
        match self {
            Self::LabelFlip => own.to_vec(),
            Self::Nan => vec![f32::NAN; base.len()],
            Self::SignFlip => each(&mut |i, b| b + FLIP * (f64::from(own[i]) - b)),
            Self::Inflate | Self::Impersonate => {
                each(&mut |i, b| b + OPPOSITE * (f64::from(own[i]) - b))
            }
            Self::Ipm => each(&mut |i, b| b + IPM * (mean(i) - b)),
            Self::Alie => each(&mut |i, _| {
                let mean = mean(i);
                let square: f64 = honest.iter().map(|x| (f64::from(x[i]) - mean).powi(2)).sum();
                mean - ALIE * (square / n).sqrt()
            }),
            Self::Gaussian => {
                let square = |x: &&[f32]| -> f64 {
                    x.iter().zip(base).map(|(&x, &b)| f64::from(x - b).powi(2)).sum()
                };
                let norm = honest.iter().map(|x| square(x).sqrt()).sum::<f64>() / n;
                let deviation = NOISE * norm / (base.len() as f64).sqrt();
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                each(&mut |_, b| {
                    let normal: f64 = rng.sample(StandardNormal);
                    b + deviation * normal
                })
            }
        }
    }

    /// The data that attackers train on: with reversed labels for `label-flip`.
    pub fn dataset(self, dataset: &Dataset, attackers: &[Node]) -> Option<Dataset> {
        if self != Self::LabelFlip {
            return None;
        }
        let mut flipped = dataset.clone();
        let last = dataset.classes.len().saturating_sub(1) as u32;
        for &segment in attackers.iter().flat_map(|node| &node.segments) {
            flipped.segments[segment].labels = match &dataset.segments[segment].labels {
                Labels::None => Labels::None,
                Labels::One(label) => Labels::One(last - label),
                Labels::PerRow(labels) => Labels::PerRow(
                    labels.iter().map(|label| label.map(|label| last - label)).collect(),
                ),
            };
        }
        Some(flipped)
    }
}

impl FromStr for Attack {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match Self::ALL.into_iter().find(|attack| attack.name() == text) {
            Some(attack) => Ok(attack),
            None => {
                bail!("unknown attack {text:?}; there are {}", Self::ALL.map(Self::name).join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_what_their_papers_say() {
        let base = [1.0, 1.0];
        let honest: [&[f32]; 2] = [&[2.0, 1.0], &[4.0, 1.0]];
        let forge = |attack: Attack| attack.forge(&base, &[2.0, 1.0], &honest, 7);
        testkit::assert_close("flip", &forge(Attack::SignFlip), &[-9.0, 1.0], 1e-6, 0.0);
        testkit::assert_close("ipm", &forge(Attack::Ipm), &[0.0, 1.0], 0.0, 1e-6);
        // The honest values 2 and 4 have mean 3 and deviation 1.
        testkit::assert_close("alie", &forge(Attack::Alie), &[1.5, 1.0], 1e-6, 0.0);
        assert!(forge(Attack::Nan).iter().all(|v| v.is_nan()));
        assert_eq!(forge(Attack::LabelFlip), [2.0, 1.0]);
        let long = Attack::Gaussian.forge(&[0.0; 1000], &[0.0; 1000], &[&[1.0; 1000]], 7);
        let norm: f64 = long.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        assert!((norm / 1000_f64.sqrt() - 10.0).abs() < 1.0, "{norm}");
        assert!("sign-flop".parse::<Attack>().is_err());
    }

    #[test]
    fn claims_are_what_the_weights_do_not_show() {
        let honest =
            Provenance { node: Some("honest".to_owned()), examples: 20, ..Provenance::default() };
        for attack in Attack::ALL {
            let mut own = Provenance { node: Some("own".to_owned()), ..honest.clone() };
            attack.claim(&mut own, &honest);
            assert_eq!(own.examples > 20, attack == Attack::Inflate, "{}", attack.name());
            assert_eq!(own.node == honest.node, attack == Attack::Impersonate);
            if !attack.is_in_weights() {
                let sent = attack.forge(&[1.0], &[3.0], &[&[5.0]], 7);
                testkit::assert_close(attack.name(), &sent, &[-1.0], 1e-6, 0.0);
            }
        }
    }
}
