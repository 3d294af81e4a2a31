//! `edgectl preprocess windows`: the windows that a job trains and tests on, for other programs.

use std::collections::BTreeMap;

use aggregate::{Targets, TensorData, TensorRef, write_file};
use anyhow::{Context, ensure};
use serde::Serialize;

use super::super::targets::protect_data;
use crate::checkpoint::Checkpoint;
use crate::cli::WindowsArgs;
use crate::data::{Dataset, test_segments, train_segments};
use crate::job::Job;
use crate::output::{Output, shown};
use crate::run::{Run, Schema};
use crate::windows::{Cut, WindowBuffer, WindowSet};

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    /// Labelled windows to train on.
    train: usize,
    /// Those for the test.
    test: usize,
    /// Most steps of a window, to which all are padded with zeros.
    steps: usize,
    channels: &'a [String],
    classes: &'a [String],
}

/// Windows of one side, each padded to the longest.
struct Side {
    name: &'static str,
    /// `[windows, steps, channels]`
    x: Vec<f32>,
    /// Steps of each window.
    lengths: Vec<i64>,
    /// The class of each.
    y: Vec<i64>,
}

pub(super) fn run(args: &WindowsArgs, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    targets.protect(&args.config)?;
    let job = Job::read(&args.config)?;
    let data = job.data_paths(&args.data)?;
    protect_data(&targets, &data, &job.data)?;
    let dataset = Dataset::read(&data, &job.data, None)?;
    let run = Run::check(job, Some(Schema::of(&dataset)))?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    // A fresh model fits the steps on the training rows, and knows how long windows are.
    let start = Checkpoint::fresh(&run, &dataset, &all)?;
    let train = side("train", &start, &dataset, &train_segments(&dataset, &all)?)?;
    let test = side("test", &start, &dataset, &test_segments(&dataset, &all))?;
    ensure!(
        !train.y.is_empty(),
        "no window to train on has a label; name the label column in [data], or see [window] label"
    );
    let meta = &start.meta;
    let shape = |side: &Side| [side.y.len(), meta.model.seq_len, meta.model.channels];
    let (shapes, sides) = ([shape(&train), shape(&test)], [&train, &test]);
    let names = sides.map(|side| ["x", "lengths", "y"].map(|part| format!("{}.{part}", side.name)));
    let mut tensors = Vec::new();
    for ((side, shape), [x, lengths, y]) in sides.iter().zip(&shapes).zip(&names) {
        tensors.push(TensorRef { name: x, shape, data: TensorData::F32(&side.x) });
        let of_windows = &shape[..1];
        for (name, values) in [(lengths, &side.lengths), (y, &side.y)] {
            tensors.push(TensorRef { name, shape: of_windows, data: TensorData::I64(values) });
        }
    }
    let words = |names: &[String]| serde_json::to_string(names).context("the names");
    let metadata = BTreeMap::from([
        ("channels".to_owned(), words(&meta.preprocess.output().names)?),
        ("classes".to_owned(), words(&meta.classes)?),
    ]);
    write_file(&args.out, &tensors, &metadata)?;
    let report = Report {
        out: args.out.display().to_string(),
        train: train.y.len(),
        test: test.y.len(),
        steps: meta.model.seq_len,
        channels: &meta.preprocess.output().names,
        classes: &meta.classes,
    };
    let text = format!(
        "{}: {} windows to train on and {} for the test, of up to {} steps and {} channels",
        shown(&report.out),
        report.train,
        report.test,
        report.steps,
        report.channels.len()
    );
    output.result(&report, &text)
}

/// The labelled windows of some segments; none where there are no segments.
fn side(
    name: &'static str,
    start: &Checkpoint,
    dataset: &Dataset,
    segments: &[usize],
) -> anyhow::Result<Side> {
    let mut side = Side { name, x: Vec::new(), lengths: Vec::new(), y: Vec::new() };
    if segments.is_empty() {
        return Ok(side);
    }
    let meta = &start.meta;
    let cut =
        Cut { window: meta.run.window(), seq_len: meta.model.seq_len, train: name == "train" };
    let mut set = WindowSet::new(dataset, &meta.preprocess, segments, cut)?;
    set.drop_unlabeled();
    let mut buffer = WindowBuffer::default();
    let width = meta.model.seq_len * meta.model.channels;
    for window in 0..set.windows().len() {
        set.fill([window], None, &mut buffer);
        side.x.extend_from_slice(&buffer.values);
        side.x.resize((window + 1) * width, 0.0);
        side.lengths.push(i64::try_from(buffer.lengths[0]).unwrap_or(i64::MAX));
        side.y.push(i64::from(buffer.targets[0]));
    }
    Ok(side)
}
