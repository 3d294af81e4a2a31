//! `edgectl calibrate`: what is usual of a model's answers on held-out data, into its file.

use std::iter;

use aggregate::Targets;
use anyhow::{Context, ensure};
use attn_core::Precision;
use monitor::temperature::{Fitted, divide, fit};
use monitor::{
    CalibrateOptions, Conformal, Series, Watch, argmax, calibrate, ece, softmax_in_place,
};
use serde::Serialize;

use super::node_values::{Training, complete};
use super::targets::protect_data;
use crate::checkpoint::Checkpoint;
use crate::cli::CalibrateArgs;
use crate::data::{Dataset, Split};
use crate::evaluate::prepared_logits;
use crate::output::{Output, shown};
use crate::signals::{FIRST, InputReference, NAMES, Profile, Statistics, watches};
use crate::windows::{Cut, WindowBuffer, WindowSet};

/// Windows of one series that are drawn together at most.
const LONGEST_BLOCK: usize = 100;

/// Windows that references and sets are made of at most.
const MOST_WINDOWS: usize = 4096;

#[derive(Serialize)]
struct Report {
    out: String,
    windows: usize,
    series: usize,
    /// People, or what else a node is, of whom they are.
    people: usize,
    /// Rows that are marked for training and were left out.
    training_rows_left_out: usize,
    temperature: Option<f64>,
    ece_before: Option<f64>,
    ece: Option<f64>,
    accuracy: Option<f64>,
    arl0: f64,
    arl0_lower: f64,
    detectors: Vec<Detector>,
    /// `1 − p` of the least likely class in a set.
    conformal: Option<f64>,
}

#[derive(Serialize)]
struct Detector {
    signal: &'static str,
    rule: &'static str,
    threshold: f64,
}

pub(super) fn run(args: &CalibrateArgs, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    for input in iter::once(&args.model).filter(|model| **model != args.out).chain(&args.stats) {
        targets.protect(input)?;
    }
    let mut checkpoint = Checkpoint::read(&args.model)?;
    ensure!(
        !checkpoint.meta.provenance.partial,
        "{}: an update of some tensors; calibrate the model that it is merged into",
        args.model.display()
    );
    protect_data(&targets, &args.data, &checkpoint.meta.data_config(false, None))?;
    let dataset = checkpoint.meta.read_data(&args.data, false)?;
    let (segments, left_out) = held_out(&dataset, args.all);
    if left_out > 0 {
        output.note(&format!(
            "{left_out} rows are marked for training and were left out; --all takes those of people that the model \
             was not trained on"
        ));
    }
    ensure!(
        !segments.is_empty(),
        "{}: all rows are marked for training: thresholds from what a model was trained on are too low; bring data \
         that it was not trained on, with --all if its marks do not matter",
        args.data[0].display()
    );
    let mut pipeline = checkpoint.meta.preprocess.clone();
    complete(
        &mut pipeline,
        (&dataset, &args.data),
        args.stats.as_deref(),
        Training::Marked,
        output,
    )?;
    let found = Answered::of(&checkpoint, &pipeline, &dataset, &segments)?;
    let report = found.calibrate(&mut checkpoint, args, left_out)?;
    checkpoint.write(&args.out)?;
    if report.arl0_lower < 0.1 * args.arl0 {
        output.note(&format!(
            "{} people and {} series say little of how often others give a false alarm: bring more of them",
            report.people, report.series
        ));
    }
    let text = text(&report, args);
    output.result(&report, &text)
}

/// Segments that were not trained on, and how many rows were.
fn held_out(dataset: &Dataset, all: bool) -> (Vec<usize>, usize) {
    let is_training = |&i: &usize| !all && dataset.segments[i].split == Split::Train;
    let (left_out, kept): (Vec<usize>, Vec<usize>) =
        (0..dataset.segments.len()).partition(is_training);
    let rows = |&i: &usize| dataset.segments[i].n_rows(dataset.channels.len());
    (kept, left_out.iter().map(rows).sum())
}

/// Windows of which none shares a row with another, with what the model says of them.
struct Answered {
    statistics: Vec<Statistics>,
    logits: Vec<f32>,
    labels: Vec<Option<u32>>,
    /// The person, or what else belongs together, of each.
    groups: Vec<usize>,
    /// The person of each series.
    people: Vec<usize>,
    /// The last window of each series, and one more.
    ends: Vec<usize>,
    ranges: Vec<(f64, f64)>,
}

