//! A step of an optimizer alone, beside a plain copy that moves as many bytes.

use anyhow::{Context, ensure};
use rayon::prelude::*;
use serde::Serialize;

use super::case::{measure, noise};
use crate::cli::OptimizerShape;
use crate::output::Output;

/// What the benchmark measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Report {
    optimizer: &'static str,
    params: usize,
    repetitions: usize,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    /// Bytes that a step reads and writes.
    bytes: f64,
    gb_per_s: f64,
    /// Median time of a copy that reads and writes as many bytes in all.
    copy_us: f64,
    copy_gb_per_s: f64,
    /// The step's rate over the copy's.
    share: f64,
    threads: usize,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn run(shape: &OptimizerShape, threads: usize, output: Output) -> anyhow::Result<()> {
    let n = shape.params;
    ensure!((1..=1 << 30).contains(&n), "--params must be 1 to {}", 1 << 30);
    let mut optimizer = shape.name.build(n).context("the optimizer")?;
    // A state of one parameter says how many numbers are kept of each.
    let n_slots = shape.name.build(1)?.state().tensors.len();
    let floats = match optimizer.name() {
        // Two passes, with a direction between them.
        "lamb" => 12,
        _ => 3 + 2 * n_slots,
    };
    let bytes = (4 * floats * n) as f64;
    let (mut params, grads) = (noise(n, 1), noise(n, 2));
    let times = measure(&mut || optimizer.step(&mut params, &grads, 1e-6), shape.seconds);
    let peak_rss_bytes = crate::system::peak_rss_bytes();

    let half = (bytes / 8.0) as usize;
    let (from, mut to) = (noise(half, 3), vec![0.0_f32; half]);
    let per_thread = half.div_ceil(threads).max(1);
    let copies = measure(
        &mut || {
            if half < 1 << 16 {
                to.copy_from_slice(&from);
            } else {
                let parts = to.par_chunks_mut(per_thread).zip(from.par_chunks(per_thread));
                parts.for_each(|(to, from)| to.copy_from_slice(from));
            }
        },
        shape.seconds / 4.0,
    );
    let at = |times: &[f64], share: f64| {
        times[((times.len() - 1) as f64 * share).round() as usize] * 1e6
    };
    let (p50_us, copy_us) = (at(&times, 0.5), at(&copies, 0.5));
    let report = Report {
        optimizer: optimizer.name(),
        params: n,
        repetitions: times.len(),
        p50_us,
        p90_us: at(&times, 0.9),
        p99_us: at(&times, 0.99),
        bytes,
        gb_per_s: bytes / p50_us * 1e-3,
        copy_us,
        copy_gb_per_s: bytes / copy_us * 1e-3,
        share: copy_us / p50_us,
        threads,
        peak_rss_bytes,
    };
    let text = format!(
        "{} over {n} parameters\np50 {:.1} µs, p90 {:.1} µs, p99 {:.1} µs over {} repetitions on {threads} threads\n{:.1} GB/s; a copy of as many bytes takes {:.1} µs, {:.1} GB/s",
        report.optimizer,
        report.p50_us,
        report.p90_us,
        report.p99_us,
        report.repetitions,
        report.gb_per_s,
        report.copy_us,
        report.copy_gb_per_s
    );
    output.result(&report, &text)
}
