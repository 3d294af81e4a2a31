//! `edgectl train`: trains on a node's own files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use aggregate::Targets;
use anyhow::{Context, ensure};
use serde::Serialize;

use super::overrides::{Overrides, checked};
use super::targets::protect_data;
use crate::checkpoint::{Checkpoint, NodeValues};
use crate::cli::TrainArgs;
use crate::data::{Dataset, Understood, train_segments};
use crate::interrupt::Stop;
use crate::job::{Epochs, Job, ValidationBy};
use crate::outcome::Outcome;
use crate::output::{Output, metrics_text, shown, table};
use crate::padding::padding;
use crate::run::Schema;
use crate::system::peak_rss_bytes;
use crate::training::{
    CrossValidation, Fold, HeldOut, TrainOptions, TrainReport, Variate, cross_validate, key_path,
    state_path, train, variate_path,
};

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    node: &'a str,
    #[serde(flatten)]
    train: &'a TrainReport,
    /// What was taken from the data.
    data: &'a Understood,
    /// What steps with `fit = "node"` were fitted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_fit: Option<NodeValues>,
    /// How good the answers for parts of the training rows are, each of a model trained without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cv: Option<CrossValidation>,
    /// Whether the file holds only the parameters that were trained.
    partial: bool,
    #[serde(skip)]
    trained_parameters_of: usize,
    wall_s: f64,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn run(args: &TrainArgs, threads: usize, output: Output) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let (state, variate) = (state_path(&args.out), variate_path(&args.out));
    let targets = targets(args, &state, &variate)?;
    let stop = Stop::new(args.time_budget).after_steps(args.stop_after_steps);
    let Start { checkpoint: mut start, base, data, dataset, rounds } = start(args, &targets)?;

    let node = args.node.clone().unwrap_or_else(|| node_name(&dataset, &data));
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let segments = train_segments(&dataset, &all)?;
    keep_own(&mut start, &args.out)?;
    let node_fit = NodeValues::of_rows(&mut start.meta.preprocess, &dataset, &segments, &data)?;
    let said_hz = start.meta.run.job().data.sample_rate_hz.filter(|_| !args.preprocessed);
    let mut understood = Understood::of(&dataset).at_rate(said_hz);
    understood.warnings.extend(padding(&start, &dataset, &segments)?);
    output.understood(&understood);
    if let Some(values) = &node_fit {
        output.note(&values.to_string());
    }
    let options = TrainOptions {
        node: &node,
        base: base.as_deref(),
        threads,
        stop,
        state: Some(&state),
        resume: args.resume,
        variate: Some(Variate::File(&variate)),
        rounds,
    };
    let cv = cv_of(args, &start, &dataset, &segments, options, output)?;
    let mut bar = output.training("train");
    let (checkpoint, mut train) = train(start, &dataset, &segments, options, &mut bar)?;
    drop(bar);
    checkpoint.write(&args.out)?;

    train.warnings.iter().for_each(|warning| output.warn(warning));
    train.warnings.extend_from_slice(&understood.warnings);
    let report = Report {
        out: args.out.display().to_string(),
        node: &node,
        data: &understood,
        train: &train,
        node_fit,
        cv,
        partial: checkpoint.meta.provenance.partial,
        trained_parameters_of: checkpoint.params.len(),
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
    };
    output.result(&report, &text(&report))?;
    Ok(train.stopped.into())
}

/// The cross-validation that was asked for.
fn cv_of(
    args: &TrainArgs,
    start: &Checkpoint,
    dataset: &Dataset,
    segments: &[usize],
    options: TrainOptions<'_>,
    output: Output,
) -> anyhow::Result<Option<CrossValidation>> {
    let Some(folds) = args.cv else { return Ok(None) };
    ensure!(
        start.meta.run.train().private.is_none(),
        "--cv does not go with [train.private]: how good the answers for held-out rows are is not private"
    );
    let options = TrainOptions { base: None, variate: None, ..options };
    let bar = output.bar(folds.into(), "folds");
    let done = || bar.inc(1);
    let found = cross_validate(start, dataset, segments, folds.into(), options, &done);
    bar.finish_and_clear();
    found.map(Some)
}

