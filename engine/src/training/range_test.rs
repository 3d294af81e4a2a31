//! A learning rate for users without a recipe: a range test on the node's own training rows.
//!
//! Every rate of a grid makes a short run from the same start. Of the rates after which the loss over
//! the same windows, without dropout, is about the least, the smallest is taken, well below the first
//! that diverges. After Smith, <https://arxiv.org/abs/1506.01186>, whose rate grows within one run:
//! where data is scarce, as on a node, the noise of single batches hides what that curve says.
//!
//! Where steps are large the runs are shorter. What they may cost is counted in operations, not in
//! seconds, so that the result does not depend on the machine.

use anyhow::{bail, ensure};
use attn_core::EncoderConfig;
use optim::ParamGroups;
use serde::{Deserialize, Serialize};

use super::gradient::{Draws, Gradients};
use super::options::TrainOptions;
use super::seeds::{mix, shuffle};
use crate::checkpoint::Checkpoint;

/// The lowest rate; each is `√10` times the one before.
const LOWEST: f64 = 1e-5;

/// Rates of the grid; the highest is 10.
const N_RATES: u32 = 13;

/// Steps of each run, where they cost no more than [`MOST_OPERATIONS`] and the run that follows is
/// no shorter.
pub(super) const MOST_TRIAL_STEPS: u64 = 40;

/// Fewest steps that say anything.
const FEWEST: u64 = 5;

/// Most multiplications and additions of all runs' steps: half a minute of a small board.
const MOST_OPERATIONS: f64 = 1e12;

/// Most windows over which the loss is compared.
const PROBE: usize = 256;

/// A loss so many times that of the start ends the test: higher rates are worse.
const DIVERGED: f64 = 1.5;

/// The rate that is taken is at most that of the first run that diverged, divided by this.
const MARGIN: f64 = 10.0;

/// Losses that differ by less than this share of what was gained are taken for equal: where the
/// classes are easy to tell, every rate of a wide range ends near zero, and the largest is no better.
const TIE: f64 = 0.05;

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
    pub steps: u64,
}

