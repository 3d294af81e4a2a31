//! `edgectl tune`: better settings for a job, by search on its training rows.

mod paths;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use aggregate::{Targets, atomic_write};
use anyhow::{Context, anyhow, ensure};
use indicatif::ProgressBar;
use serde_json::Value;

use self::paths::moved;
use self::report::{Report, choices, failed, finalists, head, remarks, report_text};
use super::targets::protect_data;
use crate::checkpoint::{Checkpoint, NodeValues};
use crate::cli::TuneArgs;
use crate::data::{Dataset, Understood, train_segments};
use crate::interrupt::{Reason, Stop};
use crate::job::{Epochs, Job, json_of};
use crate::outcome::Outcome;
use crate::output::Output;
use crate::run::{Run, Schema};
use crate::tuning::{
    Ended, Facts, Ledger, Limits, Search, SearchProgress, Space, Trials, job_text, search,
};
use crate::windows::{Cut, WindowSet};

/// The share of a budget in which new settings are tried.
const TRYING: f64 = 0.55;

pub(super) fn run(args: &TuneArgs, output: Output) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let ledger_path = beside(&args.out);
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    targets.add(&ledger_path)?;
    targets.protect(&args.config)?;
    let mut job = Job::read(&args.config)?;
    let as_written = written(&args.config)?;
    let data = job.data_paths(&args.data)?;
    protect_data(&targets, &data, &job.data)?;
    ensure!(
        job.train.private.is_none(),
        "tune does not go with [train.private]: what is tried is chosen by answers that are not private"
    );
    let dataset = Dataset::read(&data, &job.data, None)?;
    let run = Run::check(job.clone(), Some(Schema::of(&dataset)))
        .with_context(|| args.config.display().to_string())?;
    let understood = Understood::of(&dataset).at_rate(job.data.sample_rate_hz);
    output.understood(&understood);
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let segments = train_segments(&dataset, &all)?;
    let start = start(&run, &dataset, &segments, &data)?;
    let facts = facts(&start, &dataset, &segments)?;
    // What is tried is a number, and all folds train as long.
    let epochs = job.train.epochs.of(facts.windows);
    job.train.epochs = Epochs::Fixed(epochs);
    let mut written = as_written.clone();
    written["train"]["epochs"] = epochs.into();
    let space = Space::of(&job, &written, facts);
    let limits = Limits {
        max_parameters: args.max_parameters,
        max_latency_us: args.max_latency.map(|time| time.as_secs_f64() * 1e6),
    };
    ensure!(
        limits.allow(&start),
        "the job's own model is larger or slower than --max-parameters or --max-latency allow; make [model] smaller first"
    );
    let fingerprint = fingerprint(&job, &written, &dataset, &segments)?;
    let ledger = Ledger::open(&ledger_path, &fingerprint, args.resume)?;
    let trials = Trials {
        job: &job,
        written: &written,
        space: &space,
        dataset: &dataset,
        segments: &segments,
        data: &data,
        limits,
        ledger: Mutex::new(ledger),
    };
    let bar = TuneBar {
        bar: output.bar(expected_trainings(args.trials, facts.windows), "trainings"),
        output,
        trained: AtomicUsize::new(0),
    };
    let found = search(&Search {
        trials: &trials,
        n_trials: args.trials,
        windows: facts.windows,
        seed: args.seed,
        until: Stop::new(args.budget.map(|budget| budget.mul_f64(TRYING))),
        end: Stop::new(args.budget),
        progress: &bar,
    })?;
    bar.bar.finish_and_clear();
    let report = Report {
        out: args.out.display().to_string(),
        trials: found.tried,
        planned_trials: args.trials,
        trainings: bar.trained.load(Ordering::Relaxed),
        stopped: (found.ended != Ended::Done).then_some(Reason::TimeBudget),
        ended: found.ended,
        kept: found.kept,
        parts: found.parts,
        job: found.job,
        best: found
            .finalists
            .iter()
            .find(|f| f.candidate == found.best)
            .map_or(found.job, |f| f.scores),
        gain: found.finalists.iter().find(|f| f.candidate == found.best).map(|f| f.gain),
        choices: choices(&found, &space),
        finalists: finalists(&found, &trials)?,
        failed: failed(&found, &space),
        data: &understood,
        wall_s: began.elapsed().as_secs_f64(),
    };
    let text = job_text(
        &moved(found.best.written(&space, &as_written), &job, &args.data, &args.out)?,
        &head(&report, args),
        &remarks(&found, &space),
    );
    atomic_write(&args.out, text.as_bytes())?;
    output.result(&report, &report_text(&report))?;
    Ok(report.stopped.into())
}

/// Where what was measured is kept.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".tune");
    name.into()
}

/// The job as it was written.
fn written(config: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(config)
        .with_context(|| format!("{}: cannot read the job file", config.display()))?;
    json_of(&text).map_err(|error| anyhow!("{}: {}", config.display(), error.message()))
}

/// The job's model.
fn start(
    run: &Run,
    dataset: &Dataset,
    segments: &[usize],
    data: &[PathBuf],
) -> anyhow::Result<Checkpoint> {
    let mut start = Checkpoint::fresh(run, dataset, segments)?;
    NodeValues::of_rows(&mut start.meta.preprocess, dataset, segments, data)?;
    Ok(start)
}

fn facts(start: &Checkpoint, dataset: &Dataset, segments: &[usize]) -> anyhow::Result<Facts> {
    let model = &start.meta.model;
    let cut = Cut { window: start.meta.run.window(), seq_len: model.seq_len, train: true };
    let set = WindowSet::new(dataset, &start.meta.preprocess, segments, cut)?;
    let counts = set.class_counts(start.meta.classes.len());
    let present = || counts.iter().copied().filter(|n| *n > 0);
    Ok(Facts {
        channels: model.channels,
        window_len: model.seq_len,
        windows: counts.iter().sum(),
        class_sizes: (present().min().unwrap_or(0), present().max().unwrap_or(0)),
    })
}

/// A hash of all that a measurement depends on besides the settings.
fn fingerprint(
    job: &Job,
    written: &Value,
    dataset: &Dataset,
    segments: &[usize],
) -> anyhow::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut job = job.clone();
    job.data = job.data.without_paths();
    let names = (&dataset.channels, &dataset.classes);
    let own = serde_json::to_vec(&(job, written, names, env!("CARGO_PKG_VERSION")))?;
    hasher.update(&own);
    for &index in segments {
        let segment = &dataset.segments[index];
        hasher.update(segment.series.as_bytes());
        hasher.update(format!("{:?}", segment.labels).as_bytes());
        hasher.update(format!("{:?} {:?}", segment.node, segment.rate_hz).as_bytes());
        for value in segment.values.iter().chain(segment.times.iter().flatten()) {
            hasher.update(&value.to_le_bytes());
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// About how many trainings there will be.
fn expected_trainings(trials: usize, windows: usize) -> u64 {
    let (first, all, last) = match windows {
        n if n < 200 => (2, 7, 26),
        n if n < 600 => (2, 4, 11),
        _ => (1, 4, 5),
    };
    (all + trials * first + trials.div_ceil(3) * (all - first) + 10 * last) as u64
}

/// A bar over all trainings, and a line after each generation.
struct TuneBar {
    bar: ProgressBar,
    output: Output,
    trained: AtomicUsize,
}

impl SearchProgress for TuneBar {
    fn measured(&self, trained: bool) {
        self.trained.fetch_add(usize::from(trained), Ordering::Relaxed);
        self.bar.inc(1);
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| self.output.note(text));
    }
}
