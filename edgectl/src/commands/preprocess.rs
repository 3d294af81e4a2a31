//! `edgectl preprocess`: data as a model sees it, after the row-wise steps.

use aggregate::atomic_write;
use serde::Serialize;

use super::folder::check_folder;
use crate::checkpoint::Meta;
use crate::cli::PreprocessArgs;
use crate::data::{Dataset, Split};
use crate::output::Output;

#[derive(Serialize)]
struct Report {
    out: String,
    rows: usize,
}

pub(super) fn run(args: &PreprocessArgs, output: Output) -> anyhow::Result<()> {
    check_folder(&args.out)?;
    let meta = Meta::read(&aggregate::WeightFile::open(&args.model)?)?;
    let dataset = Dataset::read(&args.data, &meta.data, Some(meta.expected()))?;
    let channels = dataset.channels.len();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fixed = ["series", "t", "label", "split"].into_iter().map(str::to_owned);
    writer.write_record(fixed.chain(dataset.channels.iter().cloned()))?;
    let mut rows = 0;
    for segment in &dataset.segments {
        let mut values = segment.values.clone();
        meta.preprocess.apply_series(&mut values)?;
        for (t, row) in values.chunks_exact(channels).enumerate() {
            let label = segment.labels.at(t).map(|l| dataset.classes[l as usize].as_str());
            let split = if segment.split == Split::Test { "test" } else { "train" };
            let fixed = [segment.series.clone(), t.to_string()]
                .into_iter()
                .chain([label.unwrap_or_default().to_owned(), split.to_owned()]);
            writer.write_record(fixed.chain(row.iter().map(f32::to_string)))?;
            rows += 1;
        }
    }
    let bytes = writer.into_inner().map_err(|e| anyhow::anyhow!("{e}"))?;
    atomic_write(&args.out, &bytes)?;
    let report = Report { out: args.out.display().to_string(), rows };
    output.result(&report, &format!("{}: {rows} rows, scaled", report.out))
}
