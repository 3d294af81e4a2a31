//! Preprocessing that is fitted across nodes before the first round: what each node hands out, merged.

use anyhow::Context;
use preprocess::{Capped, Pipeline, Rounds};

use crate::checkpoint::StatsFile;
use crate::data::{Dataset, Node, train_segments};
use crate::run::Run;

/// Fits the steps of a run on statistics of the nodes' training rows, by as many rounds as they take,
/// and says which nodes count less than the rows that they have.
///
/// # Errors
/// If a step cannot be fitted; the node is named.
pub fn fit_across(
    run: &Run,
    dataset: &Dataset,
    nodes: &[Node],
) -> anyhow::Result<(Pipeline, Vec<Capped>)> {
    let steps = &run.job().preprocess;
    let stage = dataset.stage(run.data());
    let mut rounds = Rounds::new(steps, &stage).context("[[preprocess]]")?;
    let mut capped = Vec::new();
    while rounds.finished().is_none() {
        let (merged, less) = one_round(run, &rounds, dataset, nodes)?;
        rounds.fit(&merged.statistics).context("fitting [[preprocess]]")?;
        capped = less;
    }
    let pipeline = rounds.finished().cloned().context("[[preprocess]]")?;
    Ok((pipeline, capped))
}

/// Gives steps that each node fits for itself the values of all nodes' training rows together, by
/// statistics: for a node that has none.
///
/// # Errors
/// As [`fit_across`].
pub(super) fn fit_for_others(
    run: &Run,
    pipeline: &Pipeline,
    dataset: &Dataset,
    nodes: &[Node],
) -> anyhow::Result<Pipeline> {
    let failed = || "fitting [[preprocess]]";
    let mut rounds = pipeline.node_rounds(None).with_context(failed)?;
    loop {
        let (merged, _) = one_round(run, &rounds, dataset, nodes)?;
        rounds = pipeline.node_rounds(Some(&merged.statistics)).with_context(failed)?;
        if rounds.finished().is_some() {
            return pipeline.fit_node_on(&merged.statistics).with_context(failed);
        }
    }
}

/// The statistics of all nodes in a round.
fn one_round(
    run: &Run,
    rounds: &Rounds,
    dataset: &Dataset,
    nodes: &[Node],
) -> anyhow::Result<(StatsFile, Vec<Capped>)> {
    let rate_hz = rounds.scope().fitted.input().rate_hz;
    let parts: Vec<(String, StatsFile)> = nodes
        .iter()
        .map(|node| {
            let series = dataset.rows(&train_segments(dataset, &node.segments)?, rate_hz);
            let statistics = rounds.statistics(&series);
            let statistics = statistics.with_context(|| format!("node {}", node.name))?;
            let nodes = vec![node.name.clone()];
            let file = StatsFile { statistics, nodes, classes: Vec::new(), longest: 0 };
            Ok((node.name.clone(), file))
        })
        .collect::<anyhow::Result<_>>()?;
    StatsFile::merge(&parts, run.federation().rules.max_weight.get())
}
