//! The gradient of one step: over micro-batches, or window by window where training is private.

use attn_core::{Batch, CrossEntropy, Workspace};
use optim::{Accumulator, ParamGroups, clip_by_global_norm, clip_by_value};

use super::drift::Drift;
use super::private::{NoiseKey, PrivateLanes};
use super::seeds::mix;
use super::step::Step;
use crate::checkpoint::Checkpoint;
use crate::job::{ClassWeights, TrainConfig};
use crate::windows::{WindowBuffer, WindowSet};

/// Seeds of what is random in one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    pub(super) augment: u64,
    pub(super) dropout: u64,
}

/// Computes gradients with buffers that are kept from step to step.
pub(super) struct Gradients<'a> {
    start: &'a Checkpoint,
    config: &'a TrainConfig,
    set: &'a WindowSet<'a>,
    groups: &'a ParamGroups,
    loss: CrossEntropy,
    workspace: Workspace,
    buffer: WindowBuffer,
    sum: Accumulator,
    private: Option<PrivateLanes>,
    drift: &'a Drift,
    grads: Vec<f32>,
}

impl<'a> Gradients<'a> {
    pub(super) fn new(
        start: &'a Checkpoint,
        set: &'a WindowSet<'a>,
        groups: &'a ParamGroups,
        drift: &'a Drift,
        threads: usize,
    ) -> Self {
        let config = start.meta.run.train();
        let class_weights = match config.class_weights {
            ClassWeights::Uniform => None,
            ClassWeights::Balanced => Some(balanced(&set.class_counts(start.meta.classes.len()))),
        };
        let n_params = start.params.len();
        let summed = if config.accumulate > 1 { n_params } else { 0 };
        Self {
            start,
            config,
            set,
            groups,
            loss: CrossEntropy { class_weights, label_smoothing: config.label_smoothing },
            workspace: Workspace::new(threads),
            buffer: WindowBuffer::default(),
            sum: Accumulator::new(summed),
            private: config.private.map(|_| PrivateLanes::new(n_params)),
            drift,
            grads: vec![0.0; n_params],
        }
    }

    /// Windows there are to train on.
    pub(super) fn n_windows(&self) -> usize {
        self.set.windows().len()
    }

    /// The mean gradient over `windows` at `params`, with all that the job adds to it and clips off;
    /// with its norm before it was clipped over all parameters, NaN if it is not finite.
    pub(super) fn of_step(
        &mut self,
        params: &[f32],
        windows: &[usize],
        draws: Draws,
    ) -> anyhow::Result<(Step, f32, &[f32])> {
        let stats = self.over_micro_batches(params, windows, draws)?;
        self.groups.mask(&mut self.grads);
        let norm = self.add_terms(params);
        Ok((stats, norm, &self.grads))
    }

    /// The same with every window's gradient clipped and the sum blurred, for step number `step`.
    pub(super) fn of_private_step(
        &mut self,
        params: &[f32],
        windows: &[usize],
        draws: Draws,
        key: &NoiseKey,
        step: u64,
    ) -> anyhow::Result<(Step, f32, &[f32])> {
        let Self { start, config, set, groups, loss, private, grads, .. } = self;
        let (Some(lanes), Some(options)) = (private, config.private) else {
            anyhow::bail!("private training needs a [train.private] section");
        };
        let encoder = &start.encoder;
        let n_expected = config.windows_per_step().min(set.windows().len());
        let augment = config.augment;
        let stats = lanes.gradient(
            windows,
            options.options(),
            n_expected as f64,
            &mut key.noise(step),
            grads,
            |window, lane| {
                let seed = |draw: u64| mix(draw, window as u64);
                set.fill([window], Some((augment, seed(draws.augment))), &mut lane.buffer);
                let (values, lengths) = (&lane.buffer.values, &lane.buffer.lengths);
                let stats = loss.gradient(
                    encoder,
                    params,
                    &Batch::new(encoder.config(), values, lengths)?,
                    &lane.buffer.targets,
                    Some(seed(draws.dropout)),
                    &mut lane.workspace,
                    &mut lane.grads,
                );
                groups.mask(&mut lane.grads);
                Ok(Step::of(stats, loss.normalizer(&lane.buffer.targets)))
            },
        )?;
        // The noise has blurred frozen parameters too.
        groups.mask(grads);
        let norm = self.add_terms(params);
        Ok((stats, norm, &self.grads))
    }

