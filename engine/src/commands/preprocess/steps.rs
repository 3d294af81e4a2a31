//! The steps of a job, fitted on the training rows at hand.

use anyhow::Context;
use preprocess::Pipeline;

use crate::data::{Dataset, train_segments};
use crate::job::Job;

/// Fits a job's steps on the training rows of a data set.
///
/// # Errors
/// If there is none, and if the steps do not fit the data.
pub(super) fn fitted(job: &Job, dataset: &Dataset) -> anyhow::Result<Pipeline> {
    let stage = dataset.stage(&job.data);
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let train = train_segments(dataset, &all)?;
    let series = dataset.rows(&train, stage.rate_hz);
    Pipeline::fit(&job.preprocess, &stage, series).context("fitting [[preprocess]]")
}
