//! `edgectl init`: a fresh model that fits the data's schema.

use serde::Serialize;

use super::folder::check_folder;
use super::overrides::checked;
use crate::checkpoint::Checkpoint;
use crate::cli::InitArgs;
use crate::data::Dataset;
use crate::job::Job;
use crate::output::{Output, shown};

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    parameters: usize,
    channels: &'a [String],
    classes: &'a [String],
    window_len: usize,
}

pub(super) fn run(args: &InitArgs, output: Output) -> anyhow::Result<()> {
    check_folder(&args.out)?;
    let job = Job::read(&args.config)?;
    let dataset = Dataset::read(&job.data_paths(&args.data)?, &job.data, None)?;
    let run = checked(job, &args.config, args, &dataset)?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let checkpoint = Checkpoint::fresh(&run, &dataset, &all)?;
    checkpoint.write(&args.out)?;
    let meta = &checkpoint.meta;
    let report = Report {
        out: args.out.display().to_string(),
        parameters: checkpoint.params.len(),
        channels: &meta.channels,
        classes: &meta.classes,
        window_len: meta.model.seq_len,
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