    /// The loss over windows as they are, without dropout.
    pub(super) fn loss(&mut self, params: &[f32], windows: &[usize]) -> anyhow::Result<f64> {
        let Self { start, config, set, loss, workspace, buffer, grads, .. } = self;
        let encoder = &start.encoder;
        let mut total = Step::default();
        for part in windows.chunks(config.batch) {
            set.fill(part.iter().copied(), None, buffer);
            let batch = Batch::new(encoder.config(), &buffer.values, &buffer.lengths)?;
            let targets = &buffer.targets;
            let stats = loss.gradient(encoder, params, &batch, targets, None, workspace, grads);
            total.add(Step::of(stats, loss.normalizer(targets)));
        }
        Ok(total.loss)
    }

    fn over_micro_batches(
        &mut self,
        params: &[f32],
        windows: &[usize],
        draws: Draws,
    ) -> anyhow::Result<Step> {
        let Self { start, config, set, loss, workspace, buffer, sum, grads, .. } = self;
        let encoder = &start.encoder;
        let mut total = Step::default();
        let n_micro = windows.len().div_ceil(config.batch);
        for (number, micro) in windows.chunks(config.batch).enumerate() {
            // The first micro-batch draws as a step without accumulation does.
            let seed = |draw: u64| if number == 0 { draw } else { mix(draw, number as u64) };
            let augment = (config.augment, seed(draws.augment));
            set.fill(micro.iter().copied(), Some(augment), buffer);
            let batch = Batch::new(encoder.config(), &buffer.values, &buffer.lengths)?;
            let dropout = Some(seed(draws.dropout));
            let stats =
                loss.gradient(encoder, params, &batch, &buffer.targets, dropout, workspace, grads);
            let weight = loss.normalizer(&buffer.targets);
            total.add(Step::of(stats, weight));
            if n_micro > 1 {
                sum.add(grads, weight);
            }
        }
        if n_micro > 1 {
            grads.copy_from_slice(sum.mean());
            sum.clear();
        }
        Ok(total)
    }

    /// Corrects for the node's drift and clips; returns the norm before the last clipping, that over all
    /// parameters.
    fn add_terms(&mut self, params: &[f32]) -> f32 {
        let Self { start, config, groups, drift, grads, .. } = self;
        drift.correct(grads, params, &start.params);
        // Clipping by value would make a number of infinity.
        let finite = optim::global_norm(grads).is_finite();
        if !finite {
            return f32::NAN;
        }
        groups.clip(grads);
        if let Some(limit) = config.clip_value {
            clip_by_value(grads, limit);
        }
        clip_by_global_norm(grads, config.clip_norm.unwrap_or(f32::INFINITY))
    }
}

/// Weights inverse to the classes' numbers, 1 in the mean over the windows; a class without
/// windows weighs nothing, as it is never a target.
fn balanced(counts: &[usize]) -> Vec<f32> {
    let present = counts.iter().filter(|n| **n > 0).count().max(1);
    let total: usize = counts.iter().sum();
    counts
        .iter()
        .map(|&n| if n == 0 { 0.0 } else { (total as f64 / (present * n) as f64) as f32 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_weights_count_every_class_alike() {
        let counts = [10, 30, 0];
        let weights = balanced(&counts);
        assert!((weights[0] * 10.0 - weights[1] * 30.0).abs() < 1e-5);
        assert!((weights[0] * 10.0 + weights[1] * 30.0 - 40.0).abs() < 1e-4);
        assert!(weights[2].abs() <= 0.0);
    }
}
