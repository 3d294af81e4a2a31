//! The data of a federation: 30 devices, 60 features, 10 classes.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, StandardNormal};

use crate::model::{CLASSES, FEATURES, WIDTH};

/// Devices of a federation.
pub(crate) const DEVICES: usize = 30;

/// Most samples a device can have.
const MAX_SAMPLES: usize = 5000;

/// Which federation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// synthetic(1,1): every device has its own features and its own truth.
    Heterogeneous,
    /// synthetic-iid: all devices share features and truth, only their sizes differ.
    Iid,
}

impl Column {
    /// The name in the literature.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Heterogeneous => "synthetic(1,1)",
            Self::Iid => "synthetic-iid",
        }
    }
}

/// Samples and their classes.
#[derive(Debug)]
pub(crate) struct Samples {
    /// A row per sample: [`FEATURES`] numbers, a one for the bias, zeros up to [`WIDTH`].
    pub(crate) inputs: Vec<[f32; WIDTH]>,
    /// A class per sample.
    pub(crate) classes: Vec<usize>,
}

/// What one device has.
#[derive(Debug)]
pub(crate) struct Device {
    /// Nine tenths of its samples.
    pub(crate) train: Samples,
    /// The others.
    pub(crate) test: Samples,
}

/// The generator for a purpose: a stream of its own for each round and device of a data seed.
pub(crate) fn stream(seed: u64, round: u64, device: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((round << 32) | device as u64);
    rng
}

/// The devices of a federation.
///
/// # Errors
/// None that can happen: the distributions' constants are in range.
pub(crate) fn devices(column: Column, seed: u64) -> anyhow::Result<Vec<Device>> {
    let shared = Source::shared(&mut stream(seed, 0, DEVICES));
    let sizes = LogNormal::new(4.0, 2.0)?;
    Ok((0..DEVICES)
        .map(|device| {
            let mut rng = stream(seed, 0, device);
            let size: f64 = sizes.sample(&mut rng);
            let size = (size.min(MAX_SAMPLES as f64) as usize + 50).min(MAX_SAMPLES);
            match column {
                Column::Heterogeneous => Source::own(&mut rng).device(size, &mut rng),
                Column::Iid => shared.device(size, &mut rng),
            }
        })
        .collect())
}

/// The truth a device draws its samples from.
#[derive(Debug)]
struct Source {
    weights: [[f64; FEATURES]; CLASSES],
    biases: [f64; CLASSES],
    means: [f64; FEATURES],
}

impl Source {
    /// `W, b ~ N(0, 1)` and features around zero.
    fn shared(rng: &mut ChaCha8Rng) -> Self {
        Self { weights: weights(rng, 0.0), biases: normals(rng, 0.0), means: [0.0; FEATURES] }
    }

    /// Of synthetic(1,1): `u, B ~ N(0, 1)`, then `W, b ~ N(u, 1)` and features around
    /// `v ~ N(B, 1)`.
    fn own(rng: &mut ChaCha8Rng) -> Self {
        let [u, b] = normals(rng, 0.0);
        Self { weights: weights(rng, u), biases: normals(rng, u), means: normals(rng, b) }
    }

    /// A device with that many samples, split after shuffling.
    fn device(&self, size: usize, rng: &mut ChaCha8Rng) -> Device {
        let mut samples: Vec<_> = (0..size).map(|_| self.sample(rng)).collect();
        samples.shuffle(rng);
        let test = samples.split_off(size * 9 / 10);
        Device { train: unzip(samples), test: unzip(test) }
    }

    /// `x ~ N(v, diag(j^-1.2))` and its class, the largest of `W·x + b`.
    fn sample(&self, rng: &mut ChaCha8Rng) -> ([f32; WIDTH], usize) {
        let mut x = normals::<FEATURES>(rng, 0.0);
        for (j, (x, mean)) in x.iter_mut().zip(&self.means).enumerate() {
            *x = mean + *x * ((j + 1) as f64).powf(-0.6);
        }
        let (mut class, mut highest) = (0, f64::NEG_INFINITY);
        for (i, (row, bias)) in self.weights.iter().zip(&self.biases).enumerate() {
            let logit = row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>() + bias;
            if logit > highest {
                (class, highest) = (i, logit);
            }
        }
        let mut input = [0.0; WIDTH];
        for (to, from) in input.iter_mut().zip(x) {
            *to = from as f32;
        }
        input[FEATURES] = 1.0;
        (input, class)
    }
}

/// A matrix of numbers from `N(mean, 1)`.
fn weights(rng: &mut ChaCha8Rng, mean: f64) -> [[f64; FEATURES]; CLASSES] {
    std::array::from_fn(|_| normals(rng, mean))
}

/// Numbers from `N(mean, 1)`.
fn normals<const N: usize>(rng: &mut ChaCha8Rng, mean: f64) -> [f64; N] {
    std::array::from_fn(|_| {
        let z: f64 = StandardNormal.sample(rng);
        mean + z
    })
}

/// Inputs and classes apart.
fn unzip(samples: Vec<([f32; WIDTH], usize)>) -> Samples {
    let (inputs, classes) = samples.into_iter().unzip();
    Samples { inputs, classes }
}