/// Tests learning rates on training windows, from the start of a run of `planned` steps; nothing of
/// it is kept.
///
/// # Errors
/// If the loss is not finite from the start on, no rate lowers it, or steps cost too much.
pub(super) fn range_test(
    start: &Checkpoint,
    gradients: Gradients<'_>,
    groups: &ParamGroups,
    options: TrainOptions<'_>,
    seed: u64,
    planned: u64,
) -> anyhow::Result<RangeTest> {
    let n = gradients.n_windows();
    let mut probe = Vec::new();
    shuffle(&mut probe, n, mix(seed, 0));
    probe.truncate(PROBE);
    let mut trial = Trial { start, groups, n, seed, options, gradients };
    let first_loss = trial.gradients.loss(&start.params, &probe)?;
    ensure!(
        first_loss.is_finite(),
        "the loss is not finite before the first step; add a z-score step in [[preprocess]]"
    );
    let affordable = affordable_steps(start, n);
    ensure!(
        affordable >= FEWEST,
        "the model is too large for a test of learning rates ({N_RATES} runs of {FEWEST} steps or more); give a number: --lr 1e-3"
    );
    // No longer than the run that follows: what it says of later steps would be of no use.
    let steps = MOST_TRIAL_STEPS.min(affordable).min(planned.max(FEWEST));
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
    fn run(&mut self, lr: f64, steps: u64) -> anyhow::Result<Option<Vec<f32>>> {
        let config = self.start.meta.run.train();
        let per_step = config.windows_per_step();
        let mut optimizer = config.optimizer.build_for(self.groups)?;
        optimizer.set_threads(self.options.threads);
        let mut params = self.start.params.clone();
        let (mut order, mut next) = (Vec::new(), 0);
        for step in 0..steps {
            if let Some(why) = self.options.stop.now() {
                return Err(anyhow::Error::new(why).context(format!(
                    "{why} during the test of learning rates, before anything was trained; give it more time, or a number: --lr 1e-3"
                )));
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

/// Steps of each run that cost no more than they may.
fn affordable_steps(start: &Checkpoint, n_windows: usize) -> u64 {
    let model = &start.meta.model;
    let per_step = start.meta.run.train().windows_per_step().min(n_windows) as f64;
    let per_run = MOST_OPERATIONS / f64::from(N_RATES);
    (per_run / (per_step * operations(model, start.params.len()))) as u64
}

/// Multiplications and additions of a training step for one window, about: every parameter of the
/// blocks multiplies every token forward and twice backward, and every token sees every other.
fn operations(model: &EncoderConfig, n_params: usize) -> f64 {
    let tokens = model.tokens(model.seq_len) as f64;
    let attention = 2.0 * tokens * tokens * model.d_model as f64 * model.n_layers as f64;
    3.0 * 2.0 * (tokens * n_params as f64 + attention)
}

/// The smallest rate whose loss is about the least, if that is below the first, and is well below
/// the first rate that diverged.
fn choose(tried: &[(f32, Option<f64>)], first_loss: f64) -> Option<f32> {
    let diverged = |loss: &Option<f64>| loss.is_none_or(|loss| loss > DIVERGED * first_loss);
    let limit = tried.iter().find(|(_, loss)| diverged(loss)).map(|(lr, _)| f64::from(*lr));
    // Two digits: 0.099 is a tenth of 1 as well.
    let allowed = |lr: f32| limit.is_none_or(|limit| f64::from(lr) <= 1.01 * limit / MARGIN);
    let losses = || {
        tried
            .iter()
            .filter_map(|&(lr, loss)| Some((lr, loss?)))
            .filter(|&(lr, loss)| allowed(lr) && loss < first_loss)
    };
    let least = losses().map(|(_, loss)| loss).min_by(f64::total_cmp)?;
    let about = least + TIE * (first_loss - least);
    losses().find(|&(_, loss)| loss <= about).map(|(lr, _)| lr)
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
        let tried = [(1e-3, Some(0.9)), (1e-2, Some(0.5)), (1e-1, Some(0.6))];
        assert_eq!(choose(&tried, 1.0), Some(1e-2));
        assert_eq!(choose(&tried, 0.4), None);
        assert_eq!(choose(&[(1e-3, None)], 1.0), None);
    }

    #[test]
    fn of_losses_near_zero_the_smallest_rate_is_taken() {
        let tried = [(1e-3, Some(0.3)), (1e-2, Some(1e-2)), (1e-1, Some(1e-5)), (1.0, Some(0.0))];
        assert_eq!(choose(&tried, 0.7), Some(1e-2));
    }

    #[test]
    fn a_rate_next_to_one_that_diverges_is_not_taken() {
        let tried = [(3.2e-3, Some(0.6)), (1e-2, Some(0.5)), (3.2e-2, Some(0.2)), (1e-1, None)];
        assert_eq!(choose(&tried, 1.0), Some(1e-2));
        let tried = [(1e-2, Some(0.5)), (3.2e-2, Some(0.2)), (1e-1, Some(3.0))];
        assert_eq!(choose(&tried, 1.0), Some(1e-2));
    }

    #[test]
    fn large_models_make_shorter_runs() {
        let model = EncoderConfig {
            channels: 6,
            seq_len: 100,
            patch_len: 5,
            d_model: 64,
            n_heads: 4,
            n_layers: 2,
            d_ff: 128,
            dropout: 0.0,
            positions: attn_core::Positions::Learned,
            pooling: attn_core::Pooling::Mean,
            attention: attn_core::AttentionConfig::default(),
            task: attn_core::Task::Classification { n_classes: 7 },
        };
        let small = operations(&model, 70_000);
        assert!((8e6..2e7).contains(&small), "{small}");
        assert!(operations(&model, 700_000) > 5.0 * small);
    }
}
