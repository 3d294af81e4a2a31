//! `edgectl aggregate`: merges weight files.

mod adapter_config;
mod effects;
mod plan;
mod quarantine;
mod report;
mod statistics;

use std::path::Path;
use std::time::Instant;

use aggregate::{Adapters, SERVER_STATE, Targets};
use anyhow::ensure;

use self::plan::plan;
use self::quarantine::quarantine;
use self::report::{AdaptersReport, CappedReport, Report, UpdateReport, text};
use crate::checkpoint::MergeNote;
use crate::cli::AggregateArgs;
use crate::federation::{Merged, merge};
use crate::output::Output;
use crate::system::peak_rss_bytes;

pub(super) fn run(args: &AggregateArgs, output: Output) -> anyhow::Result<()> {
    if statistics::are_given(args)? {
        return statistics::run(args, output);
    }
    let began = Instant::now();
    let mut targets = targets(args)?;
    if let Some(folder) = &args.quarantine {
        ensure!(
            folder.is_dir(),
            "--quarantine {}: there is no such folder; create it first",
            folder.display()
        );
    }
    let (strategy, plan) = plan(args)?;
    effects::check(args, &plan.options.rules)?;
    if plan.options.rules.needs_state().is_some() {
        add_state(&mut targets, args)?;
    }
    let config = match args.adapters {
        Some(Adapters::Stack) => adapter_config::declare(&mut targets, args)?,
        _ => None,
    };
    let Merged { report, refused, weights_unknown, note } = merge(&args.updates, &plan)?;
    let config = adapter_config::write(config, report.summary.adapters.as_ref())?;
    if weights_unknown
        && args.weights.is_none()
        && !args.uniform
        && !args.by_count
        && note.reduce.is_weighted()
    {
        let known = "most files do not say how many examples they were trained on";
        output.note(&format!("note: {known}; all weigh the same"));
    }
    let quarantined = args.quarantine.as_ref().map(|folder| {
        let stay = [Some(&args.out), args.base.as_ref()];
        quarantine(&refused, folder, &stay)
    });
    let quarantined = quarantined.unwrap_or_default();
    let MergeNote {
        reduce,
        server,
        weight,
        n_updates,
        updates,
        capped,
        changes,
        privacy,
        adapters,
    } = note;
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
        adapters: adapters.map(|note| AdaptersReport::new(note, config)),
        quarantined: quarantined.to,
        buffer_bytes: report.buffer_bytes,
        spent: report.spent,
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
    };
    output.result(&report, &text(&report))?;
    let n_failed = quarantined.failed.len();
    quarantined.failed.into_iter().next().map_or(Ok(()), |first| {
        let out = args.out.display();
        Err(first
            .context(format!("{out} is written, but {n_failed} refused files are where they were")))
    })
}

/// The model, which may be the base.
fn targets(args: &AggregateArgs) -> anyhow::Result<Targets> {
    let mut targets = Targets::default();
    targets.add_model(&args.out, args.base.as_deref().unwrap_or(Path::new("")))?;
    protect_inputs(&targets, args)?;
    Ok(targets)
}

/// The center's memory, which may be that of the base.
fn add_state(targets: &mut Targets, args: &AggregateArgs) -> anyhow::Result<()> {
    let before = args.base.as_deref().map(|base| SERVER_STATE.path(base)).unwrap_or_default();
    targets.add_beside_over(&SERVER_STATE.path(&args.out), &before)?;
    targets.protect(&before)?;
    protect_inputs(targets, args)
}

fn protect_inputs(targets: &Targets, args: &AggregateArgs) -> anyhow::Result<()> {
    for input in args.base.iter().chain(&args.updates).chain(&args.older_base) {
        targets.protect(input)?;
    }
    Ok(())
}
