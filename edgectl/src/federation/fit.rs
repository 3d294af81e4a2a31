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
        let parts: Vec<(String, StatsFile)> = nodes
            .iter()
            .map(|node| {
                let train = train_segments(dataset, &node.segments)?;
                let rows = |&i: &usize| dataset.segments[i].rows(stage.channels(), stage.rate_hz);
                let series: Vec<_> = train.iter().map(rows).collect();
                let statistics = rounds.statistics(&series);
                let statistics = statistics.with_context(|| format!("node {}", node.name))?;
                let nodes = vec![node.name.clone()];
                Ok((
                    node.name.clone(),
                    StatsFile { statistics, nodes, classes: Vec::new(), longest: 0 },
                ))
            })
            .collect::<anyhow::Result<_>>()?;
        let max_weight = run.federation().rules.max_weight.get();
        let (merged, less) = StatsFile::merge(&parts, max_weight)?;
        rounds.fit(&merged.statistics).context("fitting [[preprocess]]")?;
        capped = less;
    }
    let pipeline = rounds.finished().cloned().context("[[preprocess]]")?;
    Ok((pipeline, capped))
}
