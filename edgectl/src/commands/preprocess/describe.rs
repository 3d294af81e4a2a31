//! `edgectl preprocess describe`: what was understood of data.

use serde::Serialize;

use crate::cli::DescribeArgs;
use crate::data::{DataConfig, Understood};
use crate::job::Job;
use crate::output::Output;

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    data: &'a Understood,
    warnings: &'a [String],
}

pub(super) fn run(args: &DescribeArgs, output: Output) -> anyhow::Result<()> {
    let job = args.config.as_deref().map(Job::read).transpose()?;
    let data = match &job {
        Some(job) => job.data_paths(&args.data)?,
        None => args.data.clone(),
    };
    let config = job.as_ref().map_or_else(DataConfig::default, |job| job.data.clone());
    let understood = Understood::read(&data, &config)?;
    understood.warnings.iter().for_each(|warning| output.warn(warning));
    let report = Report { data: &understood, warnings: &understood.warnings };
    output.result(&report, &understood.lines().join("\n"))
}
