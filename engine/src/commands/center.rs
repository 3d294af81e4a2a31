//! `edgectl center`: the center of rounds between machines.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use aggregate::{Targets, atomic_write};
use anyhow::{Context, bail, ensure};
use attn_core::Precision;
use indicatif::ProgressBar;
use rounds::{Desk, Hash, Metrics, Outcome, Plan, SecretKey, Store, Verdict};
use serde::Serialize;

use super::chosen::{Chosen, choose_nodes};
use super::fresh::fresh;
use super::node_values::{Training, complete};
use super::overrides::checked;
use super::stores::open_for_service;
use super::targets::protect_data;
use crate::checkpoint::{Checkpoint, Provenance};
use crate::cli::CenterArgs;
use crate::data::{DataConfig, Dataset, NOTHING_MARKED, is_marked, test_segments};
use crate::evaluate::evaluate;
use crate::fleet::{CenterOptions, CenterProgress, Measure, check_roster, now_ms, run_center};
use crate::interrupt::Stop;
use crate::job::Job;
use crate::output::{Output, shown};
use crate::run::Schema;
use crate::system::peak_rss_bytes;

/// Most bytes of a model.
const MOST_MODEL: u64 = 4 << 30;

#[derive(Serialize)]
struct Report<'a> {
    store: &'a str,
    job: String,
    rounds: u32,
    /// How many are closed.
    closed: u32,
    /// Rounds that this process saw closed without taking the merged model.
    not_taken: u32,
    /// What ended it before all were.
    stopped: Option<&'static str>,
    /// The model that stands.
    model: Hash,
    out: Option<String>,
    /// Of the model that stands, on the rows of `--eval-data`.
    metrics: Option<Metrics>,
    wall_s: f64,
    peak_rss_bytes: Option<u64>,
}

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
    let mut shown_rounds = Shown { output, rounds, bar: None, asked: Instant::now(), not_taken: 0 };
    let (last, all) = run_center(&desk, &options, &mut shown_rounds)?;
    let model = last.as_ref().map_or(desk.board().job().model, |last| last.model);
    // Who was told to stop does not wait for the store once more.
    let out = args.out.as_ref().filter(|_| all);
    if let Some(out) = out {
        atomic_write(out, &desk.board().blob(&model, MOST_MODEL)?)?;
    }
    let report = Report {
        store: store.url(),
        job: desk.board().job().job.clone(),
        rounds,
        closed: last.as_ref().map_or(0, |last| last.round),
        not_taken: shown_rounds.not_taken,
        stopped: (!all).then_some("interrupted"),
        model: model.hash,
        out: out.map(|out| out.display().to_string()),
        metrics: last.and_then(|last| last.standing),
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
    };
    output.result(&report, &text(&report))?;
    ensure!(
        !all || report.closed > report.not_taken || report.closed == 0,
        "no round gave a model that was taken: the model is the one that the job began with"
    );
    Ok(())
}

/// The outputs, held against what is read.
fn targets(args: &CenterArgs) -> anyhow::Result<Targets> {
    let mut targets = Targets::default();
    if let Some(out) = &args.out {
        targets.add(out)?;
    }
    for input in [&args.key, &args.roster]
        .into_iter()
        .chain(&args.init)
        .chain(&args.config)
        .chain(&args.at.ca)
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

/// A bar for the updates of a round, and a line for every round.
struct Shown {
    output: Output,
    rounds: u32,
    bar: Option<ProgressBar>,
    asked: Instant,
    /// Rounds whose merged model was refused.
    not_taken: u32,
}

impl CenterProgress for Shown {
    fn asked(&mut self, plan: &Plan) {
        self.asked = Instant::now();
        if let (Some(age), 1) = (plan.max_age, plan.round) {
            let all = if plan.quorum == plan.nodes {
                "; --quorum is all nodes, so it waits for the slowest"
            } else {
                ""
            };
            self.output.note(&format!(
                "asynchronous rounds: each closes with {} updates, which may have started up to {age} rounds before{all}",
                plan.quorum
            ));
        }
        self.bar = Some(
            self.output.bar(plan.nodes.into(), &format!("round {}/{}", plan.round, self.rounds)),
        );
    }

    fn stands(&mut self, plan: &Plan) {
        self.output.note(&format!(
            "round {} was asked for before: its quorum of {}, its deadline and its encoding ({}) stand",
            plan.round, plan.quorum, plan.encoding
        ));
    }

    fn no_roster(&mut self, problem: &str) {
        self.output.warn(&format!("no roster for the next round, trying on: {problem}"));
    }

    fn arrived(&mut self, verdict: &Verdict) {
        let Some(bar) = &self.bar else { return };
        bar.inc(1);
        if let Some(reason) = &verdict.refused {
            bar.suspend(|| self.output.warn(&format!("{}: not counted: {reason}", verdict.node)));
        }
    }

    fn waits(&mut self, there: usize, quorum: usize) {
        let text = format!(
            "the deadline is over with {there} updates, waiting for the quorum of {quorum}"
        );
        self.bar.iter().for_each(|bar| bar.suspend(|| self.output.warn(&text)));
    }

    fn closed(&mut self, outcome: &Outcome, ours: bool) {
        self.not_taken += u32::from(outcome.refused.is_some());
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let metrics =
            outcome.metrics.map(|m| format!(", loss {:.4}, accuracy {:.4}", m.loss, m.accuracy));
        let refused = outcome.refused.as_ref().map(|why| format!("; NOT TAKEN: {why}"));
        let by = if ours { "" } else { ", closed by another center" };
        self.output.note(&format!(
            "round {:>3}/{}: {} of {} updates{}{by} ({:.1} s){}",
            outcome.round,
            self.rounds,
            outcome.merged(),
            outcome.updates.len(),
            metrics.unwrap_or_default(),
            self.asked.elapsed().as_secs_f64(),
            refused.unwrap_or_default()
        ));
    }
}

fn text(report: &Report<'_>) -> String {
    let mut text = format!(
        "{}: {} of {} rounds are closed; the model is {}",
        shown(report.store),
        report.closed,
        report.rounds,
        report.model
    );
    if let Some(out) = &report.out {
        text += &format!(", now in {}", shown(out));
    }
    if let Some(metrics) = &report.metrics {
        text += &format!(
            "\n{} windows: accuracy {:.4}, loss {:.4}",
            metrics.n, metrics.accuracy, metrics.loss
        );
    }
    if report.not_taken > 0 {
        text += &format!(
            "\nthe merged models of {} rounds were not taken; edgectl status says why",
            report.not_taken
        );
    }
    if report.stopped.is_some() {
        text += "\ninterrupted; start it again to go on";
    }
    text
}
