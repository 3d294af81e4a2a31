//! `edgectl bench`: what this machine sustains, as a share of its own matrix-product rate.

mod case;
mod model;
mod optimizer;
mod parts;
mod products;
mod read;

use serde::Serialize;

use crate::cli::BenchCommand;
use crate::output::Output;

pub use case::Part;
use case::measure;

/// What a benchmark measured; the JSON form is the contract of `edgectl bench --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Repetitions measured.
    pub repetitions: usize,
    /// Median time of one, in microseconds.
    pub p50_us: f64,
    /// Nine of ten are faster.
    pub p90_us: f64,
    /// Ninety-nine of a hundred are faster.
    pub p99_us: f64,
    /// Rate of the matrix products alone, everything else counted as no work.
    pub gflops: f64,
    /// Rate of large matrix products on the same threads, measured before and after.
    pub matmul_gflops: f64,
    /// The one over the other.
    pub share: f64,
    /// Windows (or sequences) per second at the median time.
    pub per_s: f64,
    /// Threads used.
    pub threads: usize,
    /// Most memory this process has held.
    pub peak_rss_bytes: Option<u64>,
    /// Where the time of a training step goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// Runs a benchmark.
///
/// # Errors
/// If sizes make no sense.
pub fn run(command: BenchCommand, threads: usize, output: Output) -> anyhow::Result<()> {
    let mut case = match command {
        BenchCommand::Train(shape) => model::train(shape, threads)?,
        BenchCommand::Infer(shape) => model::infer(shape, threads)?,
        BenchCommand::Attention(shape) => products::attention(shape, threads)?,
        BenchCommand::Gemm(shape) => products::gemm(shape, threads)?,
        BenchCommand::Optimizer(shape) => return optimizer::run(&shape, threads, output),
        BenchCommand::Read(shape) => return read::run(&shape, threads, output),
    };
    let times = measure(&mut *case.once, case.seconds);
    // Measured last and small: its buffers shall not count as memory of the benchmark itself.
    let peak_rss_bytes = crate::system::peak_rss_bytes();
    let matmul_gflops = products::matmul_gflops(threads);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize] * 1e6;
    let gflops = case.flops / at(0.5) * 1e-3;
    let report = Report {
        repetitions: times.len(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        gflops,
        matmul_gflops,
        share: gflops / matmul_gflops,
        per_s: case.windows * 1e6 / at(0.5),
        threads,
        peak_rss_bytes,
        parts: case.parts.map_or_else(Vec::new, |parts| parts()),
    };
    let mut text = format!(
        "{}\np50 {:.1} µs, p90 {:.1} µs, p99 {:.1} µs over {} repetitions on {threads} threads\n{:.0} windows/s; products at {:.1} GFLOP/s, {:.0} % of this machine's {:.1}",
        case.what,
        report.p50_us,
        report.p90_us,
        report.p99_us,
        report.repetitions,
        report.per_s,
        report.gflops,
        100.0 * report.share,
        report.matmul_gflops
    );
    for Part { part, share } in &report.parts {
        text += &format!("\n{part:>24} {:5.1} %", 100.0 * share);
    }
    output.result(&report, &text)
}