impl Answered {
    fn of(
        checkpoint: &Checkpoint,
        pipeline: &preprocess::Pipeline,
        dataset: &Dataset,
        segments: &[usize],
    ) -> anyhow::Result<Self> {
        let meta = &checkpoint.meta;
        let cut = Cut { window: meta.run.window(), seq_len: meta.model.seq_len, train: false };
        let set = WindowSet::new(dataset, pipeline, segments, cut)?;
        // The segment and the row behind the last window.
        let mut last = (usize::MAX, 0);
        let mut fresh = Vec::new();
        for (i, window) in set.windows().iter().enumerate() {
            if window.segment != last.0 || window.start >= last.1 {
                last = (window.segment, window.start + window.len);
                fresh.push(i);
            }
        }
        let n_classes = meta.classes.len();
        let all = prepared_logits(checkpoint, &set, Precision::F32);
        let logits: Vec<f32> =
            fresh.iter().flat_map(|&i| &all[i * n_classes..][..n_classes]).copied().collect();
        ensure!(
            logits.iter().all(|logit| logit.is_finite()),
            "the model's answers are not finite: its training diverged"
        );
        let channels = pipeline.output().channels();
        let mut buffer = WindowBuffer::default();
        let statistics = fresh
            .iter()
            .map(|&i| {
                let mut found = Statistics::default();
                set.fill([i], None, &mut buffer);
                found.take(&buffer.values, channels);
                found
            })
            .collect();
        let windows = || fresh.iter().map(|&i| set.windows()[i]);
        let nodes = dataset.nodes();
        let node_of =
            |segment: usize| nodes.iter().position(|node| node.segments.contains(&segment));
        let of_series: Vec<usize> = windows().map(|window| window.segment).collect();
        let mut groups: Vec<usize> =
            of_series.iter().map(|&segment| node_of(segment).unwrap_or(0)).collect();
        dense(&mut groups);
        let is_last = |&i: &usize| of_series.get(i) != Some(&of_series[i - 1]);
        let ends: Vec<usize> = (1..=of_series.len()).filter(is_last).collect();
        let people = ends.iter().map(|&end| groups[end - 1]).collect();
        if groups.iter().all(|&group| group == 0) {
            // Of one person: series in turn.
            groups.clone_from(&of_series);
            dense(&mut groups);
            for group in &mut groups {
                *group %= 5;
            }
        }
        Ok(Self {
            statistics,
            logits,
            labels: windows().map(|window| window.label).collect(),
            groups,
            people,
            ends,
            ranges: ranges(dataset, segments),
        })
    }

    fn calibrate(
        self,
        checkpoint: &mut Checkpoint,
        args: &CalibrateArgs,
        left_out: usize,
    ) -> anyhow::Result<Report> {
        let meta = &mut checkpoint.meta;
        let n_classes = meta.classes.len();
        let (labelled, targets): (Vec<usize>, Vec<u32>) =
            self.labels.iter().enumerate().filter_map(|(i, label)| Some((i, (*label)?))).unzip();
        let of_labelled = |logits: &[f32]| -> Vec<f32> {
            labelled.iter().flat_map(|&i| &logits[i * n_classes..][..n_classes]).copied().collect()
        };
        let known = of_labelled(&self.logits);
        let Fitted { temperature, kept } = fit(n_classes, &known, &targets);
        if kept.is_none() {
            meta.temperature = Some(temperature);
        }
        let mut probs = self.logits.clone();
        divide(&mut probs, meta.temperature);
        let calibrated = of_labelled(&probs);
        probs.chunks_exact_mut(n_classes).for_each(softmax_in_place);
        let answers: Vec<usize> = probs.chunks_exact(n_classes).map(argmax).collect();
        let p = |i: usize, class: usize| f64::from(probs[i * n_classes + class]);
        let class = |i: usize| self.labels[i].unwrap_or(answers[i] as u32);
        let classes: Vec<u32> = (0..answers.len()).map(class).collect();
        let (input, distances) = InputReference::fit(&self.statistics, &classes, &self.groups)
            .context("what windows usually are")?;

        let all_labelled = labelled.len() == answers.len();
        let n_signals = if all_labelled { 3 } else { 2 };
        let mut values = Vec::new();
        for (i, &answer) in answers.iter().enumerate() {
            values.extend([distances[i], p(i, answer)]);
            if all_labelled {
                values.push(f64::from(u8::from(self.labels[i] != Some(answer as u32))));
            }
        }
        let starts = iter::once(0).chain(self.ends.iter().copied());
        let kinds: Vec<u32> = answers.iter().map(|&answer| answer as u32).collect();
        let series: Vec<Series<'_>> = starts
            .zip(&self.ends)
            .zip(&self.people)
            .map(|((from, &to), &place)| Series {
                values: &values[from * n_signals..to * n_signals],
                kinds: &kinds[from..to],
                place,
            })
            .collect();
        let first = args.refit.unwrap_or(FIRST);
        let options = CalibrateOptions {
            arl0: args.arl0,
            first,
            longest_block: LONGEST_BLOCK,
            seed: args.seed,
        };
        ensure!((5..=1000).contains(&args.window), "--window {}: give 5 to 1000", args.window);
        let people = self.people.iter().max().map_or(0, |most| most + 1);
        let watches = watches(args.window, all_labelled);
        let found = calibrate(&watches, n_signals, &series, &options)?;
        let (arl0, arl0_lower) = (found.arl0, found.arl0_lower);
        let watches = found.watches;
        let score = |(&i, &label): (&usize, &u32)| (1.0 - p(i, label as usize)).clamp(0.0, 1.0);
        let scores: Vec<f64> = labelled.iter().zip(&targets).map(score).collect();
        let conformal =
            if scores.is_empty() { None } else { Some(Conformal::new(&thinned(scores))?) };
        let right = labelled.iter().zip(&targets).filter(|(i, t)| answers[**i] as u32 == **t);
        let accuracy = (!labelled.is_empty()).then(|| right.count() as f64 / labelled.len() as f64);
        let detectors = watches.iter().map(|watch| {
            let (rule, threshold) = rule(watch);
            Detector { signal: NAMES[watch.signal], rule, threshold }
        });
        let of = |logits: &[f32]| (!targets.is_empty()).then(|| ece(n_classes, logits, &targets));
        let report = Report {
            out: args.out.display().to_string(),
            windows: answers.len(),
            series: self.ends.len(),
            people,
            training_rows_left_out: left_out,
            temperature: meta.temperature,
            ece_before: of(&known),
            ece: of(&calibrated),
            accuracy,
            arl0,
            arl0_lower,
            detectors: detectors.collect(),
            conformal: conformal.as_ref().map(|sets| sets.quantile(1.0 - args.coverage)),
        };
        meta.monitor = Some(Box::new(Profile {
            arl0: args.arl0,
            arl0_reached: arl0,
            arl0_lower,
            windows: answers.len(),
            series: self.ends.len(),
            accuracy,
            input,
            scores: found.scores,
            watches,
            coverage: args.coverage,
            conformal,
            first,
            ranges: self.ranges,
        }));
        Ok(report)
    }
}

