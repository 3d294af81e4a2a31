//! A learning rate for users without a recipe: a range test on the node's own training rows.
//!
//! Every rate of a grid makes a short run from the same start; the one after which the loss over the
//! same windows, without dropout, is least is taken. After Smith, <https://arxiv.org/abs/1506.01186>,
//! whose rate grows within one run: where data is scarce, as on a node, the noise of single batches
//! hides what that curve says.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use optim::ParamGroups;
use serde::{Deserialize, Serialize};

use super::gradient::{Draws, Gradients};
use super::run::shuffle;
use super::{TrainOptions, mix};
use crate::checkpoint::Checkpoint;
use crate::windows::WindowSet;

/// The lowest rate; each is `√10` times the one before.
const LOWEST: f64 = 1e-5;

/// Rates of the grid; the highest is 10.
const N_RATES: u32 = 13;

/// Steps of each run, where there is time for them.
const STEPS: u32 = 40;

/// Fewest steps that say anything.
const FEWEST: u32 = 5;

/// Most time of all runs' steps. Where steps are slow they are fewer, and the result then depends on
/// the machine's speed.
const MOST_TIME: Duration = Duration::from_secs(30);

/// Most windows over which the loss is compared.
const PROBE: usize = 256;

/// A loss so many times that of the start ends the test: higher rates are worse.
const DIVERGED: f64 = 1.5;

/// What a range test found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RangeTest {
    /// The learning rate to train with.
    pub lr: f32,
    /// The loss at the start.
    pub first_loss: f64,
    /// Every rate that was tried, with the loss after its run; `null` if that was not finite.
    pub tried: Vec<(f32, Option<f64>)>,
    /// Steps of each run.
    pub steps: u32,
}

/// Tests learning rates on training windows, from the start of the run; nothing of it is kept.
///
/// # Errors
/// If the loss is not finite from the start on, no rate lowers it, or steps take too long.
pub(super) fn range_test(
    start: &Checkpoint,
    set: &WindowSet<'_>,
    groups: &ParamGroups,
    options: TrainOptions<'_>,
    seed: u64,
) -> anyhow::Result<RangeTest> {
    let n = set.windows().len();
    let threads = options.threads;
    let mut probe = Vec::new();
    shuffle(&mut probe, n, mix(seed, 0));
    probe.truncate(PROBE);
    let mut trial = Trial {
        start,
        groups,
        n,
        seed,
        options,
        gradients: Gradients::new(start, set, groups, threads),
    };
    let first_loss = trial.gradients.loss(&start.params, &probe)?;
    ensure!(
        first_loss.is_finite(),
        "the loss is not finite before the first step; add a z-score step in [[preprocess]]"
    );
    // One step, and a few once buffers have grown, say how long steps take.
    let affordable = |trial: &mut Trial<'_>, steps: u32| -> anyhow::Result<u32> {
        let began = Instant::now();
        trial.run(LOWEST, steps)?;
        let per_step = began.elapsed().as_secs_f64() / f64::from(steps);
        let affordable = (MOST_TIME.as_secs_f64() / (per_step * f64::from(N_RATES))) as u32;
        ensure!(
            affordable >= FEWEST,
            "a step takes {per_step:.1} s, too long for a test of learning rates; give a number: --lr 1e-3"
        );
        Ok(affordable)
    };
    affordable(&mut trial, 1)?;
    let steps = STEPS.min(affordable(&mut trial, FEWEST)?);
    let mut tried = Vec::new();
    for lr in (0..N_RATES).map(rate) {
        let after = match trial.run(lr, steps)? {
            Some(params) => trial.gradients.loss(&params, &probe)?,
            None => f64::NAN,
        };
        tried.push((lr as f32, Some(after).filter(|loss| loss.is_finite())));
        let diverged = after.is_nan() || after > DIVERGED * first_loss;
        if diverged {
            break;
        }
    }
    let best = choose(&tried, first_loss);
    let Some(lr) = best else {
        bail!(
            "no learning rate from {LOWEST:e} on lowers the loss in {steps} steps; check labels and [[preprocess]], or give a number: --lr 1e-3"
        );
    };
    Ok(RangeTest { lr, first_loss, tried, steps })
}

/// Runs from the same start over the same windows.
struct Trial<'a> {
    start: &'a Checkpoint,
    groups: &'a ParamGroups,
    n: usize,
    seed: u64,
    options: TrainOptions<'a>,
    gradients: Gradients<'a>,
}

impl Trial<'_> {
    /// The parameters after so many steps; `None` if a gradient is not finite.
    fn run(&mut self, lr: f64, steps: u32) -> anyhow::Result<Option<Vec<f32>>> {
        let config = &self.start.meta.train;
        let per_step = config.windows_per_step();
        let mut optimizer = config.optimizer.build_for(self.groups)?;
        optimizer.set_threads(self.options.threads);
        let mut params = self.start.params.clone();
        let (mut order, mut next) = (Vec::new(), 0);
        for step in 0..u64::from(steps) {
            if let Some(why) = self.options.stop.now() {
                bail!(
                    "{why} during the test of learning rates, before anything was trained; give it more time, or a number: --lr 1e-3"
                );
            }
            if next >= order.len() {
                shuffle(&mut order, self.n, mix(self.seed, 1 + step));
                next = 0;
            }
            let end = next.saturating_add(per_step).min(self.n);
            let seed = |purpose| mix(mix(self.seed, purpose), step);
            let draws = Draws { augment: seed(1), dropout: seed(2) };
            let (stats, norm, grads) = self.gradients.of_step(&params, &order[next..end], draws)?;
            next = end;
            if !(stats.loss.is_finite() && norm.is_finite()) {
                return Ok(None);
            }
            optimizer.step(&mut params, grads, lr as f32);
        }
        optimizer.average(&mut params);
        Ok(Some(params))
    }
}

/// A rate of the grid, to two digits.
fn rate(number: u32) -> f64 {
    let lr = LOWEST * 10.0_f64.powf(f64::from(number) / 2.0);
    let scale = 10.0_f64.powf(1.0 - lr.log10().floor());
    (lr * scale).round() / scale
}

/// The rate with the least loss, if that is below the first.
fn choose(tried: &[(f32, Option<f64>)], first_loss: f64) -> Option<f32> {
    let finite = tried.iter().filter_map(|&(lr, loss)| Some((lr, loss?)));
    let (lr, loss) = finite.min_by(|a, b| a.1.total_cmp(&b.1))?;
    (loss < first_loss).then_some(lr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_has_two_digits_and_half_decades() {
        let rates: Vec<f32> = (0..N_RATES).map(|i| rate(i) as f32).collect();
        assert_eq!(rates[..3], [1e-5, 3.2e-5, 1e-4]);
        assert!((rates[12] - 10.0).abs() < 1e-6);
    }

    #[test]
    fn the_least_loss_counts_if_it_is_lower_than_the_first() {
        let tried = [(1e-3, Some(0.9)), (1e-2, Some(0.5)), (1e-1, None)];
        assert_eq!(choose(&tried, 1.0), Some(1e-2));
        assert_eq!(choose(&tried, 0.4), None);
        assert_eq!(choose(&[(1e-3, None)], 1.0), None);
    }
}
