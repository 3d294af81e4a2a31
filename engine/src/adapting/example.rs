//! Windows with their classes, as a model sees them.

use crate::checkpoint::Checkpoint;
use crate::data::Dataset;
use crate::windows::{Cut, WindowBuffer, WindowSet};

/// A window with its class.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// `[len, channels]`, as the model sees them.
    pub values: Vec<f32>,
    /// Its class.
    pub class: u32,
    /// What it is like: windows of one group are all trained on, or none is.
    pub group: u64,
    /// Number of the window, in the order in which they were answered.
    pub id: u64,
}

/// A window of a series.
#[derive(Debug)]
pub struct OfSeries {
    /// The series.
    pub series: u64,
    /// Whether it shares no row with the last window of its series of which this was so.
    pub is_apart: bool,
    /// The window.
    pub example: Example,
}

/// The labelled windows of some segments, cut with the stride of the test, as they would come live.
///
/// # Errors
/// If no window can be cut.
pub fn labelled_examples(
    checkpoint: &Checkpoint,
    dataset: &Dataset,
    segments: &[usize],
) -> anyhow::Result<Vec<OfSeries>> {
    let meta = &checkpoint.meta;
    let cut = Cut { window: meta.run.window(), seq_len: meta.model.seq_len, train: false };
    let mut set = WindowSet::new(dataset, &meta.preprocess, segments, cut)?;
    set.drop_unlabeled();
    let mut buffer = WindowBuffer::default();
    let (mut found, mut last) = (Vec::new(), None);
    for (number, window) in set.windows().iter().enumerate() {
        set.fill([number], None, &mut buffer);
        let (values, class) = (buffer.values.clone(), buffer.targets[0]);
        let example = Example { values, class, group: 0, id: number as u64 };
        let is_apart =
            last.is_none_or(|(segment, end)| segment != window.segment || window.start >= end);
        if is_apart {
            last = Some((window.segment, window.start + window.len));
        }
        found.push(OfSeries { series: window.segment as u64, is_apart, example });
    }
    Ok(found)
}
