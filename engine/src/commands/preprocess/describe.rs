//! `edgectl preprocess describe`: what was understood of data.

use std::path::PathBuf;
use std::time::Instant;

use aggregate::{Targets, atomic_write};
use serde::Serialize;

use super::super::targets::protect_data;
use crate::cli::DescribeArgs;
use crate::data::{DataConfig, Described, Excerpt, Understood, Unread};
use crate::job::Job;
use crate::output::Output;
use crate::plot;
use crate::system::peak_rss_bytes;

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    data: Option<&'a Understood>,
    /// Files with other channels than those before.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    other_sets: &'a [Understood],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unread: &'a [Unread],
    /// The picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    plot: Option<String>,
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
    if let Some(plot) = &args.plot {
        plot::check(plot)?;
        let mut targets = Targets::default();
        targets.add(plot)?;
        args.config.iter().try_for_each(|config| targets.protect(config))?;
        // A folder without data files of its own holds nothing that ends as a picture does.
        if let Err(error) = protect_data(&targets, &data, &config)
            && data.iter().all(|path| path.is_file())
        {
            return Err(error);
        }
    }
    let described = Described::read(&data, &config)?;
    let warnings = described.warnings();
    for warning in &warnings {
        output.warn(warning);
    }
    if let (Some(plot), Some(first)) = (&args.plot, described.sets.first()) {
        let job = job.as_ref().map(|job| (job, &data[..]));
        let picture = picture(first, &described.excerpt, job, plot::is_png(plot))?;
        atomic_write(plot, &picture)?;
    }
    let report = Report {
        data: described.sets.first(),
        other_sets: described.sets.get(1..).unwrap_or_default(),
        unread: &described.unread,
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
        plot: args.plot.as_ref().map(|plot| plot.display().to_string()),
        warnings: &warnings,
    };
    output.result(&report, &described.lines().join("\n"))
}

/// The picture of the first set of files; of a job with steps, fitted as training fits them.
#[cfg(feature = "plot")]
fn picture(
    data: &Understood,
    excerpt: &Excerpt,
    job: Option<(&Job, &[PathBuf])>,
    as_png: bool,
) -> anyhow::Result<Vec<u8>> {
    use super::plot::{Picture, Signal};
    use super::steps::fitted;
    use crate::data::{Dataset, Scaled};

    let raw = Signal::of(&excerpt.names, &excerpt.values, data.rate_hz);
    let mut clean = None;
    if let Some((job, paths)) = job.filter(|(job, _)| !job.preprocess.is_empty()) {
        let dataset = Dataset::read(paths, &job.data, None)?;
        let pipeline = fitted(job, &dataset)?;
        if let Some(segment) = dataset.segments.first() {
            let scaled = Scaled::of(segment, &dataset, &pipeline)?;
            let out = pipeline.output();
            let rate_hz = out.rate_hz.or(raw.rate_hz.filter(|_| pipeline.keeps_rows()));
            clean = Some(Signal::of(&out.names, &scaled.values, rate_hz));
        }
    }
    plot::bytes(&Picture { data, raw: &raw, clean: clean.as_ref() }, as_png)
}

#[cfg(not(feature = "plot"))]
fn picture(
    _: &Understood,
    _: &Excerpt,
    _: Option<(&Job, &[PathBuf])>,
    _: bool,
) -> anyhow::Result<Vec<u8>> {
    anyhow::bail!("no pictures in this build")
}
