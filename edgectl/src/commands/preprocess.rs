//! `edgectl preprocess`: data as a model sees it, after the row-wise steps.

use aggregate::{Targets, WeightFile, atomic_write};
use serde::Serialize;

use super::targets::protect_data;
use crate::checkpoint::Meta;
use crate::cli::PreprocessArgs;
use crate::data::{Scaled, Segment};
use crate::output::{Output, shown};

#[derive(Serialize)]
struct Report {
    out: String,
    rows: usize,
}

pub(super) fn run(args: &PreprocessArgs, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    targets.add(&args.out)?;
    targets.protect(&args.model)?;
    let meta = Meta::read(&WeightFile::open(&args.model)?)?;
    protect_data(&targets, &args.data, meta.run.data().format)?;
    let dataset = meta.read_data(&args.data, false)?;
    let mut table = Vec::new();
    let channels = &meta.preprocess.output().names;
    let scaled = |segment: &Segment| Scaled::of(segment, &dataset, &meta.preprocess);
    let rows = dataset.write_long((meta.run.data(), channels), scaled, &mut table)?;
    atomic_write(&args.out, &table)?;
    let report = Report { out: args.out.display().to_string(), rows };
    let text = format!("{}: {rows} rows, scaled; read it with --preprocessed", shown(&report.out));
    output.result(&report, &text)
}
