//! `edgectl preprocess fit`: what a node tells of its training rows, so that all nodes scale alike.

use aggregate::Targets;
use anyhow::{Context, ensure};
use preprocess::Rounds;
use serde::Serialize;

use super::super::targets::protect_data;
use super::super::train::node_name;
use crate::checkpoint::StatsFile;
use crate::cli::FitArgs;
use crate::data::{Dataset, Understood, train_segments};
use crate::job::Job;
use crate::output::{Output, shown};

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    node: &'a str,
    rows: u64,
    /// The steps that are fitted already.
    fitted: usize,
    steps: usize,
    data: &'a Understood,
}

pub(super) fn run(args: &FitArgs, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    for input in std::iter::once(&args.config).chain(&args.stats) {
        targets.protect(input)?;
    }
    let job = Job::read(&args.config)?;
    let data = job.data_paths(&args.data)?;
    protect_data(&targets, &data, &job.data)?;
    let dataset = Dataset::read(&data, &job.data, None)?;
    let understood = Understood::of(&dataset);
    output.understood(&understood);
    let stage = dataset.stage(&job.data);
    let rounds = match &args.stats {
        None => Rounds::new(&job.preprocess, &stage).context("[[preprocess]]")?,
        Some(path) => {
            let before = StatsFile::read(path)?;
            before.rounds(&job.preprocess).with_context(|| format!("{}", path.display()))?
        }
    };
    ensure!(
        rounds.finished().is_none(),
        "{}: no [[preprocess]] step is left to be fitted on statistics: `edgectl init` needs none",
        args.config.display()
    );
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let train = train_segments(&dataset, &all)?;
    let rate_hz = rounds.scope().fitted.input().rate_hz;
    let series: Vec<_> =
        train.iter().map(|&i| dataset.segments[i].rows(dataset.channels.len(), rate_hz)).collect();
    let longest = series.iter().map(preprocess::Rows::len).max().unwrap_or(0);
    let statistics = rounds.statistics(&series).context("[[preprocess]]")?;
    let node = args.node.clone().unwrap_or_else(|| node_name(&dataset, &data));
    let file = StatsFile {
        statistics,
        nodes: vec![node.clone()],
        classes: dataset.classes.clone(),
        longest,
    };
    file.write(&args.out)?;
    let report = Report {
        out: args.out.display().to_string(),
        node: &node,
        rows: file.statistics.rows(),
        fitted: rounds.position(),
        steps: job.preprocess.len(),
        data: &understood,
    };
    let text = format!(
        "{}: statistics of {} training rows of node {} for step {} of {} ({}); merge those of all nodes with `edgectl aggregate`",
        shown(&report.out),
        report.rows,
        shown(&node),
        report.fitted + 1,
        report.steps,
        job.preprocess[report.fitted].name()
    );
    output.result(&report, &text)
}
