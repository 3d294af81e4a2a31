//! The long table of `predict --explain`: what each answer is owed to, by step and channel.

use std::path::Path;

use aggregate::atomic_stream;
use anyhow::Context;

use crate::checkpoint::Checkpoint;
use crate::explain::{Explained, Explainer};
use crate::windows::WindowSet;
use monitor::argmax;

/// Writes the table, window by window; returns its number of rows.
///
/// # Errors
/// If the file cannot be written, or what is found is not finite.
pub(super) fn write(
    path: &Path,
    checkpoint: &Checkpoint,
    set: &WindowSet<'_>,
    logits: &[f32],
    threads: usize,
) -> anyhow::Result<u64> {
    let mut n_rows = 0;
    atomic_stream(path, |out| {
        let mut writer = csv::Writer::from_writer(out);
        rows(&mut writer, checkpoint, set, logits, threads, &mut n_rows)?;
        writer.flush().with_context(|| format!("{}: cannot write", path.display()))
    })?;
    Ok(n_rows)
}

/// The header, and a row for each step of each window.
fn rows<W: std::io::Write>(
    writer: &mut csv::Writer<W>,
    checkpoint: &Checkpoint,
    set: &WindowSet<'_>,
    logits: &[f32],
    threads: usize,
    n_rows: &mut u64,
) -> anyhow::Result<()> {
    let (classes, channels) =
        (&checkpoint.meta.classes, &checkpoint.meta.preprocess.output().names);
    let segments = &set.dataset().segments;
    let has_time = set.windows().iter().any(|window| segments[window.segment].times.is_some());
    let header = ["file", "series", "line", "start", "predicted", "step", "row"].into_iter();
    let header = header.chain(has_time.then_some("time")).map(str::to_owned);
    let header = header.chain(channels.iter().map(|channel| format!("r_{channel}")));
    writer.write_record(header.chain(["attention".to_owned()]))?;
    let mut explainer = Explainer::new(checkpoint, set, threads);
    let answers = logits.chunks_exact(classes.len()).map(argmax);
    for (index, (window, answer)) in set.windows().iter().zip(answers).enumerate() {
        let segment = &segments[window.segment];
        let Explained { relevance, attention, .. } =
            explainer.window(index, answer).with_context(|| segment.place())?;
        let start = set.rows_of(window).0.to_string();
        let place = [
            &segment.source.display().to_string(),
            &segment.series,
            &segment.first_line.to_string(),
            &start,
            &classes[answer],
        ];
        let steps = relevance.chunks_exact(channels.len()).zip(attention);
        for (step, (relevance, attention)) in steps.enumerate() {
            let row = set.row_of(window, step);
            let time = segment.times.as_ref().map(|times| times[row].to_string());
            for cell in place {
                writer.write_field(cell)?;
            }
            for number in [step, row] {
                writer.write_field(number.to_string())?;
            }
            if has_time {
                writer.write_field(time.unwrap_or_default())?;
            }
            for value in relevance.iter().chain([attention]) {
                writer.write_field(value.to_string())?;
            }
            writer.write_record(None::<&[u8]>)?;
            *n_rows += 1;
        }
    }
    Ok(())
}
