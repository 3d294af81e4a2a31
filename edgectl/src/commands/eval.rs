//! `edgectl eval`: metrics on held-out data.

use anyhow::ensure;

use crate::checkpoint::Checkpoint;
use crate::cli::EvalArgs;
use crate::data::test_segments;
use crate::evaluate::evaluate;
use crate::output::{Output, metrics_text};

pub(super) fn run(args: &EvalArgs, threads: usize, output: Output) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::read(&args.model)?;
    let dataset = checkpoint.meta.read_data(&args.data, args.preprocessed)?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let segments = if args.all { all } else { test_segments(&dataset, &all) };
    ensure!(
        !segments.is_empty(),
        "{}: no row is marked for the test; --all evaluates on every row",
        args.data[0].display()
    );
    let metrics = evaluate(&checkpoint, &dataset, &segments, args.precision.into(), threads)?;
    output.result(&metrics, &metrics_text(&metrics))
}
