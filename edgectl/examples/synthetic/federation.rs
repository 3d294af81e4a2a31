//! Rounds of a federation: who is chosen, what a node does, what the center makes of it.

use aggregate::{Reducer, ServerStep};
use edgectl::federation::Attack;
use optim::{Optimizer, SgdConfig, control_variate, control_variate_update, proximal};
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::center::{Global, Models};
use crate::data::{DEVICES, Device, Samples, stream};
use crate::model::{CLASSES, PARAMS, correct, gradient};

/// Devices that are chosen in a round.
const CHOSEN: usize = 10;

/// Epochs of a device that is no straggler.
const EPOCHS: u32 = 20;

/// Samples of a gradient.
const BATCH: usize = 10;

/// Learning rate of the nodes.
const LR: f32 = 0.01;

/// Attackers among the chosen devices, if there are attackers.
const ATTACKERS: usize = 2;

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
    /// Updates that are averaged before they are reduced.
    pub(crate) bucket: Option<usize>,
    /// What two of the chosen devices do instead.
    pub(crate) attack: Option<Attack>,
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
pub(crate) struct Center {
    /// How updates become one.
    pub(crate) reduce: Reducer,
    /// How the center moves.
    pub(crate) server: ServerStep,
    /// Whether devices correct their gradients by control variates.
    pub(crate) scaffold: bool,
}

impl Center {
    /// The mean, weighted by the devices' numbers of samples, as the new model.
    pub(crate) const MEAN: Self =
        Self { reduce: Reducer::Mean, server: ServerStep::Replace, scaffold: false };
}

/// What a device hands in.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) model: Vec<f32>,
    pub(crate) n_samples: usize,
    /// Local steps.
    pub(crate) steps: u64,
    /// The center's control variate plus the change of the device's own.
    pub(crate) control: Vec<f32>,
}

/// Pooled test accuracy of all devices, the mean of the last rounds.
///
/// # Errors
/// If a file cannot be written or merged.
pub(crate) fn accuracy(
    method: &Method,
    devices: &[Device],
    seed: u64,
    n_rounds: u64,
) -> anyhow::Result<f64> {
    let mut models = Models::new(method.center)?;
    let mut controls = vec![vec![0.0; PARAMS]; DEVICES];
    let mut sum = 0.0;
    let measured = MEASURED.min(n_rounds);
    for round in 1..=n_rounds {
        let Global { model, control } = models.global()?;
        let attackers = method.attack.map_or(0, |_| ATTACKERS);
        let chosen = work(method.stragglers, seed, round);
        let n_honest = chosen.len() - attackers;
        let mut updates: Vec<Update> = chosen
            .into_iter()
            .enumerate()
            .map(|(place, (device, epochs))| {
                let mut train = &devices[device].train;
                let flipped = (method.attack == Some(Attack::LabelFlip) && place >= n_honest)
                    .then(|| flipped(train));
                train = flipped.as_ref().unwrap_or(train);
                let order = &mut stream(seed, round, device);
                let own = &mut controls[device];
                let terms = Terms {
                    start: &model,
                    mu: method.mu,
                    control: method.center.scaffold.then_some([&control, own]),
                };
                let (result, steps) = node(&terms, train, epochs, order)?;
                let mut control = control.clone();
                if method.center.scaffold {
                    let before = own.clone();
                    control_variate_update(own, &control, &model, &result, steps, LR);
                    for (c, (new, old)) in control.iter_mut().zip(own.iter().zip(&before)) {
                        *c += new - old;
                    }
                }
                Ok(Update { model: result, n_samples: train.classes.len(), steps, control })
            })
            .collect::<anyhow::Result<_>>()?;
        if let Some(attack) = method.attack {
            let (honest, harmful) = updates.split_at_mut(n_honest);
            let honest: Vec<&[f32]> = honest.iter().map(|u| u.model.as_slice()).collect();
            for (number, update) in harmful.iter_mut().enumerate() {
                let seed = (seed << 32) ^ (round << 8) ^ number as u64;
                update.model = attack.forge(&model, &update.model, &honest, seed);
            }
        }
        models.merge(method, &updates, round)?;
        if round > n_rounds - measured {
            sum += pooled_accuracy(&models.global()?.model, devices);
        }
    }
    Ok(sum / measured as f64)
}

/// The samples with their classes in reverse order.
fn flipped(train: &Samples) -> Samples {
    let classes = train.classes.iter().map(|class| CLASSES - 1 - class).collect();
    Samples { inputs: train.inputs.clone(), classes }
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

/// What a method adds to the gradient of a device.
struct Terms<'a> {
    /// The round's model.
    start: &'a [f32],
    mu: f32,
    /// Control variates of the center and of the device.
    control: Option<[&'a Vec<f32>; 2]>,
}

/// Trains from the round's model on a device's samples; the model, and how many steps it took.
fn node(
    terms: &Terms<'_>,
    train: &Samples,
    epochs: u32,
    rng: &mut impl rand::Rng,
) -> anyhow::Result<(Vec<f32>, u64)> {
    let mut sgd = SgdConfig::default().build(PARAMS)?;
    let mut model = terms.start.to_vec();
    let mut grads = vec![0.0; PARAMS];
    let mut order: Vec<usize> = (0..train.classes.len()).collect();
    let mut steps = 0;
    for _ in 0..epochs {
        order.shuffle(rng);
        for batch in order.chunks(BATCH) {
            gradient(&mut grads, &model, train, batch);
            proximal(&mut grads, &model, terms.start, terms.mu);
            if let Some([center, own]) = terms.control {
                control_variate(&mut grads, center, own);
            }
            sgd.step(&mut model, &grads, LR);
            steps += 1;
        }
    }
    Ok((model, steps))
}

/// Share of all devices' test samples that the model puts in their class.
fn pooled_accuracy(model: &[f32], devices: &[Device]) -> f64 {
    let hits: usize = devices.iter().map(|d| correct(model, &d.test)).sum();
    let n: usize = devices.iter().map(|d| d.test.classes.len()).sum();
    hits as f64 / n as f64
}
