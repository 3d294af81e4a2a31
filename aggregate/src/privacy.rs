//! Differential privacy at the center: every update is shortened, and their mean is blurred.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::accountant::{Accountant, adaptive_noise_multiplier, next_clip};
use crate::blocks::Block;

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

/// What must outlive the round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PrivacyState {
    pub(crate) clip_norm: f64,
    pub(crate) accountant: Accountant,
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
    /// [`Error::PrivacyOption`] if one is out of range.
    pub fn validate(&self) -> Result<(), Error> {
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

/// A round of private merging.
#[derive(Debug, Clone)]
pub(crate) struct PrivateRound {
    options: Privacy,
    clip_norm: f64,
    accountant: Accountant,
    key: [u8; 32],
}

impl PrivateRound {
    /// The round after a saved state, or the first one.
    pub(crate) fn new(options: Privacy, saved: Option<PrivacyState>) -> Result<Self, Error> {
        options.validate()?;
        let mut key = [0; 32];
        let (clip_norm, accountant) = match saved {
            Some(state) => (state.clip_norm, state.accountant),
            None => (options.clip_norm, Accountant::default()),
        };
        match options.seed {
            // Another key in each round.
            Some(seed) => {
                key = ChaCha20Rng::seed_from_u64(seed.wrapping_add(accountant.n_rounds())).random();
            }
            None => getrandom::fill(&mut key)
                .map_err(|e| Error::NoRandomness { message: e.to_string() })?,
        }
        let clip_norm = if options.adaptive.is_some() { clip_norm } else { options.clip_norm };
        Ok(Self { options, clip_norm, accountant, key })
    }

    pub(crate) fn clip(&self) -> f64 {
        self.clip_norm
    }

    fn count_noise(&self, n: usize) -> Option<f64> {
        let adaptive = self.options.adaptive?;
        // The paper's twentieth of the updates; of few updates the count must cost less of the
        // noise than there is.
        let default = (n as f64 / 20.0).max(self.options.noise_multiplier);
        Some(adaptive.count_noise.unwrap_or(default))
    }

    fn multiplier(&self, n: usize) -> Result<f64, Error> {
        let z = self.options.noise_multiplier;
        self.count_noise(n).map_or(Ok(z), |noise| adaptive_noise_multiplier(z, noise))
    }

    /// Deviation of the noise on the mean of `n` updates.
    fn deviation(&self, n: usize) -> Result<f64, Error> {
        Ok(self.multiplier(n)? * self.clip_norm / n as f64)
    }

    /// The noise on the mean of `n` updates.
    pub(crate) fn noise(&self, n: usize) -> Noise {
        // `check` has shown that there is one.
        let deviation = self.deviation(n).unwrap_or(f64::NAN);
        Noise { key: self.key, deviation }
    }

    /// Fails if the noise on the count would leave none for the sum.
    pub(crate) fn check(&self, n: usize) -> Result<(), Error> {
        self.deviation(n).map(|_| ())
    }

    /// What is to be kept after a round with these norms, and what is to be said of it.
    pub(crate) fn finish(&self, norms: &[f64]) -> Result<(PrivacyState, PrivacyReport), Error> {
        let n = norms.len();
        let mut accountant = self.accountant.clone();
        accountant.record(self.options.sampling_rate, self.options.noise_multiplier)?;
        let mut clip_norm = self.clip_norm;
        if let (Some(adaptive), Some(deviation)) = (self.options.adaptive, self.count_noise(n)) {
            let count = norms.iter().filter(|&&norm| norm <= clip_norm).count() as f64;
            let mut rng = ChaCha20Rng::from_seed(self.key);
            rng.set_stream(u64::MAX);
            let normal: f64 = rng.sample(StandardNormal);
            let share = (count + deviation * normal) / n as f64;
            clip_norm = next_clip(clip_norm, share, adaptive.quantile, adaptive.rate);
        }
        let report = PrivacyReport {
            epsilon: accountant.epsilon(self.options.delta)?,
            delta: self.options.delta,
            rounds: accountant.n_rounds(),
            clip_norm: self.clip_norm,
            noise_std: self.deviation(n)?,
        };
        Ok((PrivacyState { clip_norm, accountant }, report))
    }
}

/// Gaussian noise, a function of a secret key and the place.
#[derive(Clone)]
pub(crate) struct Noise {
    key: [u8; 32],
    deviation: f64,
}

impl std::fmt::Debug for Noise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the key.
        f.debug_struct("Noise").field("deviation", &self.deviation).finish_non_exhaustive()
    }
}

impl Noise {
    /// Adds the noise of a block; `number` is that of the block, each of which has its own stream.
    pub(crate) fn add(&self, block: Block, values: &mut [f64]) {
        let mut rng = ChaCha20Rng::from_seed(self.key);
        rng.set_stream(((block.tensor as u64) << 40) ^ block.start as u64);
        for value in values {
            let normal: f64 = rng.sample(StandardNormal);
            *value += self.deviation * normal;
        }
    }
}
