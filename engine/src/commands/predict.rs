//! `edgectl predict`: a model's answer for every window of files.

use std::collections::BTreeMap;
use std::iter;
use std::path::Path;

use aggregate::{Targets, TensorData, TensorRef, atomic_write, write_file};
use anyhow::{Context, ensure};
use attn_core::Precision;
use serde::Serialize;

use super::explain;
use super::node_values::{Training, complete};
use super::targets::protect_data;
use crate::checkpoint::{Checkpoint, NodeValues};
use crate::cli::PredictArgs;
use crate::evaluate::{logits, prepared_logits};
use crate::output::{Output, shown};
use crate::windows::{Cut, WindowBuffer, WindowSet};
use monitor::temperature::divide;
use monitor::{argmax, log_softmax};

#[derive(Serialize)]
struct Report {
    out: String,
    windows: usize,
    /// The table of what the answers are owed to, with its number of rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain_rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_fit: Option<NodeValues>,
}

pub(super) fn run(args: &PredictArgs, threads: usize, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    for out in iter::once(&args.out).chain(&args.tensors).chain(&args.explain) {
        targets.add(out)?;
    }
    for input in iter::once(&args.model).chain(&args.stats) {
        targets.protect(input)?;
    }
    let mut checkpoint = Checkpoint::read(&args.model)?;
    let meta = &mut checkpoint.meta;
    protect_data(&targets, &args.data, &meta.data_config(args.preprocessed, None))?;
    let dataset = meta.read_data(&args.data, args.preprocessed)?;
    let node_fit = complete(
        &mut meta.preprocess,
        (&dataset, &args.data),
        args.stats.as_deref(),
        Training::Marked,
        output,
    )?;
    let meta = &checkpoint.meta;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let cut = Cut { window: meta.run.window(), seq_len: meta.model.seq_len, train: false };
    let set = WindowSet::new(&dataset, &meta.preprocess, &all, cut)?;
    let answers = prepared_logits(&checkpoint, &set, Precision::F32);
    ensure!(
        answers.iter().all(|l| l.is_finite()),
        "{}: the model's answers are not finite: its training diverged",
        args.model.display()
    );
    let csv = csv(&checkpoint, &set, &answers).context("the predictions")?;
    atomic_write(&args.out, &csv)?;
    if let Some(path) = &args.tensors {
        // Those of the trained model in its batches, to compare with other frameworks.
        let logits = logits(&checkpoint, &set, Precision::F32, threads);
        write_tensors(path, &checkpoint, &set, &logits)?;
    }
    let explain = args.explain.as_deref();
    let explain_rows = explain
        .map(|path| explain::write(path, &checkpoint, &set, &answers, threads))
        .transpose()?;
    let report = Report {
        out: args.out.display().to_string(),
        windows: set.windows().len(),
        explain: explain.map(|path| path.display().to_string()),
        explain_rows,
        node_fit,
    };
    let mut text = format!("{}: answers for {} windows", shown(&report.out), report.windows);
    if let (Some(path), Some(rows)) = (&report.explain, explain_rows) {
        text += &format!("\n{}: what they are owed to, {rows} steps", shown(path));
    }
    output.result(&report, &text)
}

/// One row per window: where it is, its label if it has one, the answer, and every class's
/// probability.
fn csv(checkpoint: &Checkpoint, set: &WindowSet<'_>, logits: &[f32]) -> anyhow::Result<Vec<u8>> {
    let classes = &checkpoint.meta.classes;
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fixed =
        ["file", "series", "split", "line", "start", "rows", "label", "predicted", "confidence"];
    let probabilities = classes.iter().map(|class| format!("p_{class}"));
    writer.write_record(fixed.into_iter().map(str::to_owned).chain(probabilities))?;
    for (window, logits) in set.windows().iter().zip(logits.chunks_exact(classes.len())) {
        let mut logits = logits.to_vec();
        divide(&mut logits, checkpoint.meta.temperature);
        let segment = &set.dataset().segments[window.segment];
        let (start, rows) = set.rows_of(window);
        let answer = argmax(&logits);
        let p: Vec<f32> = log_softmax(&logits).into_iter().map(f32::exp).collect();
        let mut record = vec![
            segment.source.display().to_string(),
            segment.series.clone(),
            segment.split.name().to_owned(),
            segment.first_line.to_string(),
            start.to_string(),
            rows.to_string(),
            window.label.map(|l| classes[l as usize].clone()).unwrap_or_default(),
            classes[answer].clone(),
            format!("{:.6}", p[answer]),
        ];
        record.extend(p.iter().map(|p| format!("{p:.6}")));
        writer.write_record(&record)?;
    }
    writer.into_inner().map_err(|e| anyhow::anyhow!("{e}"))
}

/// `x` `[n, seq_len, channels]` padded with zeros, `lengths` `[n]` and `logits` `[n, classes]` as they leave the
/// model, whose temperature, if it has one, the metadata tells.
fn write_tensors(
    path: &Path,
    checkpoint: &Checkpoint,
    set: &WindowSet<'_>,
    logits: &[f32],
) -> anyhow::Result<()> {
    let model = &checkpoint.meta.model;
    let n = set.windows().len();
    let width = model.seq_len * model.channels;
    let mut x = vec![0.0; n * width];
    let mut lengths = Vec::with_capacity(n);
    let mut buffer = WindowBuffer::default();
    for (i, row) in x.chunks_exact_mut(width).enumerate() {
        set.fill([i], None, &mut buffer);
        row[..buffer.values.len()].copy_from_slice(&buffer.values);
        lengths.push(i64::try_from(buffer.lengths[0])?);
    }
    let tensors = [
        TensorRef {
            name: "x",
            shape: &[n, model.seq_len, model.channels],
            data: TensorData::F32(&x),
        },
        TensorRef { name: "lengths", shape: &[n], data: TensorData::I64(&lengths) },
        TensorRef {
            name: "logits",
            shape: &[n, model.task.n_outputs()],
            data: TensorData::F32(logits),
        },
    ];
    let temperature = checkpoint.meta.temperature;
    let metadata = temperature.map(|t| ("temperature".to_owned(), t.to_string()));
    write_file(path, &tensors, &BTreeMap::from_iter(metadata))?;
    Ok(())
}
