//! Training: windows in, better weights out; interruptible, and resumable to the same bytes.

mod gradient;
mod private;
mod range_test;
mod run;
mod split;
mod state;
mod variate;

use std::path::Path;

use aggregate::hash_file;
use anyhow::{Context, ensure};
use attn_core::{Batch, Precision, Predictor, Workspace};
use rayon::prelude::*;
use serde::Serialize;

use crate::checkpoint::{Checkpoint, Provenance};
use crate::data::{Dataset, Split};
use crate::interrupt::Stop;
use crate::job::LearningRate;
use crate::metrics::Metrics;
use crate::windows::{Cut, WindowBuffer, WindowSet};

pub use private::PrivateReport;
pub use range_test::RangeTest;
pub use run::{Epoch, Progress, Silent};
use run::{Outcome, Run};
pub use split::split_validation;
pub use state::state_path;
use variate::Variate;
pub use variate::variate_path;

/// Windows evaluated at once.
const EVAL_BATCH: usize = 64;

/// What a training run is told besides its data and its start.
#[derive(Debug, Clone, Copy)]
pub struct TrainOptions<'a> {
    /// The node's name: it is written into the update, and seeds the node's shuffles.
    pub node: &'a str,
    /// Hash of the file the start came from, if it came from a file.
    pub base: Option<&'a str>,
    /// Threads to use; the bits do not depend on it.
    pub threads: usize,
    /// When to stop early.
    pub stop: Stop,
    /// Where the state for `resume` is kept; `None` keeps none.
    pub state: Option<&'a Path>,
    /// Whether to go on from that state.
    pub resume: bool,
    /// Where the node remembers what corrects its drift, if the job has it do so.
    pub variate: Option<&'a Path>,
    /// Rounds of the run that the learning-rate schedule spans; 1 for a run of its own.
    pub rounds: u32,
}

/// What training did; the JSON form is the contract of `edgectl train --json`, less what the
/// command adds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainReport {
    /// Epochs done, early ones before a resume included.
    pub epochs: u32,
    /// Optimizer steps done.
    pub steps: u64,
    /// Training windows.
    pub examples: usize,
    /// Training windows handled per second in this process.
    pub samples_per_s: f64,
    /// Parameters that were trained; the others are frozen.
    pub trained_parameters: usize,
    /// Learning rate that the schedule starts from.
    pub lr: f32,
    /// How that rate was chosen, with `lr = "auto"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_test: Option<RangeTest>,
    /// What an accountant of privacy needs to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<PrivateReport>,
    /// Loss over the training windows in the last epoch, as the optimizer saw it; `None` if no
    /// epoch was finished.
    pub loss: Option<f64>,
    /// Metrics of the kept weights on the held-out part, if there is one.
    pub val: Option<Metrics>,
    /// Why it stopped before all epochs were done.
    pub stopped: Option<String>,
    /// Steps left out because their gradient was not finite.
    pub skipped_steps: u64,
}

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
    let config = start.meta.train.clone();
    config.validate()?;
    let cut = |train| Cut { window: &start.meta.window, seq_len: start.meta.model.seq_len, train };
    let pipeline = start.meta.preprocess.clone();
    let mut set = WindowSet::new(dataset, &pipeline, segments, cut(true))?;
    set.drop_unlabeled();
    if let Some(private) = &config.private {
        private.check_windows(&start.meta.window, &config.augment)?;
    }
    let mut held_out = None;
    if let Some(validation) = config.validation {
        let (train, val) = split_validation(&set, validation)?;
        held_out = Some(val);
        set = train;
    }
    ensure!(
        !set.windows().is_empty(),
        "no labeled training window; the training rows need labels (a column named in [data] label)"
    );
    let groups = start.param_groups()?;
    let variate = Variate::load(&start, options.base, options.variate)?;
    let run = Run::new(&start, &set, held_out.as_ref(), &groups, variate.as_ref(), options)?;
    let Outcome { params, report, train_metrics, mean_lr } = run.finish(progress)?;
    let mut control = None;
    if let Some(variate) = variate {
        let way = (report.steps, mean_lr);
        control = variate.finish(&start.params, &params, way, options.base, options.variate)?;
    }
    let mut checkpoint = start;
    checkpoint.params = params;
    checkpoint.control = control;
    // An update says how it was trained. The next global model takes its options from the base: with
    // "auto" there, every node tests again in every round.
    checkpoint.meta.train.lr = LearningRate::Fixed(report.lr);
    if let Some(private) = &mut checkpoint.meta.train.private {
        private.insecure_seed = None;
    }
    checkpoint.meta.provenance = Provenance {
        node: Some(options.node.to_owned()),
        round: checkpoint.meta.provenance.round,
        base: options.base.map(str::to_owned),
        examples: report.examples as u64,
        local_steps: report.steps,
        // Without a base the rest could not be found again.
        partial: options.base.is_some() && groups.n_trained() < groups.n_params(),
        metrics: train_metrics,
        merged: Vec::new(),
        merge: None,
    };
    Ok((checkpoint, report))
}

/// Segments to train on: marked so, or else not marked for the test.
///
/// # Errors
/// If there is none.
pub fn train_segments(dataset: &Dataset, of: &[usize]) -> anyhow::Result<Vec<usize>> {
    let chosen: Vec<usize> =
        of.iter().copied().filter(|&i| dataset.segments[i].split != Split::Test).collect();
    let source = || of.first().map(|&i| dataset.segments[i].source.display().to_string());
    ensure!(
        !chosen.is_empty(),
        "{}: every row is marked for the test, none is left to train on",
        source().unwrap_or_default()
    );
    Ok(chosen)
}