/// What a run begins with.
struct Start {
    checkpoint: Checkpoint,
    /// Hash of the model's file, where it comes from one.
    base: Option<String>,
    /// Where the data is.
    data: Vec<PathBuf>,
    dataset: Dataset,
    /// Rounds that the schedule spans.
    rounds: u32,
}

/// The outputs, of which the update alone may be the model that it starts from.
fn targets(args: &TrainArgs, state: &Path, variate: &Path) -> anyhow::Result<Targets> {
    let mut targets = Targets::default();
    targets.add_over(&args.out, args.init.as_deref().unwrap_or(Path::new("")))?;
    for sidecar in [state, variate, &key_path(state)] {
        targets.add_beside(sidecar)?;
    }
    for input in args.init.iter().chain(&args.config) {
        targets.protect(input)?;
    }
    Ok(targets)
}

/// The model of `--init` or a fresh one, with the job and the flags on top, and the data.
fn start(args: &TrainArgs, targets: &Targets) -> anyhow::Result<Start> {
    let Some(init) = &args.init else {
        let path = args.config.as_deref().context("give --init MODEL or --config JOB.toml")?;
        let job = Job::read(path)?;
        ensure!(
            !args.preprocessed,
            "--preprocessed needs --init: the rows were scaled for a model, which a fresh one is not"
        );
        let data = job.data_paths(&args.data)?;
        protect_data(targets, &data, &job.data)?;
        let dataset = Dataset::read(&data, &job.data, None)?;
        let run = checked(job, path, args, Schema::of(&dataset))?;
        let all: Vec<usize> = (0..dataset.segments.len()).collect();
        let checkpoint = Checkpoint::fresh(&run, &dataset, &all)?;
        // A run of its own, not a round of a federation: the schedule spans this run.
        return Ok(Start { checkpoint, base: None, data, dataset, rounds: 1 });
    };
    ensure!(
        args.cv.is_none(),
        "--cv needs a fresh model: that of --init may have been trained on the rows that would be held out"
    );
    let (checkpoint, hash) = Checkpoint::read_base(init)?;
    let steps = checkpoint.meta.preprocess.configs();
    let job = args.config.as_deref().map(|path| Job::read_over(path, Some(&steps))).transpose()?;
    let data = match (&job, args.data.as_slice()) {
        (Some(job), given) => job.data_paths(given)?,
        (None, given) => {
            ensure!(!given.is_empty(), "no data: give --data PATH");
            given.to_vec()
        }
    };
    let tables = job.as_ref().map(|job| job.data.clone());
    let run = checkpoint.meta.run.with(|own| {
        if let Some(job) = job {
            own.train = job.train;
        }
        args.apply(own);
        // What starts from a model is a round of a federation, or goes on from one.
        own.train.epochs = Epochs::Fixed(own.train.epochs.in_a_round());
    });
    let run = run.with_context(|| format!("{} with what was asked for", init.display()))?;
    let checkpoint = checkpoint.with_run(run)?;
    let config = checkpoint.meta.data_config(args.preprocessed, tables.as_ref());
    protect_data(targets, &data, &config)?;
    let dataset = checkpoint.meta.read_data_with(&data, args.preprocessed, tables.as_ref())?;
    let rounds = checkpoint.meta.run.federation().rounds;
    Ok(Start { checkpoint, base: Some(hash), data, dataset, rounds })
}

/// Takes what stays on the node from its last update, if there is one.
fn keep_own(start: &mut Checkpoint, out: &Path) -> anyhow::Result<()> {
    let patterns = start.meta.run.federation().rules.keep_local.clone();
    if patterns.is_empty() || !out.exists() {
        return Ok(());
    }
    let own =
        Checkpoint::read(out).context("the node's last update, which keeps its own parameters")?;
    start.take_local(&patterns, &own)
}

