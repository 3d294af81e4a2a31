//! A learning rate for users without a recipe: the range test.
//!
//! The rate grows by the same factor at every step from [`LOWEST`] to [`HIGHEST`], and the loss says
//! where it helps and where it harms. Smith, <https://arxiv.org/abs/1506.01186>.

use std::time::{Duration, Instant};

use anyhow::ensure;
use optim::ParamGroups;
use serde::{Deserialize, Serialize};

use super::gradient::{Draws, Gradients};
use super::mix;
use super::run::shuffle;
use crate::checkpoint::Checkpoint;
use crate::windows::WindowSet;

const LOWEST: f64 = 1e-6;
const HIGHEST: f64 = 10.0;

/// Steps of a test.
const STEPS: u32 = 140;

/// Fewest steps that say anything: the rate is then still below any that harms.
const FEWEST: usize = 20;

/// Most time a test takes.
const MOST_TIME: Duration = Duration::from_secs(30);

/// Weight of the past in the running mean of the loss.
const SMOOTHING: f64 = 0.9;

/// A loss so many times the best one ends the test.
const DIVERGED: f64 = 2.0;

/// The rate is so many times smaller than the one with the least loss: there the loss is about to
/// rise, and a run is longer than a test.
const MARGIN: f64 = 10.0;

/// What a range test found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RangeTest {
    /// The learning rate to train with.
    pub lr: f32,
    /// The rate at which the loss was least.
    pub best_lr: f64,
    /// The loss before the first step, and the least running mean of it.
    pub first_loss: f64,
    /// The least running mean of the loss.
    pub best_loss: f64,
    /// Steps taken.
    pub steps: u32,
}

/// Tests learning rates on training windows, from the start of the run; nothing of it is kept.
///
/// # Errors
/// If the loss is not finite from the first step on, or no time was left for enough steps.
pub(super) fn range_test(
    start: &Checkpoint,
    set: &WindowSet<'_>,
    groups: &ParamGroups,
    threads: usize,
    seed: u64,
) -> anyhow::Result<RangeTest> {
    let config = &start.meta.train;
    let began = Instant::now();
    let mut gradients = Gradients::new(start, set, groups, threads);
    let mut optimizer = config.optimizer.build_for(groups)?;
    optimizer.set_threads(threads);
    let mut params = start.params.clone();
    let n = set.windows().len();
    let per_step = config.batch * config.accumulate as usize;
    let mut order = Vec::new();
    let mut next = 0;
    let mut curve = Vec::new();
    for step in 0..STEPS {
        if began.elapsed() > MOST_TIME {
            break;
        }
        if next >= order.len() {
            shuffle(&mut order, n, mix(seed, u64::from(step)));
            next = 0;
        }
        let windows = &order[next..(next + per_step).min(n)];
        next += windows.len();
        let draws = Draws {
            augment: mix(seed, u64::from(STEPS + step)),
            dropout: mix(seed, u64::from(2 * STEPS + step)),
        };
        let (stats, norm, grads) = gradients.of_step(&params, windows, draws)?;
        if !(stats.loss.is_finite() && norm.is_finite()) {
            break;
        }
        let lr = rate(step);
        if !curve.is_empty() && diverged(&curve, stats.loss) {
            break;
        }
        curve.push((lr, stats.loss));
        optimizer.step(&mut params, grads, lr as f32);
    }
    ensure!(
        curve.len() >= FEWEST,
        "the learning-rate test ended after {} steps: the loss is not finite or a step takes too long; give a number: --lr 1e-3",
        curve.len()
    );
    Ok(choose(&curve))
}

/// The rate of a step.
fn rate(step: u32) -> f64 {
    LOWEST * (HIGHEST / LOWEST).powf(f64::from(step) / f64::from(STEPS - 1))
}

/// Whether a loss is far above the least running mean so far.
fn diverged(curve: &[(f64, f64)], loss: f64) -> bool {
    let best = smooth(curve).fold(f64::INFINITY, |best, (_, loss)| best.min(loss));
    loss > DIVERGED * best.max(1e-3) && loss > DIVERGED * curve[0].1
}

/// The curve with the running mean of the loss, corrected for its start.
fn smooth(curve: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let (mut mean, mut weight) = (0.0, 0.0);
    curve.iter().map(move |&(lr, loss)| {
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss;
        weight = SMOOTHING * weight + 1.0 - SMOOTHING;
        (lr, mean / weight)
    })
}

fn choose(curve: &[(f64, f64)]) -> RangeTest {
    let (best_lr, best_loss) = smooth(curve)
        .skip(FEWEST / 2)
        .fold((LOWEST, f64::INFINITY), |best, point| if point.1 < best.1 { point } else { best });
    RangeTest {
        lr: round(best_lr / MARGIN),
        best_lr,
        first_loss: curve[0].1,
        best_loss,
        steps: curve.len() as u32,
    }
}

/// To two digits: more would promise what a test does not know.
fn round(lr: f64) -> f32 {
    let scale = 10.0_f64.powf(1.0 - lr.log10().floor());
    ((lr * scale).round() / scale) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_below_the_valley_of_the_loss() {
        // A valley at 1e-2.
        let curve: Vec<(f64, f64)> =
            (0..STEPS).map(|step| (rate(step), 1.0 + (rate(step).log10() + 2.0).powi(2))).collect();
        let found = choose(&curve);
        // The running mean lags behind.
        assert!((1e-3..1e-2).contains(&f64::from(found.lr)), "{found:?}");
        assert!(found.best_loss < 2.0 && found.first_loss > 16.0);
    }

    #[test]
    fn rates_have_two_digits() {
        for (lr, rounded) in [(0.001_234, 0.0012), (9.96e-5, 1e-4), (0.25, 0.25)] {
            assert!((round(lr) - rounded).abs() <= 1e-6 * rounded, "{lr}: {}", round(lr));
        }
    }
}
