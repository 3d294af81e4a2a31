//! `edgectl eval`: metrics on held-out data.

use anyhow::ensure;
use serde::Serialize;

use super::node_values::{Training, complete};
use crate::checkpoint::{Checkpoint, NodeValues};
use crate::cli::EvalArgs;
use crate::data::{NOTHING_MARKED, is_marked, test_segments};
use crate::evaluate::evaluate;
use crate::job::Job;
use crate::metrics::Metrics;
use crate::output::{Output, metrics_text};

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    metrics: &'a Metrics,
    warnings: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_fit: Option<NodeValues>,
}

pub(super) fn run(args: &EvalArgs, threads: usize, output: Output) -> anyhow::Result<()> {
    let mut checkpoint = Checkpoint::read(&args.model)?;
    let job = args.config.as_deref().map(Job::read).transpose()?;
    let tables = job.as_ref().map(|job| &job.data);
    let dataset = checkpoint.meta.read_data_with(&args.data, args.preprocessed, tables)?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let segments = if args.all { all } else { test_segments(&dataset, &all) };
    ensure!(
        !segments.is_empty(),
        "{}: no row is marked for the test; --all evaluates on every row",
        args.data[0].display()
    );
    let node_fit = complete(
        &mut checkpoint.meta.preprocess,
        (&dataset, &args.data),
        args.stats.as_deref(),
        Training::Marked,
        output,
    )?;
    let warnings =
        if args.all || is_marked(&dataset, &segments) { Vec::new() } else { vec![NOTHING_MARKED] };
    for warning in &warnings {
        output.warn(warning);
    }
    let metrics = evaluate(&checkpoint, &dataset, &segments, args.precision.into(), threads)?;
    output.result(&Report { metrics: &metrics, warnings, node_fit }, &metrics_text(&metrics))
}