/// Numbers groups from 0 in the order in which they come.
fn dense(groups: &mut [usize]) {
    let mut known = Vec::new();
    for group in groups {
        let at = known.iter().position(|other| other == group);
        *group = at.unwrap_or_else(|| {
            known.push(*group);
            known.len() - 1
        });
    }
}

/// The smallest and the largest value of each channel.
fn ranges(dataset: &Dataset, segments: &[usize]) -> Vec<(f64, f64)> {
    let n = dataset.channels.len();
    let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); n];
    for &segment in segments {
        for row in dataset.segments[segment].values.chunks_exact(n) {
            for ((least, most), &value) in ranges.iter_mut().zip(row) {
                if value.is_finite() {
                    (*least, *most) = (least.min(value), most.max(value));
                }
            }
        }
    }
    // Of a channel without values nothing is known.
    let of = |(least, most): (f64, f64)| if least <= most { (least, most) } else { (-1e99, 1e99) };
    ranges.into_iter().map(of).collect()
}

fn rule(watch: &Watch) -> (&'static str, f64) {
    use monitor::{AnyDetector, Detector};
    let rule = match watch.detector {
        AnyDetector::Cusum(_) => "cusum",
        AnyDetector::Ks(_) => "ks",
    };
    (rule, watch.detector.threshold())
}

/// Some of many scores, evenly among them by their size.
fn thinned(mut scores: Vec<f64>) -> Vec<f64> {
    if scores.len() <= MOST_WINDOWS {
        return scores;
    }
    scores.sort_unstable_by(f64::total_cmp);
    (0..MOST_WINDOWS).map(|i| scores[(i * 2 + 1) * scores.len() / (2 * MOST_WINDOWS)]).collect()
}

fn text(report: &Report, args: &CalibrateArgs) -> String {
    let mut text = format!(
        "{}: calibrated on {} windows of {} series\nof {} that thresholds were not found on there was one false alarm in \
         {:.0} windows (95 %: at least {:.0}; asked for {})",
        shown(&report.out),
        report.windows,
        report.series,
        if report.people > 1 { "people" } else { "other series of the same person" },
        report.arl0,
        report.arl0_lower,
        args.arl0
    );
    if let (Some(before), Some(after)) = (report.ece_before, report.ece) {
        let temperature = report.temperature.unwrap_or(1.0);
        text += &format!(
            "\ntemperature {temperature}: calibration error {after:.4}, without {before:.4}"
        );
    }
    if let Some(q) = report.conformal {
        let coverage = 100.0 * args.coverage;
        text += &format!(
            "\nsets hold the true class for {coverage} % of windows: classes with p of at least {:.4}",
            1.0 - q
        );
    }
    text
}