/// The node's name by its data: of several files or nodes the name of the folder that was given, else
/// that of the first and how many more there are.
pub(super) fn node_name(dataset: &Dataset, given: &[PathBuf]) -> String {
    let nodes = dataset.nodes();
    let folder = match given {
        [folder] if folder.is_dir() => std::path::absolute(folder).ok(),
        _ => None,
    };
    let folder = folder.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
    match (nodes.as_slice(), folder) {
        ([], _) => String::new(),
        ([one], _) => one.name.clone(),
        (_, Some(folder)) => folder.into_owned(),
        ([first, rest @ ..], None) => format!("{}+{}", first.name, rest.len()),
    }
}

fn text(report: &Report<'_>) -> String {
    let train = report.train;
    let loss = train.loss.map(|l| format!(", loss {l:.4}")).unwrap_or_default();
    let mut text = String::new();
    if let Some(test) = &train.range_test {
        text += &format!(
            "learning rate {} by a test of {} rates, {} steps each\n",
            test.lr,
            test.tried.len(),
            test.steps
        );
    }
    if train.epochs_by_windows {
        let (epochs, windows) = (train.planned_epochs, train.examples);
        text += &format!(
            "{epochs} epochs by the number of windows, {windows}; [train] epochs says another\n"
        );
    }
    text += &format!(
        "{}: node {}, {} windows, {} epochs, {} steps{loss} ({:.0} windows/s)",
        shown(&report.out),
        shown(report.node),
        train.examples,
        train.epochs,
        train.steps,
        train.samples_per_s
    );
    if let Some(why) = &train.stopped {
        let (done, planned) = (train.epochs, train.planned_epochs);
        text += &format!(
            "\nstopped early: {why} after {done} of {planned} epochs; go on with --resume"
        );
    }
    if let Some(private) = &train.private {
        text += &format!(
            "\nprivate: {} steps, sampling rate {:.4}, noise multiplier {}, clip norm {}",
            private.steps, private.sampling_rate, private.noise_multiplier, private.clip_norm
        );
    }
    if report.trained_parameters_of > train.trained_parameters {
        text += &format!(
            "\n{} of {} parameters were trained",
            train.trained_parameters, report.trained_parameters_of
        );
        if report.partial {
            text += "; the file holds only those: merge it with --base";
        }
    }
    if train.skipped_steps > 0 {
        text += &format!(
            "\n{} steps were left out: their gradient was not finite",
            train.skipped_steps
        );
    }
    if let (Some(val), Some(part)) = (&train.val, &train.validation) {
        text += &format!("\n\nheld-out part of the training rows ({part})\n{}", metrics_text(val));
    }
    if let Some(cv) = &report.cv {
        text += &format!("\n\n{}", cv_text(cv));
    }
    if let Some(found) = &train.calibration {
        let temperature = found.temperature;
        text += &match (found.kept, &train.val) {
            (Some(why), _) => format!("\n\ntemperature {temperature}: {why}"),
            (None, val) => format!(
                "\n\ntemperature {temperature:.4}, which divides the logits: ECE on the held-out part {:.4} instead of {:.4}",
                found.ece,
                val.as_ref().map_or(f64::NAN, |val| val.ece)
            ),
        };
    }
    text
}

/// A row for every fold.
pub(super) fn cv_text(cv: &CrossValidation) -> String {
    let rows = cv.folds.iter().enumerate().map(|(fold, Fold { held_out, metrics, .. })| {
        let HeldOut { windows, of_training, .. } = held_out;
        let (accuracy, loss) = (metrics.accuracy, metrics.loss);
        let cells = [(fold + 1).to_string(), of_training.to_string(), windows.to_string()];
        cells.into_iter().chain([accuracy, loss].map(|x| format!("{x:.4}"))).collect()
    });
    let by = match cv.folds.first().map(|fold| fold.held_out.by) {
        Some(ValidationBy::Time) => "stretches of every series",
        Some(ValidationBy::Auto) => "series of some nodes and stretches of every series of others",
        _ => "series",
    };
    format!(
        "cross-validation on the training rows, by {by}: accuracy {:.4}, deviation {:.4}, loss {:.4}\n\n{}",
        cv.accuracy,
        cv.accuracy_deviation,
        cv.loss,
        table(&["fold", "trained on", "held out", "accuracy", "loss"], &rows.collect::<Vec<_>>())
    )
}
