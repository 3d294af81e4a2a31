//! One node's training: windows, held-out part, the loop, and the update that comes of it.

use anyhow::{Context, ensure};
use optim::ParamGroups;

use super::drift::Drift;
use super::fit::Fit;
use super::node_windows::NodeWindows;
use super::options::TrainOptions;
use super::progress::Progress;
use super::report::{Outcome, TrainReport};
use crate::checkpoint::{Checkpoint, Provenance};
use crate::data::Dataset;
use crate::job::{Epochs, LearningRate, TrainConfig};

/// Trains a checkpoint's weights on the training rows of a node's data.
///
/// # Errors
/// If there is nothing to train on, the state for a resume does not fit, or a file cannot be
/// written.
pub fn train(
    start: Checkpoint,
    dataset: &Dataset,
    segments: &[usize],
    options: TrainOptions<'_>,
    progress: &mut dyn Progress,
) -> anyhow::Result<(Checkpoint, TrainReport)> {
    train_together(start, dataset, &[segments.to_vec()], options, progress)
}

/// Trains one model on the training rows of several nodes, each of which holds out what it would
/// hold out alone.
///
/// # Errors
/// As [`train`].
pub fn train_together(
    start: Checkpoint,
    dataset: &Dataset,
    nodes: &[Vec<usize>],
    options: TrainOptions<'_>,
    progress: &mut dyn Progress,
) -> anyhow::Result<(Checkpoint, TrainReport)> {
    let run = start.meta.run.clone();
    let config = run.train();
    let pipeline = start.meta.preprocess.clone();
    let windows = |segments: &Vec<usize>| NodeWindows::of(&start, &pipeline, dataset, segments);
    let parts: Vec<_> = nodes.iter().map(windows).collect::<anyhow::Result<_>>()?;
    let set = parts.into_iter().reduce(NodeWindows::joined).context("no node to train on")?;
    let groups = start.param_groups()?;
    let drift = Drift::load(&start, options.base, options.variate)?;
    let Outcome { params, report, train_metrics, mean_lr } =
        fit(&start, set, (&groups, &drift), options, progress)?;
    let way = (report.steps, mean_lr);
    let control = drift.finish(&start.params, &params, way, options.base, options.variate)?;
    let mut checkpoint = start;
    checkpoint.params = params;
    checkpoint.control = control;
    // One of 1 is as good as none; what the start had was fitted for other weights.
    checkpoint.meta.monitor = None;
    checkpoint.meta.temperature =
        report.calibration.filter(|found| found.kept.is_none()).map(|found| found.temperature);
    // An update says how it was trained. The next global model takes its options from the base: with a rate
    // of "auto" there, every node tests again in every round.
    checkpoint.meta.run = run.with(|job| {
        job.train.lr = LearningRate::Fixed(report.lr);
        job.train.epochs = Epochs::Fixed(report.planned_epochs);
        if let Some(private) = &mut job.train.private {
            private.insecure_seed = None;
        }
    })?;
    if config.private.is_some() {
        // Values of these rows without privacy stay with the rows.
        checkpoint.meta.preprocess = checkpoint.meta.preprocess.shared();
    }
    let round = checkpoint.meta.provenance.round;
    checkpoint.meta.set_provenance(Provenance {
        node: Some(options.node.to_owned()),
        round,
        base: options.base.map(str::to_owned),
        examples: report.examples as u64,
        local_steps: report.steps,
        // Without a base the rest could not be found again.
        partial: options.base.is_some() && groups.n_trained() < groups.n_params(),
        metrics: train_metrics,
        merged: Vec::new(),
        merge: None,
    });
    Ok((checkpoint, report))
}

/// Trains on windows, less those that the job holds out.
pub(super) fn fit(
    start: &Checkpoint,
    windows: NodeWindows<'_>,
    (groups, drift): (&ParamGroups, &Drift),
    options: TrainOptions<'_>,
    progress: &mut dyn Progress,
) -> anyhow::Result<Outcome> {
    let config = start.meta.run.train();
    ensure!(
        config.epochs != Epochs::Fixed(0),
        "[train] epochs is 0: nothing would be learned; give at least 1"
    );
    let NodeWindows { train: set, held_out, report: validation } = windows;
    ensure!(
        !set.windows().is_empty(),
        "no labeled training window; the training rows need labels (a column named in [data] label)"
    );
    let by_windows = config.epochs == Epochs::Auto;
    let resolved;
    let mut start = start;
    if by_windows {
        let epochs = Epochs::Fixed(epochs_of(config, set.windows().len()));
        let run = start.meta.run.with(|job| job.train.epochs = epochs)?;
        resolved = start.clone().with_run(run)?;
        start = &resolved;
    }
    let fit = Fit::new(start, &set, held_out.as_ref(), groups, drift, options)?;
    let mut outcome = fit.finish(progress)?;
    outcome.report.validation = validation;
    outcome.report.epochs_by_windows = by_windows && config.private.is_none();
    Ok(outcome)
}

/// Passes over a node's windows; what a private run tells of its rows is not for it to choose.
fn epochs_of(config: &TrainConfig, windows: usize) -> u32 {
    if config.private.is_some() { config.epochs.in_a_round() } else { config.epochs.of(windows) }
}
