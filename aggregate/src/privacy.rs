//! Differential privacy at the center: every update is shortened, and their mean is blurred.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Options of `DP-FedAvg`: the mean of equal weights of changes that are clipped to a norm, with
/// Gaussian noise.
///
/// ```text
/// base + (1/m) Σ Δ_i·min(1, C/‖Δ_i‖) + N(0, (z·C/m)²)       of m updates
/// ```
/// `McMahan` et al., <https://arxiv.org/abs/1710.06963>. What is protected is that a node took part
/// at all. Weights of updates do not count, their norms are not reported, and none is rejected for
/// its norm: all of that would tell of single nodes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// The norm that changes are clipped to, above 0; in the first round, if it adapts.
    pub clip_norm: f64,
    /// `z`: deviation of the noise on the sum, in units of the norm, above 0.
    pub noise_multiplier: f64,
    /// Probability of each node to be in a round, above 0 and at most 1.
    #[serde(default = "one")]
    pub sampling_rate: f64,
    /// The `δ` for which the report states `ε`, above 0 and below 1.
    #[serde(default = "default_delta")]
    pub delta: f64,
    /// How the norm follows the updates, if it does.
    #[serde(default)]
    pub adaptive: Option<AdaptiveClip>,
    /// A seed instead of the system's secret numbers, for experiments: who knows it can take the
    /// noise off.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// A norm that moves to a quantile of the updates' norms: `C ← C·exp(−rate·(b − quantile))`, with
/// `b` the blurred share of norms that are at most `C`.
///
/// Andrew et al., <https://arxiv.org/abs/1905.03871>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveClip {
    /// Share of updates that are not shortened in the end.
    pub quantile: f64,
    /// How fast the norm moves.
    pub rate: f64,
    /// Deviation of the noise on the count, above half the noise multiplier; a twentieth of the
    /// updates if left out, and at least the noise multiplier.
    pub count_noise: Option<f64>,
}

impl Default for AdaptiveClip {
    fn default() -> Self {
        Self { quantile: 0.5, rate: 0.2, count_noise: None }
    }
}

fn one() -> f64 {
    1.0
}

fn default_delta() -> f64 {
    1e-5
}

/// What a report says of the privacy of all rounds so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PrivacyReport {
    /// Every node is `(ε, δ)`-private, by an accountant of Rényi divergences.
    pub epsilon: f64,
    /// As asked for.
    pub delta: f64,
    /// Rounds that were counted, this one included.
    pub rounds: u64,
    /// The norm of this round.
    pub clip_norm: f64,
    /// Deviation of the noise on each value of the mean.
    pub noise_std: f64,
}

impl Privacy {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::PrivacyOption`] if one is out of range, [`Error::Feature`] without the feature
    /// `privacy`.
    pub fn validate(&self) -> Result<(), Error> {
        if !cfg!(feature = "privacy") {
            return Err(Error::Feature { option: "private merging", feature: "privacy" });
        }
        let check = |option, value: f64, holds, expected| {
            if holds { Ok(()) } else { Err(Error::PrivacyOption { option, value, expected }) }
        };
        let above_0 = |option, v: f64| check(option, v, v.is_finite() && v > 0.0, "above 0");
        above_0("clip_norm", self.clip_norm)?;
        above_0("noise_multiplier", self.noise_multiplier)?;
        let (rate, delta) = (self.sampling_rate, self.delta);
        check("sampling_rate", rate, rate > 0.0 && rate <= 1.0, "above 0 and at most 1")?;
        check("delta", delta, delta > 0.0 && delta < 1.0, "above 0 and below 1")?;
        if let Some(AdaptiveClip { quantile, rate, count_noise }) = self.adaptive {
            check("quantile", quantile, (0.0..=1.0).contains(&quantile), "0 to 1")?;
            above_0("rate", rate)?;
            count_noise.map_or(Ok(()), |noise| above_0("count_noise", noise))?;
        }
        Ok(())
    }
}
