//! `edgectl aggregate` on statistics that `preprocess fit` wrote.

use std::time::Instant;

use aggregate::{Limit, Rules, Targets, WeightFile};
use anyhow::{bail, ensure};
use serde::Serialize;

use crate::checkpoint::StatsFile;
use crate::cli::AggregateArgs;
use crate::output::{Output, shown};

#[derive(Serialize)]
struct Report {
    out: String,
    inputs: usize,
    nodes: Vec<String>,
    rows: u64,
    /// Nodes whose rows count less than they claim.
    capped: Vec<CappedRows>,
    wall_s: f64,
}

#[derive(Serialize)]
struct CappedRows {
    path: String,
    claimed: u64,
    counted: u64,
}

/// Whether the files are statistics.
///
/// # Errors
/// If some are, and others are weights.
pub(super) fn are_given(args: &AggregateArgs) -> anyhow::Result<bool> {
    let mut found = [None, None];
    for path in &args.updates {
        // What cannot be opened is told of when weights are merged.
        let Ok(file) = WeightFile::open(path) else { continue };
        found[usize::from(StatsFile::is_in(&file))].get_or_insert(path);
    }
    if let [Some(weights), Some(statistics)] = found {
        bail!(
            "{} holds statistics and {} does not; merge them apart",
            statistics.display(),
            weights.display()
        );
    }
    Ok(found[1].is_some())
}

/// Merges them.
pub(super) fn run(args: &AggregateArgs, output: Output) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    for input in &args.updates {
        targets.protect(input)?;
    }
    check_flags(args)?;
    let mut parts = Vec::new();
    for path in &args.updates {
        parts.push((path.display().to_string(), StatsFile::read(path)?));
    }
    let max_weight: Limit = args.max_weight.unwrap_or(Rules::default().max_weight);
    let (merged, capped) = StatsFile::merge(&parts, max_weight.get())?;
    merged.write(&args.out)?;
    let capped = capped.into_iter().map(|capped| CappedRows {
        path: capped.node,
        claimed: capped.claimed,
        counted: capped.counted,
    });
    let report = Report {
        out: args.out.display().to_string(),
        inputs: parts.len(),
        rows: merged.statistics.rows(),
        nodes: merged.nodes,
        capped: capped.collect(),
        wall_s: began.elapsed().as_secs_f64(),
    };
    let mut text = format!(
        "{}: statistics of {} rows of {} nodes, for `edgectl init --stats`",
        shown(&report.out),
        report.rows,
        report.nodes.len()
    );
    for CappedRows { path, claimed, counted } in &report.capped {
        text +=
            &format!("\n{}: {claimed} rows, which count as {counted} (--max-weight)", shown(path));
    }
    output.result(&report, &text)
}

/// Fails if a flag is given that changes nothing here.
fn check_flags(args: &AggregateArgs) -> anyhow::Result<()> {
    let given = [
        ("--base", args.base.is_some()),
        ("--strategy", args.strategy.is_some()),
        ("--reduce", args.reduce.is_some()),
        ("--server", args.server.is_some()),
        ("--bucket", args.bucket.is_some()),
        ("--weights", args.weights.is_some()),
        ("--uniform", args.uniform),
        ("--by-count", args.by_count),
        ("--lr", args.lr.is_some()),
        ("--momentum", args.momentum.is_some()),
        ("--keep-local", args.keep_local.is_some()),
        ("--carry", args.carry.is_some()),
        ("--dtype", args.dtype.is_some()),
        ("--adapters", args.adapters.is_some()),
        ("--older-base", !args.older_base.is_empty()),
        ("--max-age", args.max_age.is_some()),
        ("--max-deviation", args.max_deviation.is_some()),
        ("--quorum", args.quorum.is_some()),
        ("--quarantine", args.quarantine.is_some()),
        ("--clip-norm", args.clip_norm.is_some()),
        ("--population", args.population.is_some()),
        ("--shard-size", args.shard_size.is_some()),
        ("--keep-going", args.keep_going),
    ];
    for (flag, is_given) in given {
        ensure!(!is_given, "{flag} has no effect on statistics, which are summed; leave it out");
    }
    Ok(())
}
