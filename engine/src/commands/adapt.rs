//! `edgectl adapt`: a model is adjusted to rows as they are now, without forgetting how they were.

use std::path::PathBuf;
use std::time::Instant;

use aggregate::Targets;
use anyhow::{Context, bail, ensure};
use serde::Serialize;

use super::targets::protect_data;
use super::train::node_name;
use crate::adapting::{
    Gate, OfSeries, Replay, ReplayOptions, Score, Teaching, adapt, labelled_examples,
};
use crate::checkpoint::Checkpoint;
use crate::cli::AdaptArgs;
use crate::data::train_segments;
use crate::output::{Output, shown};

/// Windows and bytes of a replay: here all that are given.
const MOST: usize = 1 << 20;
const MOST_BYTES: usize = 4 << 30;

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    node: &'a str,
    steps: u64,
    /// Windows of now that were trained on.
    examples: usize,
    /// Windows of before that were trained on.
    replay: usize,
    #[serde(flatten)]
    gate: Gate,
    wall_s: f64,
}

pub(super) fn run(args: &AdaptArgs, threads: usize, output: Output) -> anyhow::Result<()> {
    let began = Instant::now();
    ensure!(
        args.lr.is_finite() && args.lr > 0.0,
        "--lr {}: give a number above 0, such as 1e-3",
        args.lr
    );
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    targets.protect(&args.model)?;
    let (model, base) = Checkpoint::read_base(&args.model)?;
    check_shareable(&model)?;
    let config = model.meta.data_config(false, None);
    for paths in [&args.data, &args.replay].into_iter().filter(|paths| !paths.is_empty()) {
        protect_data(&targets, paths, &config)?;
    }
    let options = ReplayOptions { windows: MOST, bytes: MOST_BYTES, seed: args.seed };
    let mut replay = Replay::new(&model.meta, options)?;
    if args.replay.is_empty() {
        output.warn("without --replay the model may forget what it knew");
    } else {
        for OfSeries { series, is_apart, example } in examples(&model, &args.replay)?.0 {
            replay.add_before(series, is_apart, example)?;
        }
    }
    let (fresh, node) = examples(&model, &args.data)?;
    let node = args.node.clone().unwrap_or(node);
    for OfSeries { series, is_apart, example } in fresh {
        // The same series may be on both sides, with other rows.
        replay.add(!series, is_apart, example)?;
    }
    let lesson = replay.lesson();
    let teaching = Teaching {
        lr: args.lr,
        steps: args.steps,
        batch: args.batch.into(),
        seed: args.seed,
        threads,
    };
    let learned = adapt(&model, &base, &lesson, teaching, &mut || true)?;
    let learned = learned.context("it was ended")?;
    if let Some(reason) = learned.gate.refusal() {
        bail!("the adapted model is not written: {reason}");
    }
    let mut checkpoint = learned.checkpoint;
    checkpoint.meta.provenance.node = Some(node.clone());
    checkpoint.write(&args.out)?;
    let report = Report {
        out: args.out.display().to_string(),
        node: &node,
        steps: learned.steps,
        examples: learned.examples,
        replay: lesson.replay.len(),
        gate: learned.gate,
        wall_s: began.elapsed().as_secs_f64(),
    };
    output.result(&report, &text(&report))
}

/// Fails where weights may not leave in this way, which are also an update.
fn check_shareable(model: &Checkpoint) -> anyhow::Result<()> {
    ensure!(
        model.meta.run.train().private.is_none(),
        "the model's job has [train.private], and adapting is not private: use `edgectl train`"
    );
    ensure!(
        model.control.is_none(),
        "the model has a control variate (SCAFFOLD), which adapting does not keep: use `edgectl train`"
    );
    Ok(())
}

/// The labelled windows of the training rows of some files, and the node's name by them.
fn examples(model: &Checkpoint, paths: &[PathBuf]) -> anyhow::Result<(Vec<OfSeries>, String)> {
    let dataset = model.meta.read_data(paths, false)?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let segments = train_segments(&dataset, &all)?;
    Ok((labelled_examples(model, &dataset, &segments)?, node_name(&dataset, paths)))
}

fn text(report: &Report<'_>) -> String {
    let Gate { clean_before, clean, fresh_before, fresh, fresh_was_trained_on, .. } = report.gate;
    let of = |Score { right, of, .. }: Score| format!("{right} of {of}");
    let mut text = format!(
        "{}: node {}, {} windows beside {} of before, {} steps\nof windows of now {} are answered rightly, and {} before",
        shown(&report.out),
        shown(report.node),
        report.examples,
        report.replay,
        report.steps,
        of(fresh),
        of(fresh_before)
    );
    if fresh_was_trained_on {
        text += " (they are those that were trained on: there are too few to set some apart)";
    }
    if clean.of > 0 {
        text += &format!(
            "\nof windows from before {} are answered rightly, and {} before",
            of(clean),
            of(clean_before)
        );
    }
    text
}
