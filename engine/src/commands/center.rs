//! `edgectl center`: the center of rounds between machines.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use aggregate::Targets;
use anyhow::{Context, bail, ensure};
use attn_core::Precision;
use rounds::{Desk, Metrics, SecretKey, Store};

use super::center_report::Ended;
use super::chosen::{Chosen, choose_nodes};
use super::fresh::fresh;
use super::node_values::{Training, complete};
use super::overrides::checked;
use super::shown_rounds::Shown;
use super::stores::open_for_service;
use super::targets::protect_data;
use crate::checkpoint::{Checkpoint, Provenance};
use crate::cli::CenterArgs;
use crate::data::{DataConfig, Dataset, NOTHING_MARKED, is_marked, test_segments};
use crate::evaluate::evaluate;
use crate::fleet::{CenterOptions, Measure, check_roster, now_ms, run_center};
use crate::interrupt::Stop;
use crate::job::Job;
use crate::output::Output;
use crate::run::Schema;

pub(super) fn run(args: &CenterArgs, threads: usize, output: Output) -> anyhow::Result<()> {
    let began = Instant::now();
    let stop = Stop::new(None);
    let targets = targets(args)?;
    let key = SecretKey::read(&args.key)?;
    // Before anything begins that cannot be taken back.
    check_roster(&args.roster, args.quorum)?;
    for path in &args.eval_data {
        ensure!(path.exists(), "--eval-data {}: there is no such file or folder", path.display());
    }
    for paths in [&args.eval_data, &args.data].into_iter().filter(|paths| !paths.is_empty()) {
        protect_data(&targets, paths, &DataConfig::default())?;
    }
    Store::make_folder(&args.at.store)?;
    let store = open_for_service(&args.at, stop, output)?;
    let rows = OnceCell::new();
    let measure = |model: &Checkpoint| measured(model, &args.eval_data, &rows, threads, output);
    let desk = if let Some(desk) = Desk::open(&store, &key)? {
        goes_on(desk, args, output)?
    } else {
        let start = start(args, &targets, output)
            .with_context(|| format!("{}: no job has begun here", store.url()))?;
        if !args.eval_data.is_empty() {
            measure(&start)?;
        }
        begin(&store, &key, &start, output)?
    };
    let measure: Measure<'_> = &measure;
    let options = CenterOptions {
        roster: &args.roster,
        quorum: args.quorum,
        deadline: args.deadline,
        expiry: args.expire,
        max_drop: args.max_drop.get().map(|points| points / 100.0),
        encoding: args.compress.into(),
        poll: args.poll,
        measure: (!args.eval_data.is_empty()).then_some(measure),
        stop,
    };
    let rounds = desk.board().job().rounds;
    let mut shown_rounds = Shown::new(output, rounds);
    let (last, all) = run_center(&desk, &options, &mut shown_rounds)?;
    let not_taken = shown_rounds.not_taken;
    let closed = last.as_ref().map_or(0, |last| last.round);
    let ended = Ended { store: store.url(), desk: &desk, last, all, not_taken, began, above: None };
    ended.report(args.out.as_deref(), output)?;
    ensure!(
        !all || closed > not_taken || closed == 0,
        "no round gave a model that was taken: the model is the one that the job began with"
    );
    Ok(())
}

/// The outputs, held against what is read.
pub(super) fn targets(args: &CenterArgs) -> anyhow::Result<Targets> {
    let mut targets = Targets::default();
    if let Some(out) = &args.out {
        targets.add(out)?;
    }
    for input in [&args.key, &args.roster]
        .into_iter()
        .chain(&args.init)
        .chain(&args.config)
        .chain(&args.at.ca)
        .chain(&args.parent_center)
        .chain(&args.parent_ca)
    {
        targets.protect(input)?;
    }
    Ok(targets)
}