/// Held-out segments: those marked for the test; if no segment is marked at all, every one.
pub fn test_segments(dataset: &Dataset, of: &[usize]) -> Vec<usize> {
    let split = |i: &&usize| dataset.segments[**i].split;
    if of.iter().all(|i| split(&i) == Split::Unmarked) {
        return of.to_vec();
    }
    of.iter().filter(|i| split(i) == Split::Test).copied().collect()
}

/// Logits of every window, in order; in a smaller precision by the prepared model, as a device
/// would run it.
///
/// # Panics
/// If the windows were cut for another model.
pub fn logits(
    checkpoint: &Checkpoint,
    set: &WindowSet<'_>,
    precision: Precision,
    threads: usize,
) -> Vec<f32> {
    let encoder = &checkpoint.encoder;
    let n_outputs = encoder.config().task.n_outputs();
    let mut all = vec![0.0; set.windows().len() * n_outputs];
    let mut workspace = Workspace::new(threads);
    let predictor = (precision != Precision::F32)
        .then(|| Predictor::new(encoder, &checkpoint.params, precision, 1));
    let mut buffer = WindowBuffer::default();
    for (batch, out) in all.chunks_mut(EVAL_BATCH * n_outputs).enumerate() {
        let first = batch * EVAL_BATCH;
        set.fill(first..first + out.len() / n_outputs, None, &mut buffer);
        let windows = Batch::new(encoder.config(), &buffer.values, &buffer.lengths)
            .expect("windows were cut for this model");
        match &predictor {
            None => encoder.forward(&checkpoint.params, &windows, &mut workspace, out),
            Some(predictor) => predict_each(predictor, &buffer, out, n_outputs),
        }
    }
    all
}

/// One window after the other, shared out among the threads.
fn predict_each(predictor: &Predictor, windows: &WindowBuffer, out: &mut [f32], n_outputs: usize) {
    let channels = predictor.config().channels;
    let mut rest = windows.values.as_slice();
    let mut jobs = Vec::new();
    for (&steps, out) in windows.lengths.iter().zip(out.chunks_mut(n_outputs)) {
        let (window, others) = rest.split_at(steps * channels);
        jobs.push((window, out));
        rest = others;
    }
    jobs.into_par_iter().for_each_init(
        || predictor.clone(),
        |predictor, (window, out)| {
            let logits = predictor.predict(window).expect("windows were cut for this model");
            out.copy_from_slice(logits);
        },
    );
}

/// Metrics of a checkpoint on segments, in windows with the stride of the test.
///
/// # Errors
/// If there is no labeled window among them.
pub fn evaluate(
    checkpoint: &Checkpoint,
    dataset: &Dataset,
    segments: &[usize],
    precision: Precision,
    threads: usize,
) -> anyhow::Result<Metrics> {
    evaluate_each(&[(checkpoint, segments)], dataset, precision, threads)
}

/// Metrics over several parts, each with segments and a checkpoint of its own for them.
///
/// # Errors
/// If there is no labeled window in any of them.
pub fn evaluate_each(
    parts: &[(&Checkpoint, &[usize])],
    dataset: &Dataset,
    precision: Precision,
    threads: usize,
) -> anyhow::Result<Metrics> {
    let (mut all, mut targets) = (Vec::new(), Vec::new());
    for (checkpoint, segments) in parts {
        let meta = &checkpoint.meta;
        let cut = Cut { window: &meta.window, seq_len: meta.model.seq_len, train: false };
        let mut set = WindowSet::new(dataset, &meta.preprocess, segments, cut)?;
        set.drop_unlabeled();
        targets.extend(set.windows().iter().filter_map(|w| w.label));
        all.extend(logits(checkpoint, &set, precision, threads));
    }
    let first = parts.iter().flat_map(|(_, segments)| segments.iter()).next();
    let source = first.map(|&i| dataset.segments[i].source.display().to_string());
    ensure!(
        !targets.is_empty(),
        "{}: no labeled test window; evaluation needs a label column (`predict` does not)",
        source.unwrap_or_default()
    );
    let metrics = Metrics::new(&parts[0].0.meta.classes, &all, &targets);
    ensure!(metrics.loss.is_finite(), "the model's answers are not finite: its training diverged");
    Ok(metrics)
}

/// Metrics on windows that all have a label.
pub(crate) fn metrics(
    checkpoint: &Checkpoint,
    set: &WindowSet<'_>,
    precision: Precision,
    threads: usize,
) -> Metrics {
    let targets: Vec<u32> = set.windows().iter().filter_map(|w| w.label).collect();
    Metrics::new(&checkpoint.meta.classes, &logits(checkpoint, set, precision, threads), &targets)
}

/// Reads a checkpoint together with the hash that an update trained from it states as its base.
///
/// # Errors
/// If the file is no checkpoint.
pub fn read_base(path: &Path) -> anyhow::Result<(Checkpoint, String)> {
    let checkpoint = Checkpoint::read(path)?;
    let hash = hash_file(path).with_context(|| format!("{}: cannot hash", path.display()))?;
    Ok((checkpoint, hash))
}

/// Mixes two numbers into a seed (the finaliser of `SplitMix64`).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z =
        a.rotate_left(32).wrapping_add(b.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
