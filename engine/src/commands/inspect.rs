//! `edgectl inspect`: what a weight file holds.

use aggregate::{AdaptersFound, TensorInfo, WeightFile};
use anyhow::Context;
use serde::Serialize;

use crate::checkpoint::{METADATA_KEY, Meta, NodeStep, open_model};
use crate::cli::InspectArgs;
use crate::output::{Output, shown, table};

#[derive(Serialize)]
struct Report {
    file: String,
    bytes: u64,
    hash: String,
    parameters: u64,
    tensors: Vec<TensorReport>,
    /// What it holds of low-rank adapters.
    adapters: Option<AdaptersFound>,
    /// The metadata as it stands in the file.
    edgectl: Option<serde_json::Value>,
    #[serde(skip)]
    meta: Option<Meta>,
}

#[derive(Serialize)]
struct TensorReport {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    /// Mean, deviation, smallest and largest of the finite values; of dtypes that are not read, none.
    mean: Option<f64>,
    std: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    not_finite: Option<usize>,
}

pub(super) fn run(args: &InspectArgs, output: Output) -> anyhow::Result<()> {
    let file = open_model(&args.file)?;
    let meta = Meta::is_in(&file).then(|| Meta::read(&file)).transpose()?;
    let json = file.metadata().get(METADATA_KEY);
    let edgectl = json.map(|json| serde_json::from_str(json)).transpose()?;
    let tensors = file
        .tensors()
        .iter()
        .map(|info| tensor_report(&file, info))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let report = Report {
        file: args.file.display().to_string(),
        bytes: file.file_len(),
        hash: file.content_hash()?,
        parameters: file.n_parameters(),
        tensors,
        adapters: AdaptersFound::of(file.tensors()),
        edgectl,
        meta,
    };
    let text = text(&report)?;
    output.result(&report, &text)
}

/// Two streamed passes: the deviation needs the mean first, or it loses its digits.
fn tensor_report(file: &WeightFile, info: &TensorInfo) -> anyhow::Result<TensorReport> {
    let mut report = TensorReport {
        name: info.name.clone(),
        dtype: info.dtype.to_string(),
        shape: info.shape.clone(),
        mean: None,
        std: None,
        min: None,
        max: None,
        not_finite: None,
    };
    let (mut n, mut sum, mut not_finite) = (0_usize, 0.0, 0);
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    let read = file.visit_f64(&info.name, |values| {
        for &v in values {
            if v.is_finite() {
                (n, sum, min, max) = (n + 1, sum + v, min.min(v), max.max(v));
            } else {
                not_finite += 1;
            }
        }
    });
    match read {
        // F8 and narrower, and complex numbers.
        Err(aggregate::Error::Dtype { .. }) => return Ok(report),
        other => other?,
    }
    report.not_finite = Some(not_finite);
    if n == 0 {
        return Ok(report);
    }
    let mean = sum / n as f64;
    let mut squares = 0.0;
    file.visit_f64(&info.name, |values| {
        squares += values.iter().filter(|v| v.is_finite()).map(|v| (v - mean).powi(2)).sum::<f64>();
    })?;
    (report.mean, report.std) = (Some(mean), Some((squares / n as f64).sqrt()));
    (report.min, report.max) = (Some(min), Some(max));
    Ok(report)
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
                number(t.min),
                number(t.max),
                t.not_finite.map_or_else(|| "-".to_owned(), |n| n.to_string()),
            ]
        })
        .collect();
    let header = ["tensor", "dtype", "shape", "mean", "std", "min", "max", "NaN or inf"];
    let mut text = format!(
        "{}: {} parameters in {} tensors, {} bytes\nhash {}\n",
        shown(&report.file),
        report.parameters,
        report.tensors.len(),
        report.bytes,
        report.hash
    );
    if let Some(adapters) = &report.adapters {
        text += &format!("{}\n", shown(&adapters.to_string()));
    }
    match &report.meta {
        None => text += "no edgectl metadata: a weight file of another program\n",
        Some(meta) => {
            let lines = [
                ("classes", few(&meta.classes)),
                ("channels", few(&meta.channels)),
                ("model", compact(&meta.model)?),
                ("window", compact(meta.run.window())?),
                ("preprocess", compact(&meta.preprocess)?),
                ("train", compact(meta.run.train())?),
                ("federation", compact(meta.run.federation())?),
                ("provenance", compact(&meta.provenance)?),
            ];
            for (name, value) in lines {
                text += &format!("{name:>11}: {}\n", shown(&value));
            }
            if let Some(temperature) = meta.temperature {
                text += &format!("temperature: {temperature}\n");
            }
            if let Some(profile) = &meta.monitor {
                text += &format!(
                    "{:>11}: calibrated on {} windows of {} series, one false alarm in {:.0} windows (95 %: at \
                     least {:.0})\n",
                    "monitor",
                    profile.windows,
                    profile.series,
                    profile.arl0_reached,
                    profile.arl0_lower
                );
            }
            let by_node = NodeStep::all(&meta.preprocess);
            if !by_node.is_empty() {
                let has =
                    if meta.preprocess.is_fitted() { "the values of one" } else { "no values" };
                let steps = NodeStep::said(&by_node);
                text += &format!("{:>11}: {steps} fitted by each node; here {has}\n", "node steps");
            }
        }
    }
    Ok(format!("{text}\n{}", table(&header, &rows)))
}

/// Names for people; JSON has all.
fn few(names: &[String]) -> String {
    const MOST_NAMES: usize = 100;
    let shown = names.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(" ");
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown,
        n => format!("{shown} … and {n} more"),
    }
}

fn compact(value: &impl Serialize) -> anyhow::Result<String> {
    serde_json::to_string(value).context("the metadata")
}
