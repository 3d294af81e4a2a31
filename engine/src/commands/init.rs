//! `edgectl init`: a fresh model that fits the data's schema.

use std::path::Path;

use aggregate::Targets;
use anyhow::Context;
use serde::Serialize;

use super::overrides::checked;
use super::targets::protect_data;
use crate::checkpoint::{Checkpoint, StatsFile};
use crate::cli::InitArgs;
use crate::data::{Dataset, Understood};
use crate::job::Job;
use crate::output::{Output, shown};
use crate::padding::padding;
use crate::run::Schema;

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    parameters: usize,
    channels: &'a [String],
    classes: &'a [String],
    window_len: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Understood>,
    warnings: &'a [String],
}

pub(super) fn run(args: &InitArgs, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    targets.protect(&args.config)?;
    let job = Job::read(&args.config)?;
    let (checkpoint, understood) = if let Some(path) = &args.stats {
        targets.protect(path)?;
        (of_statistics(args, job, path)?, None)
    } else {
        let (checkpoint, understood) = of_data(args, job, &targets)?;
        output.understood(&understood);
        (checkpoint, Some(understood))
    };
    checkpoint.write(&args.out)?;
    let meta = &checkpoint.meta;
    let report = Report {
        out: args.out.display().to_string(),
        parameters: checkpoint.params.len(),
        channels: &meta.channels,
        classes: &meta.classes,
        window_len: meta.model.seq_len,
        data: understood.as_ref(),
        warnings: understood.as_ref().map_or(&[], |understood| understood.warnings.as_slice()),
    };
    let text = format!(
        "{}: a fresh model with {} parameters for {} channels, windows of {} steps, {} classes",
        shown(&report.out),
        report.parameters,
        meta.channels.len(),
        report.window_len,
        meta.classes.len()
    );
    output.result(&report, &text)
}

/// Fitted on the training rows of the data.
fn of_data(
    args: &InitArgs,
    job: Job,
    targets: &Targets,
) -> anyhow::Result<(Checkpoint, Understood)> {
    let data = job.data_paths(&args.data)?;
    protect_data(targets, &data, &job.data)?;
    let dataset = Dataset::read(&data, &job.data, None)?;
    let run = checked(job, &args.config, args, Schema::of(&dataset))?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let checkpoint = Checkpoint::fresh_for(&run, &dataset, &all, &dataset.nodes())?;
    let mut understood = Understood::of(&dataset).at_rate(run.job().data.sample_rate_hz);
    understood.warnings.extend(padding(&checkpoint, &dataset, &all)?);
    Ok((checkpoint, understood))
}

/// Fitted on statistics of nodes, whose rows nobody shows.
fn of_statistics(args: &InitArgs, job: Job, path: &Path) -> anyhow::Result<Checkpoint> {
    let stats = StatsFile::read(path)?;
    let channels = stats.statistics.scope().fitted.input().channels();
    let schema = Schema { channels, classes: stats.classes.len() };
    let run = checked(job, &args.config, args, schema)?;
    Checkpoint::of_statistics(&run, &stats).with_context(|| format!("{}", path.display()))
}
