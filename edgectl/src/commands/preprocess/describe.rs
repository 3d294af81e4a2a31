//! `edgectl preprocess describe`: what was understood of data.

use std::time::Instant;

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
    /// How long it took.
    wall_s: f64,
    /// Most memory this process has held.
    peak_rss_bytes: Option<u64>,
}

pub(super) fn run(args: &DescribeArgs, output: Output) -> anyhow::Result<()> {
    let began = Instant::now();
    let job = args.config.as_deref().map(Job::read).transpose()?;
    let data = match &job {
        Some(job) => job.data_paths(&args.data)?,
        None => args.data.clone(),
    };
    let config = job.as_ref().map_or_else(DataConfig::default, |job| job.data.clone());
    let understood = Understood::read(&data, &config)?;
    understood.warnings.iter().for_each(|warning| output.warn(warning));
    let report = Report {
        data: &understood,
        warnings: &understood.warnings,
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: crate::system::peak_rss_bytes(),
    };
    output.result(&report, &understood.lines().join("\n"))
}
