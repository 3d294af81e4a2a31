//! `edgectl inspect`: what a weight file holds.

use aggregate::WeightFile;
use anyhow::Context;
use serde::Serialize;

use crate::checkpoint::{METADATA_KEY, Meta};
use crate::cli::InspectArgs;
use crate::output::{Output, table};

#[derive(Serialize)]
struct Report {
    file: String,
    bytes: u64,
    hash: String,
    parameters: u64,
    tensors: Vec<TensorReport>,
    edgectl: Option<Meta>,
}

#[derive(Serialize)]
struct TensorReport {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    /// Mean, deviation, smallest and largest value; none for integers.
    mean: Option<f64>,
    std: Option<f64>,
    min: Option<f32>,
    max: Option<f32>,
    not_finite: usize,
}

pub(super) fn run(args: &InspectArgs, output: Output) -> anyhow::Result<()> {
    let file = WeightFile::open(&args.file)?;
    let meta = file.metadata().contains_key(METADATA_KEY).then(|| Meta::read(&file)).transpose()?;
    let tensors = file
        .tensors()
        .iter()
        .map(|info| {
            let dtype = format!("{:?}", info.dtype);
            let values = if dtype.contains('F') { file.read_f32(&info.name)? } else { Vec::new() };
            Ok(tensor_report(info.name.clone(), dtype, info.shape.clone(), &values))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let report = Report {
        file: args.file.display().to_string(),
        bytes: file.file_len(),
        hash: file.content_hash()?,
        parameters: tensors.iter().map(|t| t.shape.iter().product::<usize>() as u64).sum(),
        tensors,
        edgectl: meta,
    };
    let text = text(&report)?;
    output.result(&report, &text)
}

fn tensor_report(name: String, dtype: String, shape: Vec<usize>, values: &[f32]) -> TensorReport {
    let finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let n = finite.len() as f64;
    let mean = (n > 0.0).then(|| finite.iter().map(|&v| f64::from(v)).sum::<f64>() / n);
    let std = mean.map(|mean| {
        (finite.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt()
    });
    TensorReport {
        name,
        dtype,
        shape,
        mean,
        std,
        min: finite.iter().copied().reduce(f32::min),
        max: finite.iter().copied().reduce(f32::max),
        not_finite: values.len() - finite.len(),
    }
}

fn text(report: &Report) -> anyhow::Result<String> {
    let number = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    let rows: Vec<Vec<String>> = report
        .tensors
        .iter()
        .map(|t| {
            vec![
                t.name.clone(),
                t.dtype.clone(),
                format!("{:?}", t.shape),
                number(t.mean),
                number(t.std),
                number(t.min.map(f64::from)),
                number(t.max.map(f64::from)),
                t.not_finite.to_string(),
            ]
        })
        .collect();
    let header = ["tensor", "dtype", "shape", "mean", "std", "min", "max", "NaN or inf"];
    let mut text = format!(
        "{}: {} parameters in {} tensors, {} bytes\nhash {}\n",
        report.file,
        report.parameters,
        report.tensors.len(),
        report.bytes,
        report.hash
    );
    match &report.edgectl {
        None => text += "no edgectl metadata: a weight file of another program\n",
        Some(meta) => {
            let lines = [
                ("classes", meta.classes.join(" ")),
                ("channels", meta.channels.join(" ")),
                ("model", compact(&meta.model)?),
                ("window", compact(&meta.window)?),
                ("preprocess", compact(&meta.preprocess)?),
                ("train", compact(&meta.train)?),
                ("federation", compact(&meta.federation)?),
                ("provenance", compact(&meta.provenance)?),
            ];
            for (name, value) in lines {
                text += &format!("{name:>11}: {value}\n");
            }
        }
    }
    Ok(format!("{text}\n{}", table(&header, &rows)))
}

fn compact(value: &impl Serialize) -> anyhow::Result<String> {
    serde_json::to_string(value).context("the metadata")
}
