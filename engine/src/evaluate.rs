//! A model's answers for windows, and how good they are.

use anyhow::ensure;
use attn_core::{Batch, Precision, Predictor, Workspace};
use rayon::prelude::*;

use crate::checkpoint::Checkpoint;
use crate::data::Dataset;
use crate::diverged::Diverged;
use crate::metrics::Metrics;
use crate::windows::{Cut, WindowBuffer, WindowSet};
use monitor::ece;
use monitor::temperature::divide;

/// Windows evaluated at once.
const EVAL_BATCH: usize = 64;

/// Logits of every window, in order, as they leave the model, without its temperature; in a smaller
/// precision by the prepared model, as a device would run it.
///
/// # Panics
/// If the windows were cut for another model.
pub fn logits(
    checkpoint: &Checkpoint,
    set: &WindowSet<'_>,
    precision: Precision,
    threads: usize,
) -> Vec<f32> {
    if precision != Precision::F32 {
        return prepared_logits(checkpoint, set, precision);
    }
    let encoder = &checkpoint.encoder;
    let mut workspace = Workspace::new(threads);
    in_batches(checkpoint, set, |windows, out| {
        let batch = Batch::new(encoder.config(), &windows.values, &windows.lengths)
            .expect("windows were cut for this model");
        encoder.forward(&checkpoint.params, &batch, &mut workspace, out);
    })
}

/// Logits of every window, in order, by the prepared model, as a device runs it: one window at a time, so that the
/// bits depend neither on the windows beside it nor on threads.
///
/// # Panics
/// If the windows were cut for another model.
pub fn prepared_logits(
    checkpoint: &Checkpoint,
    set: &WindowSet<'_>,
    precision: Precision,
) -> Vec<f32> {
    let predictor = Predictor::new(&checkpoint.encoder, &checkpoint.params, precision, 1);
    let n_outputs = checkpoint.encoder.config().task.n_outputs();
    in_batches(checkpoint, set, |windows, out| predict_each(&predictor, windows, out, n_outputs))
}

/// Logits of every window, as they are found for some windows at a time.
fn in_batches(
    checkpoint: &Checkpoint,
    set: &WindowSet<'_>,
    mut logits: impl FnMut(&WindowBuffer, &mut [f32]),
) -> Vec<f32> {
    let n_outputs = checkpoint.encoder.config().task.n_outputs();
    let mut all = vec![0.0; set.windows().len() * n_outputs];
    let mut buffer = WindowBuffer::default();
    for (batch, out) in all.chunks_mut(EVAL_BATCH * n_outputs).enumerate() {
        let first = batch * EVAL_BATCH;
        set.fill(first..first + out.len() / n_outputs, None, &mut buffer);
        logits(&buffer, out);
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

/// Metrics of a checkpoint on segments, in windows with the stride of the test; loss and calibration are those
/// of logits divided by the checkpoint's temperature.
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
    let mut answers = Answers::default();
    for (checkpoint, segments) in parts {
        let meta = &checkpoint.meta;
        let cut = Cut { window: meta.run.window(), seq_len: meta.model.seq_len, train: false };
        let mut set = WindowSet::new(dataset, &meta.preprocess, segments, cut)?;
        set.drop_unlabeled();
        answers.take(checkpoint, &set, precision, threads);
    }
    let first = parts.iter().flat_map(|(_, segments)| segments.iter()).next();
    let source = first.map(|&i| dataset.segments[i].source.display().to_string());
    ensure!(
        !answers.targets.is_empty(),
        "{}: no labeled test window; evaluation needs a label column (`predict` does not)",
        source.unwrap_or_default()
    );
    answers.metrics(&parts[0].0.meta.classes)
}

/// Answers for windows of several parts, each by a checkpoint of its own.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Of all classes, divided by each model's temperature.
    logits: Vec<f32>,
    /// As they leave the models.
    raw: Vec<f32>,
    targets: Vec<u32>,
    /// Whether any of the models has a temperature.
    calibrated: bool,
}

impl Answers {
    /// Takes in a checkpoint's answers for windows that all have a label.
    pub(crate) fn take(
        &mut self,
        checkpoint: &Checkpoint,
        set: &WindowSet<'_>,
        precision: Precision,
        threads: usize,
    ) {
        self.targets.extend(set.windows().iter().filter_map(|w| w.label));
        let temperature = checkpoint.meta.temperature;
        let mut logits = logits(checkpoint, set, precision, threads);
        self.raw.extend_from_slice(&logits);
        divide(&mut logits, temperature);
        self.logits.extend(logits);
        self.calibrated |= temperature.is_some();
    }

    /// How good they are.
    ///
    /// # Errors
    /// If they are not finite.
    pub(crate) fn metrics(&self, classes: &[String]) -> anyhow::Result<Metrics> {
        let mut metrics = Metrics::new(classes, &self.logits, &self.targets);
        let uncalibrated = || ece(classes.len(), &self.raw, &self.targets);
        metrics.ece_uncalibrated = self.calibrated.then(uncalibrated);
        if !metrics.loss.is_finite() {
            let message = "the model's answers are not finite: its training diverged";
            return Err(Diverged::new(message.to_owned()).into());
        }
        Ok(metrics)
    }
}

/// Metrics on windows that all have a label, of logits as they leave the model.
pub(crate) fn metrics(
    checkpoint: &Checkpoint,
    set: &WindowSet<'_>,
    precision: Precision,
    threads: usize,
) -> Metrics {
    let logits = logits(checkpoint, set, precision, threads);
    Metrics::new(&checkpoint.meta.classes, &logits, &targets(set))
}

/// The classes of windows that all have a label.
pub(crate) fn targets(set: &WindowSet<'_>) -> Vec<u32> {
    set.windows().iter().filter_map(|w| w.label).collect()
}
