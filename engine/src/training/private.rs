//! Private training: the key of its randomness, and gradients window by window.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aggregate::Sidecar;
use anyhow::Context;
use attn_core::Workspace;
use optim::{PrivateConfig, PrivateSum};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::windows::WindowBuffer;

/// Sums that are made side by side; a constant, so that the order of additions is always the same.
const N_LANES: usize = 16;

/// The key of which windows a step takes and of its noise. Who knows it can undo both.
pub(super) struct NoiseKey([u8; 32]);

impl NoiseKey {
    /// A key from a seed, for experiments: the same for the same seed.
    pub(super) fn seeded(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed).random())
    }

    /// A key from the system's secret numbers. Beside the state of a run that may go on it is kept
    /// in a file that only its owner can read; a run that goes on takes it from there. Without the
    /// file it takes a new one: no less private, only not the same numbers.
    pub(super) fn secret(state: Option<&Path>, resume: bool) -> anyhow::Result<Self> {
        let path = state.map(key_path);
        if let Some(path) = path.as_deref().filter(|path| resume && path.exists()) {
            let (_, note) = KEY.open::<Note>(path).context("remove it to go on with a new key")?;
            return Ok(Self(note.key));
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("the system gives no secret numbers")?;
        if let Some(path) = path {
            KEY.write_secret(&path, &Note { key }, &[])?;
        }
        Ok(Self(key))
    }

    /// Removes the key of a run that is over.
    pub(super) fn forget(state: &Path) -> anyhow::Result<()> {
        let path = key_path(state);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{}: cannot remove", path.display()))
            }
            _ => Ok(()),
        }
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

/// `STATE.key`, which only its owner can read.
const KEY: Sidecar = Sidecar::new("key", 1);

#[derive(Serialize, Deserialize)]
struct Note {
    key: [u8; 32],
}

/// `STATE.key`: the key of a private run that may go on, beside its state.
pub fn key_path(state: &Path) -> PathBuf {
    KEY.path(state)
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
        gradient: impl Fn(usize, &mut Lane) -> anyhow::Result<Step> + Sync,
    ) -> anyhow::Result<Step> {
        let per_lane = windows.len().div_ceil(N_LANES).max(1);
        self.0.iter_mut().for_each(|lane| lane.sum.clear());
        let steps: Vec<Step> = self
            .0
            .par_iter_mut()
            .zip(windows.par_chunks(per_lane))
            .map(|(lane, windows)| {
                let mut total = Step::default();
                for &window in windows {
                    let step = gradient(window, lane)?;
                    lane.sum.add(&lane.grads, options);
                    total.add(step);
                }
                Ok(total)
            })
            .collect::<anyhow::Result<_>>()?;
        let Some((first, others)) = self.0.split_first_mut() else { unreachable!("lanes") };
        for lane in others {
            first.sum.merge(&lane.sum);
        }
        grads.copy_from_slice(first.sum.finish(options, n_expected, noise));
        let mut total = Step::default();
        for step in steps {
            total.add(step);
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_is_taken_as_often_as_the_rate_says() {
        let key = NoiseKey::seeded(1);
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
    fn keys_are_secret_kept_and_forgotten() {
        assert_eq!(NoiseKey::seeded(3).0, NoiseKey::seeded(3).0);
        assert_ne!(NoiseKey::seeded(3).0, NoiseKey::seeded(4).0);
        let secret = |state, resume| NoiseKey::secret(state, resume).expect("a key").0;
        assert_ne!(secret(None, false), secret(None, false));

        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("m.state");
        let first = secret(Some(&state), false);
        assert_eq!(secret(Some(&state), true), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(key_path(&state)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o077, 0, "others can read the key");
        }
        assert_ne!(secret(Some(&state), false), first, "another run");
        NoiseKey::forget(&state).expect("removed");
        NoiseKey::forget(&state).expect("removed before");
        assert!(!key_path(&state).exists());
        fs::write(key_path(&state), b"short").expect("written");
        assert!(NoiseKey::secret(Some(&state), true).is_err());
    }

    #[test]
    fn noise_is_normal_and_of_its_step() {
        let key = NoiseKey::seeded(7);
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
