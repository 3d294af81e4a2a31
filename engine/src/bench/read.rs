//! Reading of data: from files to rows in memory, as training does.

use anyhow::Context;
use serde::Serialize;

use super::case::measure;
use crate::cli::ReadShape;
use crate::data::{DataConfig, Dataset, data_files};
use crate::output::Output;

/// What the benchmark measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Report {
    files: usize,
    bytes: u64,
    rows: usize,
    repetitions: usize,
    p50_us: f64,
    p99_us: f64,
    /// Bytes of files at the median time.
    mb_per_s: f64,
    /// Sums of the present values of each channel.
    check: Vec<f64>,
    threads: usize,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn run(shape: &ReadShape, threads: usize, output: Output) -> anyhow::Result<()> {
    let config = DataConfig::default();
    let files = data_files(&shape.data, config.format)?;
    let sizes = files.iter().map(|path| {
        let size = std::fs::metadata(path).map(|about| about.len());
        size.with_context(|| format!("{}: cannot read the file", path.display()))
    });
    let bytes = sizes.sum::<anyhow::Result<u64>>()?;
    let read = || Dataset::read(&shape.data, &config, None);
    let (rows, check) = counted(&read()?);
    let mut failed = None;
    let times = measure(&mut || failed = failed.take().or(read().err()), shape.seconds);
    if let Some(error) = failed {
        return Err(error);
    }
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize] * 1e6;
    let report = Report {
        files: files.len(),
        bytes,
        rows,
        repetitions: times.len(),
        p50_us: at(0.5),
        p99_us: at(0.99),
        mb_per_s: bytes as f64 / at(0.5),
        check,
        threads,
        peak_rss_bytes: crate::system::peak_rss_bytes(),
    };
    let text = format!(
        "{} files, {rows} rows\np50 {:.0} ms over {} repetitions on {threads} threads, {:.0} MB/s",
        report.files,
        report.p50_us / 1e3,
        report.repetitions,
        report.mb_per_s
    );
    output.result(&report, &text)
}

fn counted(dataset: &Dataset) -> (usize, Vec<f64>) {
    let n_channels = dataset.channels.len();
    let mut sums = vec![0.0; n_channels];
    let mut rows = 0;
    for segment in &dataset.segments {
        for row in segment.values.chunks_exact(n_channels) {
            let values = sums.iter_mut().zip(row).filter(|(_, v)| !v.is_nan());
            values.for_each(|(sum, v)| *sum += v);
            rows += 1;
        }
    }
    (rows, sums)
}
