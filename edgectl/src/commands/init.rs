//! `edgectl init`: a fresh model that fits the data's schema.

use aggregate::Targets;
use serde::Serialize;

use super::overrides::checked;
use super::targets::protect_data;
use crate::checkpoint::Checkpoint;
use crate::cli::InitArgs;
use crate::data::{Dataset, Understood};
use crate::job::Job;
use crate::output::{Output, shown};

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    parameters: usize,
    channels: &'a [String],
    classes: &'a [String],
    window_len: usize,
    data: &'a Understood,
    warnings: &'a [String],
}

pub(super) fn run(args: &InitArgs, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    targets.protect(&args.config)?;
    let job = Job::read(&args.config)?;
    let data = job.data_paths(&args.data)?;
    protect_data(&targets, &data, job.data.format)?;
    let dataset = Dataset::read(&data, &job.data, None)?;
    let run = checked(job, &args.config, args, &dataset)?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let checkpoint = Checkpoint::fresh(&run, &dataset, &all)?;
    let understood = Understood::of(&dataset);
    output.understood(&understood);
    checkpoint.write(&args.out)?;
    let meta = &checkpoint.meta;
    let report = Report {
        out: args.out.display().to_string(),
        parameters: checkpoint.params.len(),
        channels: &meta.channels,
        classes: &meta.classes,
        window_len: meta.model.seq_len,
        data: &understood,
        warnings: &understood.warnings,
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