/// A job that has begun is what it is.
fn goes_on<'a>(desk: Desk<'a>, args: &CenterArgs, output: Output) -> anyhow::Result<Desk<'a>> {
    let job = desk.board().job();
    if let Some(rounds) = args.rounds {
        ensure!(
            rounds == job.rounds,
            "--rounds {rounds}: the job in this store has {} rounds, as it was begun; leave --rounds out, or use another store",
            job.rounds
        );
    }
    let given = args.config.is_some() || args.init.is_some();
    let passed_over = if given { "; what is given to begin with is not looked at" } else { "" };
    output.note(&format!("going on with job {} of {} rounds{passed_over}", job.job, job.rounds));
    Ok(desk)
}

/// The model that a job begins with.
fn start(args: &CenterArgs, targets: &Targets, output: Output) -> anyhow::Result<Checkpoint> {
    match (&args.init, &args.config) {
        (Some(init), _) => {
            let start = Checkpoint::read(init)?;
            let run = start.meta.run.with(|job| {
                if let Some(rounds) = args.rounds {
                    job.federation.rounds = rounds;
                }
            })?;
            let mut start = start.with_run(run)?;
            // It has rounds of its own behind it; those of this job begin at the first.
            start.meta.set_provenance(Provenance::default());
            Ok(start)
        }
        (None, Some(config)) => of_job(config, args, targets, output),
        (None, None) => bail!("give --config JOB.toml or --init MODEL"),
    }
}

/// A job in a store where none is.
fn begin<'a>(
    store: &'a Store,
    key: &'a SecretKey,
    start: &Checkpoint,
    output: Output,
) -> anyhow::Result<Desk<'a>> {
    let folder = tempfile::tempdir().context("a folder for temporary files")?;
    let path = folder.path().join("model.safetensors");
    start.write(&path)?;
    let model = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
    let rounds = start.meta.run.federation().rounds;
    ensure!(
        (1..=999_999).contains(&rounds),
        "[federation] rounds is {rounds}; between machines 1 to 999999 can be run"
    );
    let desk = Desk::begin(store, key, (&model, rounds), now_ms())?;
    output.note(&format!(
        "job {}: {} parameters, {rounds} rounds",
        desk.board().job().job,
        start.params.len()
    ));
    Ok(desk)
}

/// A fresh model, as `simulate` begins with it.
fn of_job(
    config: &Path,
    args: &CenterArgs,
    targets: &Targets,
    output: Output,
) -> anyhow::Result<Checkpoint> {
    let job = Job::read(config)?;
    let data = job.data_paths(&args.data)?;
    protect_data(targets, &data, &job.data)?;
    let dataset = Dataset::read(&data, &job.data, None)?;
    let run = checked(job, config, args, Schema::of(&dataset))?;
    let Chosen { nodes, only_test, .. } = choose_nodes(&dataset, &run.federation().holdout)?;
    let segments: Vec<usize> =
        nodes.iter().chain(&only_test).flat_map(|node| node.segments.iter().copied()).collect();
    fresh(&run, &dataset, &nodes, &segments, output)
}

/// How good a model is on the center's rows, which are read once.
fn measured(
    model: &Checkpoint,
    data: &[PathBuf],
    rows: &OnceCell<(Dataset, Vec<usize>)>,
    threads: usize,
    output: Output,
) -> anyhow::Result<Metrics> {
    if rows.get().is_none() {
        let dataset = model.meta.read_data(data, false)?;
        let all: Vec<usize> = (0..dataset.segments.len()).collect();
        let segments = test_segments(&dataset, &all);
        ensure!(!segments.is_empty(), "--eval-data: no row is marked for the test");
        if !is_marked(&dataset, &segments) {
            output.warn(NOTHING_MARKED);
        }
        // Nobody else fills it.
        let _ = rows.set((dataset, segments));
    }
    let (dataset, segments) = rows.get().context("the rows of --eval-data")?;
    let mut model = model.clone();
    complete(&mut model.meta.preprocess, (dataset, data), None, Training::Marked, output)?;
    let found = evaluate(&model, dataset, segments, Precision::F32, threads)?;
    Ok(Metrics { n: found.n as u64, accuracy: found.accuracy, loss: found.loss })
}
