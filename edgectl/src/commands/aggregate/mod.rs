//! `edgectl aggregate`: merges weight files.

mod plan;
mod quarantine;
mod report;

use std::time::Instant;

use anyhow::ensure;

use self::plan::plan;
use self::quarantine::quarantine;
use self::report::{CappedReport, Report, UpdateReport, text};
use super::folder::check_folder;
use crate::checkpoint::MergeNote;
use crate::cli::AggregateArgs;
use crate::federation::{Merged, merge};
use crate::output::Output;
use crate::system::peak_rss_bytes;

pub(super) fn run(args: &AggregateArgs, output: Output) -> anyhow::Result<()> {
    let began = Instant::now();
    check_folder(&args.out)?;
    if let Some(folder) = &args.quarantine {
        ensure!(
            folder.is_dir(),
            "--quarantine {}: there is no such folder; create it first",
            folder.display()
        );
    }
    let (strategy, plan) = plan(args)?;
    let Merged { report, refused, weights_unknown, note } = merge(&args.updates, &plan)?;
    if weights_unknown
        && args.weights.is_none()
        && !args.uniform
        && !args.by_count
        && note.reduce.is_weighted()
    {
        let known = "most files do not say how many examples they were trained on";
        output.note(&format!("note: {known}; all weigh the same"));
    }
    let quarantined = match &args.quarantine {
        Some(folder) => {
            let stay = [Some(&args.out), args.base.as_ref()];
            quarantine(&refused, folder, &stay)?
        }
        None => Vec::new(),
    };
    let MergeNote { reduce, server, weight, n_updates, updates, capped, changes, privacy } = note;
    // The note has no paths, but the same order.
    let over = report.summary.admitted.iter().filter(|a| a.counted < a.weight);
    let capped = over
        .zip(capped)
        .map(|(a, note)| CappedReport { path: a.path.display().to_string(), note })
        .collect();
    let admitted = report.summary.admitted.iter().map(|a| &a.path);
    let paths = admitted.chain(report.summary.rejected.iter().map(|r| &r.path));
    let updates = paths
        .zip(updates)
        .map(|(path, note)| UpdateReport { path: path.display().to_string(), note })
        .collect();
    let report = Report {
        out: args.out.display().to_string(),
        inputs: args.updates.len(),
        rejected: refused,
        strategy,
        tensors: report.n_tensors,
        parameters: report.n_parameters,
        bytes_read: report.bytes_read,
        reduce,
        server,
        weight,
        n_updates,
        updates,
        capped,
        changes,
        privacy,
        quarantined,
        buffer_bytes: report.buffer_bytes,
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
    };
    output.result(&report, &text(&report))
}
