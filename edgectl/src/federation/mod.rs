//! Rounds: a fresh model, nodes that train, a center that merges.

mod attack;
mod merge;
mod merged_meta;
mod note;
mod schema;
mod simulate;
mod strategy;
mod update_file;

use std::time::Instant;

use aggregate::Correction;
use anyhow::{Context, ensure};
use attn_core::Encoder;
use preprocess::Pipeline;

use crate::checkpoint::{Checkpoint, FORMAT, Meta, Provenance};
use crate::data::Dataset;
use crate::job::Job;
use crate::training::train_segments;
use crate::windows::{Cut, WindowSet};

pub use attack::Attack;
pub use merge::{Merge, Merged, Refused, merge};
pub use note::{CappedNote, ChangeNote, MergeNote, PrivacyNote, UpdateNote};
pub use simulate::{Arm, ArmReport, Attackers, Round, RoundProgress, simulate_arm};
pub use strategy::Strategy;

/// A fresh model for a job: schema and classes from the data, preprocessing fitted on the training
/// rows of `segments`.
///
/// # Errors
/// If there are no training rows, no labels, or sizes do not fit together.
pub fn fresh_model(job: &Job, dataset: &Dataset, segments: &[usize]) -> anyhow::Result<Checkpoint> {
    let channels = dataset.channels.len();
    let train = train_segments(dataset, segments)?;
    ensure!(
        !dataset.classes.is_empty(),
        "{}: the data has no labels; name the label column in the [data] section of the job file",
        dataset.segments[train[0]].source.display()
    );
    let series: Vec<&[f32]> =
        train.iter().map(|&i| dataset.segments[i].values.as_slice()).collect();
    let pipeline =
        Pipeline::fit(&job.preprocess, channels, &series).context("fitting [[preprocess]]")?;
    let longest = series.iter().map(|values| values.len() / channels).max().unwrap_or(0);
    let seq_len = job.window.len.or(job.window.max_len).unwrap_or(longest);
    let config = job.model.encoder(channels, seq_len, dataset.classes.len());
    let encoder = Encoder::new(config).context("[model]")?;
    // What could never train shall fail here, not on the nodes.
    let cut = Cut { window: &job.window, seq_len, train: true };
    WindowSet::new(dataset, &pipeline, &train, cut)?;
    if let Some(private) = &job.train.private {
        private.check_windows(&job.window, &job.train.augment)?;
    }
    let params = encoder.init(job.train.seed);
    let mut data = job.data.clone();
    data.path = None;
    let meta = Meta {
        format: FORMAT,
        model: encoder.config().clone(),
        classes: dataset.classes.clone(),
        channels: dataset.channels.clone(),
        data,
        window: job.window.clone(),
        preprocess: pipeline,
        train: job.train.clone(),
        federation: job.federation.clone(),
        provenance: Provenance::default(),
    };
    let scaffold = job.federation.correction == Correction::Scaffold;
    let control = scaffold.then(|| vec![0.0; params.len()]);
    let checkpoint = Checkpoint { meta, encoder, params, control };
    checkpoint.param_groups()?;
    checkpoint.kept_local(&job.federation.keep_local)?;
    Ok(checkpoint)
}

/// Seconds since `began`.
fn seconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}
