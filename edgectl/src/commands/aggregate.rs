//! `edgectl aggregate`: merges weight files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use aggregate::{
    AdaptiveClip, Correction, Options, Privacy, Reducer, Rules, ServerStep, Tolerance, WeightFile,
    Weights,
};
use anyhow::{Context, ensure};
use serde::Serialize;

use super::folder::check_folder;
use crate::checkpoint::{ChangeNote, METADATA_KEY, MergeNote, Meta, PrivacyNote, UpdateNote};
use crate::cli::AggregateArgs;
use crate::federation::{Merge, Merged, Refused, Strategy, merge};
use crate::output::{Output, table};
use crate::system::peak_rss_bytes;

/// Most rows of a table that people read; JSON has all.
const MAX_ROWS: usize = 20;

#[derive(Serialize)]
struct Report {
    out: String,
    inputs: usize,
    rejected: Vec<Refused>,
    strategy: String,
    tensors: u64,
    parameters: u64,
    bytes_read: u64,
    reduce: Reducer,
    server: ServerStep,
    /// Sum of the weights, and how many nodes' updates they are.
    weight: f64,
    n_updates: u64,
    /// The updates that count, and then those that were refused for what is in them.
    updates: Vec<UpdateReport>,
    changes: Vec<ChangeNote>,
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy: Option<PrivacyNote>,
    /// Files that were moved away.
    quarantined: Vec<String>,
    /// Bytes of all buffers for values.
    buffer_bytes: u64,
    wall_s: f64,
    peak_rss_bytes: Option<u64>,
}

#[derive(Serialize)]
struct UpdateReport {
    path: String,
    #[serde(flatten)]
    note: UpdateNote,
}

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
        output.note("note: no file says how many examples it was trained on; all weigh the same");
    }
    let quarantined = match &args.quarantine {
        Some(folder) => {
            let stay = [Some(&args.out), args.base.as_ref()];
            quarantine(&refused, folder, &stay)?
        }
        None => Vec::new(),
    };
    let MergeNote { reduce, server, weight, n_updates, updates, changes, privacy } = note;
    // The note has no paths, but the same order.
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
        changes,
        privacy,
        quarantined,
        buffer_bytes: report.buffer_bytes,
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
    };
    output.result(&report, &text(&report))
}

/// What the command line asks for, and the name of the strategy: the rules of the strategy or of
/// the job, of which every flag that is given replaces one.
fn plan(args: &AggregateArgs) -> anyhow::Result<(String, Merge<'_>)> {
    let mut rules = match args.strategy.as_deref() {
        Some("job") => rules_of_job(args)?,
        _ => rules_of_strategy(args)?,
    };
    rules.reduce = args.reduce.unwrap_or(rules.reduce);
    rules.server = args.server.unwrap_or(rules.server);
    rules.bucket = args.bucket.or(rules.bucket);
    if args.uniform {
        rules.weights = Weights::Uniform;
    } else if args.by_count {
        rules.weights = Weights::Count;
    }
    if let Some(patterns) = &args.keep_local {
        rules.keep_local.clone_from(patterns);
    }
    rules.population = args.population.or(rules.population);
    rules.max_deviation = args.max_deviation.unwrap_or(rules.max_deviation);
    rules.max_age = args.max_age.or(rules.max_age);
    rules.quorum = args.quorum.unwrap_or(rules.quorum);
    if args.strict {
        rules.tolerance = Tolerance::Strict;
    } else if args.keep_going || args.quarantine.is_some() {
        rules.tolerance = Tolerance::KeepGoing;
    }
    rules.privacy = privacy(args).or(rules.privacy);
    ensure!(
        args.population.is_none() || rules.correction == Correction::Scaffold,
        "--population belongs to --strategy scaffold"
    );
    let name = match (&args.strategy, args.reduce, args.server, &args.weights) {
        (None, None, None, Some(_)) => "weighted".to_owned(),
        (Some(name), None, None, _) if name != "job" => {
            name.split(':').next().unwrap_or_default().to_owned()
        }
        _ => Strategy::name_of(&rules.reduce, &rules.server),
    };
    ensure!(
        args.base.is_some() || (rules.server == ServerStep::Replace && !rules.reduce.needs_base()),
        "{} moves the model that the updates started from; name it with --base",
        Strategy::name_of(&rules.reduce, &rules.server)
    );
    let options = Options {
        rules,
        older_bases: args.older_base.clone(),
        bucket_seed: args.bucket_seed.unwrap_or(0),
        shard_bytes: args.shard_size,
        ..Options::default()
    };
    let plan = Merge {
        base: args.base.as_deref(),
        out: &args.out,
        weights: args.weights.as_deref(),
        options,
        bucket_by_round: args.bucket_seed.is_none(),
    };
    Ok((name, plan))
}

