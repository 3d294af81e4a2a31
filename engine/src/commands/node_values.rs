//! Values for the steps of a model that each node fits for itself, where the model has none.

use std::path::{Path, PathBuf};

use anyhow::bail;
use preprocess::Pipeline;

use crate::checkpoint::{NodeStep, NodeValues};
use crate::data::{Dataset, is_marked, train_segments};
use crate::output::Output;

/// What says which rows a node trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Training {
    /// Their mark: where none has one, all rows may be what is tested or asked for.
    Marked,
    /// As for `train`, which takes all rows where none has a mark.
    Rest,
}

/// Gives steps without values those of statistics, else fits them on the training rows of the data, and
/// says so; none if all steps have values.
///
/// # Errors
/// If there is neither, and as [`NodeValues::of_rows`] and [`NodeValues::of_statistics`].
pub(super) fn complete(
    pipeline: &mut Pipeline,
    (dataset, data): (&Dataset, &[PathBuf]),
    stats: Option<&Path>,
    training: Training,
    output: Output,
) -> anyhow::Result<Option<NodeValues>> {
    let values = if let Some(path) = stats {
        Some(NodeValues::of_statistics(pipeline, path)?)
    } else if pipeline.is_fitted() || dataset.preprocessed {
        None
    } else {
        let all: Vec<usize> = (0..dataset.segments.len()).collect();
        let says = training == Training::Rest || is_marked(dataset, &all);
        let Some(train) = train_segments(dataset, &all).ok().filter(|_| says) else {
            bail!(
                "{}: {} fitted by each node (fit = \"node\") and has no values in the model, and no row of the data is marked for training; mark rows in a split column, or give --stats FILE, which `edgectl preprocess fit --model MODEL` writes of the node's training rows",
                data.first().map(|path| path.display().to_string()).unwrap_or_default(),
                NodeStep::said(&NodeStep::unfitted(pipeline))
            );
        };
        let n_nodes = dataset.nodes().len();
        if n_nodes > 1 {
            output.warn(&format!(
                "the data is of {n_nodes} nodes, each of which trained on values of its own (fit = \"node\"), but \
                 here one fit is made for all: answers are worse than theirs; give the data of one node at a time"
            ));
        }
        NodeValues::of_rows(pipeline, dataset, &train, data)?
    };
    if let Some(values) = &values {
        output.note(&values.to_string());
    }
    Ok(values)
}
