//! The model that a federation begins with.

use preprocess::Capped;

use crate::checkpoint::Checkpoint;
use crate::data::{Dataset, Node};
use crate::federation::fit_across;
use crate::job::FitOn;
use crate::output::Output;
use crate::run::Run;

/// A fresh model, whose preprocessing is fitted on the nodes' training rows or on statistics of them.
///
/// # Errors
/// As [`Checkpoint::fresh_for`] and [`fit_across`].
pub(super) fn fresh(
    run: &Run,
    dataset: &Dataset,
    nodes: &[Node],
    segments: &[usize],
    output: Output,
) -> anyhow::Result<Checkpoint> {
    if run.federation().fit == FitOn::Rows {
        return Checkpoint::fresh_for(run, dataset, segments, nodes);
    }
    let (pipeline, capped) = fit_across(run, dataset, nodes)?;
    for Capped { node, claimed, counted } in &capped {
        output.note(&format!(
            "statistics of node {node}: its {claimed} rows count as {counted} (max_weight)"
        ));
    }
    Checkpoint::fresh_with(run, dataset, segments, pipeline)
}
