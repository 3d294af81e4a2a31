//! `edgectl preprocess apply`: data as a model sees it, after the row-wise steps.

use aggregate::{Targets, atomic_write};
use anyhow::{Context, ensure};
use preprocess::Pipeline;
use serde::Serialize;

use super::super::node_values::{Training, complete};
use super::super::targets::protect_data;
use super::steps::fitted;
use crate::checkpoint::{Meta, NodeValues, StatsFile, open_model};
use crate::cli::ApplyArgs;
use crate::data::{DataConfig, Dataset, Scaled, Segment};
use crate::job::Job;
use crate::output::{Output, shown};

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    rows: usize,
    /// What the columns of values are called.
    channels: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    node_fit: Option<NodeValues>,
}

/// What to run over which rows.
struct Work {
    data: DataConfig,
    dataset: Dataset,
    pipeline: Pipeline,
    node_fit: Option<NodeValues>,
}

pub(super) fn run(args: &ApplyArgs, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    for input in args.model.iter().chain(&args.config).chain(&args.stats) {
        targets.protect(input)?;
    }
    let Work { data, dataset, pipeline, node_fit } = match (&args.model, &args.config) {
        (Some(model), _) => {
            let meta = Meta::read(&open_model(model)?)?;
            ensure!(!args.data.is_empty(), "no data: give --data PATH");
            protect_data(&targets, &args.data, meta.run.data())?;
            let dataset = meta.read_data(&args.data, false)?;
            let (data, mut pipeline) = (meta.run.data().clone(), meta.preprocess);
            let of = (&dataset, args.data.as_slice());
            let stats = args.stats.as_deref();
            let node_fit = complete(&mut pipeline, of, stats, Training::Rest, output)?;
            Work { data, dataset, pipeline, node_fit }
        }
        (None, Some(config)) => of_job(args, &Job::read(config)?, &targets, output)?,
        (None, None) => anyhow::bail!("give --model MODEL or --config JOB.toml"),
    };
    let channels = &pipeline.output().names;
    let mut table = Vec::new();
    let scaled = |segment: &Segment| Scaled::of(segment, &dataset, &pipeline);
    let rows = dataset.write_long((&data, channels), scaled, &mut table)?;
    atomic_write(&args.out, &table)?;
    let report = Report { out: args.out.display().to_string(), rows, channels, node_fit };
    let text = format!("{}: {rows} rows, scaled; read it with --preprocessed", shown(&report.out));
    output.result(&report, &text)
}

/// The steps of a job, fitted on merged statistics, else on the training rows at hand.
fn of_job(args: &ApplyArgs, job: &Job, targets: &Targets, output: Output) -> anyhow::Result<Work> {
    let data = job.data_paths(&args.data)?;
    protect_data(targets, &data, &job.data)?;
    let dataset = Dataset::read(&data, &job.data, None)?;
    let mut pipeline = if let Some(path) = &args.stats {
        let stats = StatsFile::read(path)?;
        let pipeline = stats.pipeline(&job.preprocess);
        let pipeline = pipeline.with_context(|| format!("{}", path.display()))?;
        ensure!(
            pipeline.input().names == dataset.channels,
            "{}: statistics of the channels {}, but the data has {}",
            path.display(),
            pipeline.input().names.join(", "),
            dataset.channels.join(", ")
        );
        pipeline
    } else {
        fitted(job, &dataset)?
    };
    let node_fit = complete(&mut pipeline, (&dataset, &data), None, Training::Rest, output)?;
    Ok(Work { data: job.data.clone(), dataset, pipeline, node_fit })
}
