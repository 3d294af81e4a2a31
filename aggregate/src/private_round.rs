//! A round of private merging: the noise, and what it costs.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use crate::accountant::{Accountant, adaptive_noise_multiplier, next_clip};
use crate::blocks::Block;
use crate::{Error, Privacy, PrivacyReport};

/// What must outlive the round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PrivacyState {
    pub(crate) clip_norm: f64,
    pub(crate) accountant: Accountant,
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
    /// Adds the noise of a block, each of which has its own stream.
    pub(crate) fn add(&self, block: Block, values: &mut [f64]) {
        let mut rng = ChaCha20Rng::from_seed(self.key);
        rng.set_stream(((block.tensor as u64) << 40) ^ block.start as u64);
        for value in values {
            let normal: f64 = rng.sample(StandardNormal);
            *value += self.deviation * normal;
        }
    }
}
