//! `edgectl preprocess fit`: what a node tells of its training rows, so that all nodes scale alike.

use std::path::PathBuf;

use aggregate::Targets;
use anyhow::{Context, ensure};
use preprocess::{FitBy, Rounds};
use serde::Serialize;

use super::super::targets::protect_data;
use super::super::train::node_name;
use crate::checkpoint::{Meta, StatsFile, open_model};
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

/// What is to be fitted, and on what.
struct Work {
    rounds: Rounds,
    data: Vec<PathBuf>,
    dataset: Dataset,
    understood: Understood,
}

pub(super) fn run(args: &FitArgs, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    for input in args.config.iter().chain(&args.model).chain(&args.stats) {
        targets.protect(input)?;
    }
    let Work { rounds, data, dataset, understood } = match &args.model {
        Some(model) => of_model(args, &Meta::read(&open_model(model)?)?, &targets, output)?,
        None => of_job(args, &targets, output)?,
    };
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let train = train_segments(&dataset, &all)?;
    let rate_hz = rounds.scope().fitted.input().rate_hz;
    let series = dataset.rows(&train, rate_hz);
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
    let steps = &file.statistics.scope().configs;
    let report = Report {
        out: args.out.display().to_string(),
        node: &node,
        rows: file.statistics.rows(),
        fitted: rounds.position(),
        steps: steps.len(),
        data: &understood,
    };
    let text = format!(
        "{}: statistics of {} training rows of node {} for step {} of {} ({}); {}",
        shown(&report.out),
        report.rows,
        shown(&node),
        report.fitted + 1,
        report.steps,
        steps[report.fitted].name(),
        if args.model.is_some() {
            "give them to eval, predict and preprocess apply with --stats"
        } else {
            "merge those of all nodes with `edgectl aggregate`"
        }
    );
    output.result(&report, &text)
}

/// The steps of a job that are not each node's own.
fn of_job(args: &FitArgs, targets: &Targets, output: Output) -> anyhow::Result<Work> {
    let config = args.config.as_deref().context("give --config JOB.toml or --model MODEL")?;
    let job = Job::read(config)?;
    let data = job.data_paths(&args.data)?;
    protect_data(targets, &data, &job.data)?;
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
        "{}: no [[preprocess]] step is left to be fitted on statistics: `edgectl init` needs none{}",
        config.display(),
        if job.preprocess.iter().any(|step| step.fit == FitBy::Node) {
            "; for steps with fit = \"node\" give the model that it makes, with --model"
        } else {
            ""
        }
    );
    Ok(Work { rounds, data, dataset, understood })
}

/// The steps of a model that are each node's own.
fn of_model(
    args: &FitArgs,
    meta: &Meta,
    targets: &Targets,
    output: Output,
) -> anyhow::Result<Work> {
    let data = args.data.clone();
    protect_data(targets, &data, meta.run.data())?;
    let dataset = meta.read_data(&data, false)?;
    let understood = Understood::of(&dataset);
    output.understood(&understood);
    let behind = args.stats.as_deref().map(StatsFile::read).transpose()?;
    let rounds = meta.preprocess.node_rounds(behind.as_ref().map(|file| &file.statistics))?;
    ensure!(
        rounds.finished().is_none(),
        "--model: no step of the model with fit = \"node\" is left to be fitted on statistics"
    );
    Ok(Work { rounds, data, dataset, understood })
}
