//! Rounds of a federation: who is chosen, what a node does, what the center makes of it.

use optim::{Optimizer, SgdConfig, proximal};
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::data::{DEVICES, Device, Samples, stream};
use crate::model::{PARAMS, correct, gradient};

/// Devices that are chosen in a round.
const CHOSEN: usize = 10;

/// Epochs of a device that is no straggler.
const EPOCHS: u32 = 20;

/// Samples of a gradient.
const BATCH: usize = 10;

/// Learning rate of the nodes.
const LR: f32 = 0.01;

/// Last rounds whose accuracy is averaged.
const MEASURED: u64 = 50;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Method {
    /// What the row is called.
    pub(crate) name: &'static str,
    /// What happens to the chosen devices that are slow.
    pub(crate) stragglers: Stragglers,
    /// Strength of `FedProx`'s pull to the round's model.
    pub(crate) mu: f32,
    /// What the center makes of the updates.
    pub(crate) center: Center,
}

/// What happens to slow devices; the number is how many of the chosen ten are slow.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stragglers {
    /// Nobody is slow.
    None,
    /// They are left out of the mean.
    Dropped(usize),
    /// They hand in what they have after 1 to 20 epochs, uniformly.
    Partial(usize),
}

/// How the center makes the next model.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Center {
    /// The mean, weighted by the devices' numbers of samples.
    Mean,
}

impl Center {
    /// Replaces the global model.
    fn step(self, model: &mut [f32], updates: &[Update]) {
        match self {
            Self::Mean => mean(model, updates),
        }
    }
}

/// What a device hands in.
#[derive(Debug)]
struct Update {
    model: Vec<f32>,
    n_samples: usize,
}

/// Pooled test accuracy of all devices, the mean of the last rounds.
///
/// # Errors
/// None that can happen: the optimizer's options are in range.
pub(crate) fn accuracy(
    method: &Method,
    devices: &[Device],
    seed: u64,
    n_rounds: u64,
) -> anyhow::Result<f64> {
    let mut model = vec![0.0; PARAMS];
    let mut sum = 0.0;
    let measured = MEASURED.min(n_rounds);
    for round in 1..=n_rounds {
        let updates: Vec<Update> = work(method.stragglers, seed, round)
            .into_iter()
            .map(|(device, epochs)| {
                let train = &devices[device].train;
                let order = &mut stream(seed, round, device);
                let model = node(&model, train, epochs, method.mu, order)?;
                Ok(Update { model, n_samples: train.classes.len() })
            })
            .collect::<anyhow::Result<_>>()?;
        method.center.step(&mut model, &updates);
        if round > n_rounds - measured {
            sum += pooled_accuracy(&model, devices);
        }
    }
    Ok(sum / measured as f64)
}

/// The devices that hand in an update in a round, and their epochs.
///
/// All methods see the same choice, the same stragglers and the same epochs: a function of the data
/// seed and the round.
fn work(stragglers: Stragglers, seed: u64, round: u64) -> Vec<(usize, u32)> {
    let rng = &mut stream(seed, round, DEVICES);
    let mut all: Vec<usize> = (0..DEVICES).collect();
    let (chosen, _) = all.partial_shuffle(rng, CHOSEN);
    let partial: Vec<u32> = chosen.iter().map(|_| rng.random_range(1..=EPOCHS)).collect();
    // The chosen come in random order: the first are the slow ones.
    let devices = chosen.iter().zip(partial).enumerate();
    devices
        .filter_map(|(i, (&device, partial))| match stragglers {
            Stragglers::Dropped(n) if i < n => None,
            Stragglers::Partial(n) if i < n => Some((device, partial)),
            _ => Some((device, EPOCHS)),
        })
        .collect()
}

/// Trains from the round's model on a device's samples.
fn node(
    start: &[f32],
    train: &Samples,
    epochs: u32,
    mu: f32,
    rng: &mut impl rand::Rng,
) -> anyhow::Result<Vec<f32>> {
    let mut sgd = SgdConfig::default().build(PARAMS)?;
    let mut model = start.to_vec();
    let mut grads = vec![0.0; PARAMS];
    let mut order: Vec<usize> = (0..train.classes.len()).collect();
    for _ in 0..epochs {
        order.shuffle(rng);
        for batch in order.chunks(BATCH) {
            gradient(&mut grads, &model, train, batch);
            proximal(&mut grads, &model, start, mu);
            sgd.step(&mut model, &grads, LR);
        }
    }
    Ok(model)
}

/// `Σ n_k·x_k / Σ n_k`, summed in f64 in the order of the updates.
fn mean(model: &mut [f32], updates: &[Update]) {
    let total: f64 = updates.iter().map(|u| u.n_samples as f64).sum();
    for (i, x) in model.iter_mut().enumerate() {
        let sum: f64 = updates.iter().map(|u| u.n_samples as f64 * f64::from(u.model[i])).sum();
        *x = (sum / total) as f32;
    }
}

/// Share of all devices' test samples that the model puts in their class.
fn pooled_accuracy(model: &[f32], devices: &[Device]) -> f64 {
    let hits: usize = devices.iter().map(|d| correct(model, &d.test)).sum();
    let n: usize = devices.iter().map(|d| d.test.classes.len()).sum();
    hits as f64 / n as f64
}
