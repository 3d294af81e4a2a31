//! Cross-validation: how well a job does on training rows that it did not see.

use rayon::prelude::*;
use serde::Serialize;

use super::drift::Drift;
use super::node::fit;
use super::node_windows::{NodeWindows, training_windows};
use super::options::TrainOptions;
use super::progress::Silent;
use super::split::{HeldOut, split_validation};
use crate::checkpoint::Checkpoint;
use crate::data::Dataset;
use crate::diverged::Diverged;
use crate::evaluate::logits;
use crate::job::ValidationConfig;
use crate::metrics::Metrics;
use attn_core::Precision;
use monitor::temperature::least_loss;

/// What a model trained without a part of the rows answers for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fold {
    /// The part.
    pub held_out: HeldOut,
    /// Metrics there, of the weights that training ends with.
    pub metrics: Metrics,
    /// The loss with the temperature that makes it least.
    #[serde(skip)]
    pub least_loss: f64,
}

/// All folds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CrossValidation {
    /// Mean accuracy over the folds.
    pub accuracy: f64,
    /// Its standard deviation from fold to fold.
    pub accuracy_deviation: f64,
    /// Mean loss.
    pub loss: f64,
    /// Mean macro F1.
    pub macro_f1: f64,
    /// Each.
    pub folds: Vec<Fold>,
}

impl CrossValidation {
    /// Of the folds' metrics, at least two.
    pub fn new(folds: Vec<Fold>) -> Self {
        let n = folds.len() as f64;
        let mean = |of: fn(&Metrics) -> f64| folds.iter().map(|f| of(&f.metrics)).sum::<f64>() / n;
        let accuracy = mean(|m| m.accuracy);
        let squares = folds.iter().map(|f| (f.metrics.accuracy - accuracy).powi(2)).sum::<f64>();
        Self {
            accuracy,
            accuracy_deviation: (squares / (n - 1.0)).sqrt(),
            loss: mean(|m| m.loss),
            macro_f1: mean(|m| m.macro_f1),
            folds,
        }
    }
}

/// Trains `start` on all training windows of the segments but those that `part` holds out, and answers for these.
/// The weights are those that training ends with: no choice is made by the held-out windows. What the job holds out
/// itself, to choose an epoch, it takes from the others.
///
/// # Errors
/// As [`train`](super::train), and if it is told to stop, with the reason.
pub fn train_fold(
    start: &Checkpoint,
    dataset: &Dataset,
    segments: &[usize],
    part: ValidationConfig,
    options: TrainOptions<'_>,
) -> anyhow::Result<Fold> {
    let set = training_windows(start, &start.meta.preprocess, dataset, segments)?;
    let split = split_validation(&set, part)?;
    let (groups, drift) = (start.param_groups()?, Drift::load(start, None, None)?);
    let windows = NodeWindows::parted(split.train, start.meta.run.train().validation)?;
    let outcome = fit(start, windows, (&groups, &drift), options, &mut Silent)?;
    if let Some(reason) = outcome.report.stopped {
        return Err(reason.into());
    }
    let mut trained = start.clone();
    trained.params = outcome.params;
    let logits = logits(&trained, &split.held_out, Precision::F32, options.threads);
    let targets: Vec<u32> = split.held_out.windows().iter().filter_map(|w| w.label).collect();
    let metrics = Metrics::new(&start.meta.classes, &logits, &targets);
    if !metrics.loss.is_finite() {
        return Err(Diverged::new(
            "the model's answers are not finite: its training diverged".to_owned(),
        )
        .into());
    }
    let least_loss = least_loss(metrics.per_class.len(), &logits, &targets);
    Ok(Fold { held_out: split.report, metrics, least_loss })
}

/// Trains once for each of `folds` parts of the training rows, without it, and answers for it. Calls `done` after each.
///
/// # Errors
/// As [`train_fold`].
pub fn cross_validate(
    start: &Checkpoint,
    dataset: &Dataset,
    segments: &[usize],
    folds: usize,
    options: TrainOptions<'_>,
    done: &(dyn Fn() + Sync),
) -> anyhow::Result<CrossValidation> {
    let threads = if folds >= options.threads { 1 } else { options.threads };
    let one = |fold| -> anyhow::Result<Fold> {
        let part = ValidationConfig::part(fold, folds);
        let options = TrainOptions { state: None, resume: false, threads, ..options };
        let found = train_fold(start, dataset, segments, part, options)?;
        done();
        Ok(found)
    };
    // Folds side by side, or where there are few of them, threads inside each.
    let all: anyhow::Result<Vec<Fold>> = if threads == 1 {
        (0..folds).into_par_iter().map(one).collect()
    } else {
        (0..folds).map(one).collect()
    };
    Ok(CrossValidation::new(all?))
}
