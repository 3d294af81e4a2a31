//! `edgectl eval`: metrics on held-out data.

#[cfg(feature = "plot")]
mod choose;
#[cfg(feature = "plot")]
mod picture;

use std::iter;

use aggregate::{Targets, atomic_write};
use anyhow::ensure;
use serde::Serialize;

use super::node_values::{Training, complete};
use super::targets::protect_data;
use crate::checkpoint::{Checkpoint, NodeValues};
use crate::cli::EvalArgs;
use crate::data::{Dataset, NOTHING_MARKED, is_marked, test_segments};
use crate::evaluate::evaluate;
use crate::job::Job;
use crate::metrics::Metrics;
use crate::output::{Output, metrics_text, shown};
use crate::plot;

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    metrics: &'a Metrics,
    warnings: Vec<&'static str>,
    /// The picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    plot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_fit: Option<NodeValues>,
}

pub(super) fn run(args: &EvalArgs, threads: usize, output: Output) -> anyhow::Result<()> {
    let mut checkpoint = Checkpoint::read(&args.model)?;
    let job = args.config.as_deref().map(Job::read).transpose()?;
    let tables = job.as_ref().map(|job| &job.data);
    if let Some(plot) = &args.plot {
        plot::check(plot)?;
        let mut targets = Targets::default();
        targets.add(plot)?;
        for input in iter::once(&args.model).chain(&args.config).chain(&args.stats) {
            targets.protect(input)?;
        }
        let config = checkpoint.meta.data_config(args.preprocessed, tables);
        protect_data(&targets, &args.data, &config)?;
    }
    let dataset = checkpoint.meta.read_data_with(&args.data, args.preprocessed, tables)?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let segments = if args.all { all } else { test_segments(&dataset, &all) };
    ensure!(
        !segments.is_empty(),
        "{}: no row is marked for the test; --all evaluates on every row",
        args.data[0].display()
    );
    let node_fit = complete(
        &mut checkpoint.meta.preprocess,
        (&dataset, &args.data),
        args.stats.as_deref(),
        Training::Marked,
        output,
    )?;
    let warnings =
        if args.all || is_marked(&dataset, &segments) { Vec::new() } else { vec![NOTHING_MARKED] };
    for warning in &warnings {
        output.warn(warning);
    }
    let metrics = evaluate(&checkpoint, &dataset, &segments, args.precision.into(), threads)?;
    if let Some(plot) = &args.plot {
        let picture = picture(args, &checkpoint, &dataset, &segments, threads)?;
        atomic_write(plot, &picture)?;
    }
    let plot = args.plot.as_ref().map(|plot| plot.display().to_string());
    let mut text = metrics_text(&metrics);
    if let Some(plot) = &plot {
        text += &format!("\n\n{}: some windows of each class", shown(plot));
    }
    output.result(&Report { metrics: &metrics, warnings, plot, node_fit }, &text)
}

/// The picture of some windows of each class.
#[cfg(feature = "plot")]
fn picture(
    args: &EvalArgs,
    checkpoint: &Checkpoint,
    dataset: &Dataset,
    segments: &[usize],
    threads: usize,
) -> anyhow::Result<Vec<u8>> {
    use crate::evaluate::logits;
    use crate::explain::Explainer;
    use crate::windows::{Cut, WindowSet};
    use choose::chosen;
    use monitor::temperature::divide;
    use monitor::{argmax, log_softmax};
    use picture::{Card, Picture};

    /// Most classes in a picture.
    const MOST_CLASSES: usize = 12;

    let meta = &checkpoint.meta;
    let (classes, pipeline) = (&meta.classes, &meta.preprocess);
    let cut = Cut { window: meta.run.window(), seq_len: meta.model.seq_len, train: false };
    let mut set = WindowSet::new(dataset, pipeline, segments, cut)?;
    set.drop_unlabeled();
    let mut logits = logits(checkpoint, &set, args.precision.into(), threads);
    divide(&mut logits, meta.temperature);
    let of_window = |window: usize| &logits[window * classes.len()..][..classes.len()];
    let windows = set.windows().iter().enumerate();
    let answers: Vec<(usize, usize)> = windows
        .filter_map(|(i, window)| Some((window.label? as usize, argmax(of_window(i)))))
        .collect();
    let mut lines = chosen(&answers, classes.len());
    lines.retain(|windows| !windows.is_empty());
    let n_lines = lines.len();
    lines.truncate(MOST_CLASSES);
    let mut explainer = Explainer::new(checkpoint, &set, threads);
    let mut card = |window: usize| -> anyhow::Result<Card> {
        let (class, answer) = answers[window];
        let p = log_softmax(of_window(window))[answer].exp();
        let what = if class == answer { "answer" } else { "WRONG answer" };
        let [class, said] = [class, answer].map(|class| shown(&classes[class]));
        let place = set.windows()[window];
        let segment = &dataset.segments[place.segment];
        let file = segment.source.file_name().unwrap_or_default().to_string_lossy();
        let row = set.row_of(&place, 0);
        Ok(Card {
            title: format!("true {class}, {what} {said} ({p:.2})"),
            place: shown(&format!("{file}, series {}, row {row}", segment.series)).into_owned(),
            explained: explainer.window(window, answer)?.clone(),
        })
    };
    let cards: anyhow::Result<Vec<Vec<Card>>> =
        lines.iter().map(|windows| windows.iter().map(|&window| card(window)).collect()).collect();
    let note = if n_lines > MOST_CLASSES {
        format!("; the first {MOST_CLASSES} of {n_lines} classes")
    } else {
        String::new()
    };
    let picture = Picture::new(&pipeline.output().names, cards?, note);
    plot::bytes(&picture, plot::is_png(args.plot.as_deref().unwrap_or(&args.model)))
}

#[cfg(not(feature = "plot"))]
fn picture(
    _: &EvalArgs,
    _: &Checkpoint,
    _: &Dataset,
    _: &[usize],
    _: usize,
) -> anyhow::Result<Vec<u8>> {
    anyhow::bail!("no pictures in this build")
}