fn rules_of_strategy(args: &AggregateArgs) -> anyhow::Result<Rules> {
    let mut name = args.strategy.clone().unwrap_or_else(|| "fedavg".to_owned());
    for (option, value) in [("lr", args.lr), ("momentum", args.momentum)] {
        if let Some(value) = value {
            let separator = if name.contains(':') { ',' } else { ':' };
            name = format!("{name}{separator}{option}={value:?}");
        }
    }
    let strategy = Strategy::parse(&name)?;
    ensure!(
        strategy.name != "weighted" || args.weights.is_some(),
        "--strategy weighted needs --weights, one number per file"
    );
    Ok(strategy.rules)
}

/// As the job says that made the base.
fn rules_of_job(args: &AggregateArgs) -> anyhow::Result<Rules> {
    ensure!(
        args.lr.is_none() && args.momentum.is_none(),
        "--lr and --momentum do not go with --strategy job; use --server"
    );
    let base = args.base.as_deref().context("--strategy job needs --base, whose job it follows")?;
    let file = WeightFile::open(base)?;
    ensure!(
        file.metadata().contains_key(METADATA_KEY),
        "{}: not an edgectl checkpoint, so it has no job to follow",
        base.display()
    );
    Ok(Meta::read(&file)?.run.federation().rules.clone())
}

fn privacy(args: &AggregateArgs) -> Option<Privacy> {
    let adaptive =
        args.clip_quantile.map(|quantile| AdaptiveClip { quantile, ..AdaptiveClip::default() });
    Some(Privacy {
        clip_norm: args.clip_norm?,
        noise_multiplier: args.noise_multiplier?,
        sampling_rate: args.sampling_rate,
        delta: args.delta,
        adaptive,
        seed: args.insecure_seed,
    })
}

/// Moves refused files to a folder; the new paths. A name that is taken there gets a number.
///
/// What is also named as output or base stays: it is the global model, whatever it was as an update.
fn quarantine(
    refused: &[Refused],
    folder: &Path,
    stay: &[Option<&PathBuf>],
) -> anyhow::Result<Vec<String>> {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let stay: Vec<_> = stay.iter().flatten().filter_map(|path| real(path)).collect();
    let mut moved = Vec::new();
    for path in refused.iter().map(|refused| Path::new(&refused.path)) {
        let is_index = path.extension().is_some_and(|extension| extension == "json");
        if is_index || real(path).is_none_or(|path| stay.contains(&path)) {
            continue;
        }
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        let name = name.to_string_lossy();
        let free = (0..u32::MAX)
            .map(|n| match n {
                0 => folder.join(&*name),
                n => folder.join(format!("{n}-{name}")),
            })
            .find(|target| !target.exists())
            .context("no name is free")?;
        let place = || format!("{}: cannot be moved to {}", path.display(), free.display());
        // Another disk cannot be reached by renaming.
        if std::fs::rename(path, &free).is_err() {
            std::fs::copy(path, &free).with_context(place)?;
            std::fs::remove_file(path).with_context(place)?;
        }
        moved.push(free.display().to_string());
    }
    Ok(moved)
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{}: {} of {} updates merged ({}), {} parameters in {} tensors",
        report.out,
        report.inputs - report.rejected.len(),
        report.inputs,
        report.strategy,
        report.parameters,
        report.tensors
    );
    for rejected in &report.rejected {
        text += &format!("\nrefused: {}: {}", plain(&rejected.path), plain(&rejected.reason));
    }
    for path in &report.quarantined {
        text += &format!("\nmoved to {path}");
    }
    if let Some(privacy) = &report.privacy {
        let epsilon = privacy.epsilon.map_or("no".to_owned(), |e| format!("{e:.3}"));
        text += &format!(
            "\nprivate: epsilon {epsilon} at delta {:e} after {} rounds; clipped to {:.4}",
            privacy.delta, privacy.rounds, privacy.clip_norm
        );
    }
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.4}"));
    let merged: Vec<_> = report.updates.iter().filter(|u| u.note.verdict == "merged").collect();
    let rows: Vec<Vec<String>> = merged
        .iter()
        .take(MAX_ROWS)
        .map(|UpdateReport { path, note: u }| {
            let weight = u.weight.map_or("-".to_owned(), |w| format!("{w}"));
            let measured = [u.share, u.norm, u.distance, u.cosine].map(number);
            [plain(path), weight].into_iter().chain(measured).collect()
        })
        .collect();
    let header = ["update", "weight", "share", "moved", "from result", "cosine"];
    text += &format!("\n\n{}", table(&header, &rows));
    if merged.len() > MAX_ROWS {
        text += &format!("\nand {} more (--json has all)", merged.len() - MAX_ROWS);
    }
    let mut changes: Vec<_> = report.changes.iter().collect();
    let size = |c: &ChangeNote| c.relative.or(c.norm).unwrap_or(0.0);
    changes.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let largest = changes
        .iter()
        .take(3)
        .filter(|c| c.relative.is_some())
        .map(|c| format!("{} {:.2} %", plain(&c.tensor), 100.0 * c.relative.unwrap_or(0.0)));
    let largest: Vec<String> = largest.collect();
    if !largest.is_empty() {
        text += &format!("\n\nmoved most: {}", largest.join(", "));
    }
    text
}

/// A text from a file without what would steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
