//! A node's windows to train on, and those that it holds out.

use preprocess::Pipeline;

use super::split::{HeldOut, Split, split_validation};
use crate::checkpoint::Checkpoint;
use crate::data::Dataset;
use crate::job::ValidationConfig;
use crate::windows::{Cut, WindowSet};

/// A node's labeled windows of its training rows.
#[derive(Debug)]
pub struct NodeWindows<'a> {
    /// To train on.
    pub train: WindowSet<'a>,
    /// To look at, if the job holds a part out.
    pub held_out: Option<WindowSet<'a>>,
    /// How they were parted.
    pub report: Option<HeldOut>,
}

impl<'a> NodeWindows<'a> {
    /// Cuts the windows, and holds out what the job says.
    ///
    /// # Errors
    /// As [`WindowSet::new`] and [`split_validation`].
    pub fn of(
        start: &Checkpoint,
        pipeline: &'a Pipeline,
        dataset: &'a Dataset,
        segments: &[usize],
    ) -> anyhow::Result<Self> {
        let set = training_windows(start, pipeline, dataset, segments)?;
        Self::parted(set, start.meta.run.train().validation)
    }

    /// Windows, of which a part is held out where one is asked for.
    ///
    /// # Errors
    /// As [`split_validation`].
    pub fn parted(
        set: WindowSet<'a>,
        validation: Option<ValidationConfig>,
    ) -> anyhow::Result<Self> {
        let Some(validation) = validation else {
            return Ok(Self { train: set, held_out: None, report: None });
        };
        let Split { train, held_out, report } = split_validation(&set, validation)?;
        Ok(Self { train, held_out: Some(held_out), report: Some(report) })
    }

    /// The windows of this node and of another, each with what it holds out.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let held_out = match (self.held_out, other.held_out) {
            (Some(own), Some(other)) => Some(own.joined(other)),
            (own, other) => own.or(other),
        };
        let report = match (self.report, &other.report) {
            (Some(own), Some(other)) => Some(own.joined(other)),
            (own, other) => own.or_else(|| other.clone()),
        };
        Self { train: self.train.joined(other.train), held_out, report }
    }
}

/// The labeled windows of the training rows of these segments.
pub(super) fn training_windows<'a>(
    start: &Checkpoint,
    pipeline: &'a Pipeline,
    dataset: &'a Dataset,
    segments: &[usize],
) -> anyhow::Result<WindowSet<'a>> {
    let cut =
        Cut { window: start.meta.run.window(), seq_len: start.meta.model.seq_len, train: true };
    let mut set = WindowSet::new(dataset, pipeline, segments, cut)?;
    set.drop_unlabeled();
    Ok(set)
}
