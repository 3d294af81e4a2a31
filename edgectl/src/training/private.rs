//! Private training: the key of its randomness, and gradients window by window.

use anyhow::Context;
use attn_core::{StepStats, Workspace};
use optim::{PrivateConfig, PrivateSum};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use serde::Serialize;

use crate::windows::WindowBuffer;

/// Sums that are made side by side; a constant, so that the order of additions is always the same.
const N_LANES: usize = 16;

/// What an accountant of privacy needs to know of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrivateReport {
    /// Probability of each window to be in a step.
    pub sampling_rate: f64,
    /// Steps taken, early ones before a resume included.
    pub steps: u64,
    /// Longest gradient of one window.
    pub clip_norm: f32,
    /// Deviation of the noise on the sum, in units of `clip_norm`.
    pub noise_multiplier: f32,
}

/// The key of which windows a step takes and of its noise. Who knows it can undo both.
pub(super) struct NoiseKey([u8; 32]);

impl NoiseKey {
    /// A key from the system's secret numbers, or for experiments from a seed.
    pub(super) fn draw(seed: Option<u64>) -> anyhow::Result<[u8; 32]> {
        let mut key = [0; 32];
        match seed {
            Some(seed) => key = ChaCha20Rng::seed_from_u64(seed).random(),
            None => getrandom::fill(&mut key).context("the system gives no secret numbers")?,
        }
        Ok(key)
    }

    pub(super) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The windows of a step: each of `n` with the same probability, independently.
    pub(super) fn sample(&self, step: u64, n: usize, rate: f64, windows: &mut Vec<usize>) {
        let mut rng = self.stream(2 * step);
        windows.clear();
        windows.extend((0..n).filter(|_| rng.random_bool(rate)));
    }

    /// Draws of the standard normal distribution for a step.
    pub(super) fn noise(&self, step: u64) -> impl FnMut() -> f32 {
        let mut rng = self.stream(2 * step + 1);
        move || rng.sample(StandardNormal)
    }

    fn stream(&self, number: u64) -> ChaCha20Rng {
        let mut rng = ChaCha20Rng::from_seed(self.0);
        rng.set_stream(number);
        rng
    }
}

/// Buffers for gradients of single windows.
pub(super) struct Lane {
    pub(super) workspace: Workspace,
    pub(super) buffer: WindowBuffer,
    pub(super) grads: Vec<f32>,
    sum: PrivateSum,
}

/// As many lanes as work side by side.
pub(super) struct PrivateLanes(Vec<Lane>);

impl PrivateLanes {
    pub(super) fn new(n_params: usize) -> Self {
        let lane = || Lane {
            workspace: Workspace::new(1),
            buffer: WindowBuffer::default(),
            grads: vec![0.0; n_params],
            sum: PrivateSum::new(n_params),
        };
        Self((0..N_LANES).map(|_| lane()).collect())
    }

    /// The blurred mean of the windows' clipped gradients; `gradient` leaves that of one window in
    /// the lane.
    pub(super) fn gradient(
        &mut self,
        windows: &[usize],
        options: PrivateConfig,
        n_expected: f64,
        noise: &mut impl FnMut() -> f32,
        grads: &mut [f32],
        gradient: impl Fn(usize, &mut Lane) -> anyhow::Result<StepStats> + Sync,
    ) -> anyhow::Result<StepStats> {
        let per_lane = windows.len().div_ceil(N_LANES).max(1);
        self.0.iter_mut().for_each(|lane| lane.sum.clear());
        let stats: Vec<StepStats> = self
            .0
            .par_iter_mut()
            .zip(windows.par_chunks(per_lane))
            .map(|(lane, windows)| {
                let mut total = StepStats { loss: 0.0, correct: 0 };
                for &window in windows {
                    let stats = gradient(window, lane)?;
                    lane.sum.add(&lane.grads, options);
                    total.loss += stats.loss;
                    total.correct += stats.correct;
                }
                Ok(total)
            })
            .collect::<anyhow::Result<_>>()?;
        let Some((first, others)) = self.0.split_first_mut() else { unreachable!("lanes") };
        for lane in others {
            first.sum.merge(&lane.sum);
        }
        grads.copy_from_slice(first.sum.finish(options, n_expected, noise));
        let n = windows.len().max(1) as f64;
        Ok(StepStats {
            loss: stats.iter().map(|s| s.loss).sum::<f64>() / n,
            correct: stats.iter().map(|s| s.correct).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_is_taken_as_often_as_the_rate_says() {
        let key = NoiseKey::new(NoiseKey::draw(Some(1)).expect("a key"));
        let mut windows = Vec::new();
        let mut taken = [0_u32; 50];
        for step in 0..2000 {
            key.sample(step, 50, 0.2, &mut windows);
            for &window in &windows {
                taken[window] += 1;
            }
        }
        // 400 expected, with a deviation of 18.
        assert!(taken.iter().all(|n| (310..490).contains(n)), "{taken:?}");
    }

    #[test]
    fn keys_are_secret_unless_seeded() {
        let draw = |seed| NoiseKey::draw(seed).expect("a key");
        assert_eq!(draw(Some(3)), draw(Some(3)));
        assert_ne!(draw(Some(3)), draw(Some(4)));
        assert_ne!(draw(None), draw(None));
    }

    #[test]
    fn noise_is_normal_and_of_its_step() {
        let key = NoiseKey::new(NoiseKey::draw(Some(7)).expect("a key"));
        let draws = |step| -> Vec<f32> {
            let mut noise = key.noise(step);
            (0..20_000).map(|_| noise()).collect()
        };
        let a = draws(0);
        let mean = a.iter().sum::<f32>() / a.len() as f32;
        let variance = a.iter().map(|v| v * v).sum::<f32>() / a.len() as f32;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean}, {variance}");
        assert_eq!(a, draws(0));
        assert_ne!(a, draws(1));
    }
}
