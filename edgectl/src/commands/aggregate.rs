//! `edgectl aggregate`: merges weight files.

use std::time::Instant;

use aggregate::{OnRejection, ServerStep, WeightFile};
use anyhow::{Context, ensure};
use serde::Serialize;

use super::check_folder;
use crate::checkpoint::{METADATA_KEY, Meta};
use crate::cli::{AggregateArgs, Strategy};
use crate::federation::{Merge, Refused, Weights, merge};
use crate::job::UpdateWeights;
use crate::output::Output;
use crate::system::peak_rss_bytes;

/// Momentum of `--strategy sgd` where none is given (`FedAvgM`, arXiv 1909.06335).
const DEFAULT_MOMENTUM: f32 = 0.9;

#[derive(Serialize)]
struct Report {
    out: String,
    inputs: usize,
    rejected: Vec<Refused>,
    strategy: &'static str,
    tensors: u64,
    parameters: u64,
    bytes_read: u64,
    wall_s: f64,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn run(args: &AggregateArgs, output: Output) -> anyhow::Result<()> {
    let began = Instant::now();
    check_folder(&args.out)?;
    let (strategy, server) = server_step(args)?;
    let weights = match &args.weights {
        Some(weights) => Weights::Given(weights),
        None if args.uniform => Weights::Rule(UpdateWeights::Uniform),
        None => Weights::Rule(UpdateWeights::Examples),
    };
    ensure!(
        args.strategy != Some(Strategy::Weighted) || args.weights.is_some(),
        "--strategy weighted needs --weights, one number per file"
    );
    let merged = merge(
        &args.updates,
        &Merge {
            base: args.base.as_deref(),
            out: &args.out,
            server,
            weights,
            on_rejection: if args.strict {
                OnRejection::Fail
            } else if args.keep_going {
                OnRejection::Skip
            } else {
                OnRejection::SkipNotFinite
            },
        },
    )?;
    if merged.weights_unknown && args.weights.is_none() && !args.uniform {
        output.note("note: no file says how many examples it was trained on; all weigh the same");
    }
    let report = Report {
        out: args.out.display().to_string(),
        inputs: args.updates.len(),
        rejected: merged.refused,
        strategy,
        tensors: merged.report.n_tensors,
        parameters: merged.report.n_parameters,
        bytes_read: merged.report.bytes_read,
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
    };
    let mut text = format!(
        "{}: {} of {} updates merged ({strategy}), {} parameters in {} tensors",
        report.out,
        report.inputs - report.rejected.len(),
        report.inputs,
        report.parameters,
        report.tensors
    );
    for rejected in &report.rejected {
        text += &format!("\nrefused: {}: {}", rejected.path, rejected.reason);
    }
    output.result(&report, &text)
}

/// The server step by the command line, and its name.
fn server_step(args: &AggregateArgs) -> anyhow::Result<(&'static str, ServerStep)> {
    let strategy = args.strategy.unwrap_or(Strategy::Fedavg);
    ensure!(
        strategy == Strategy::Sgd || (args.lr.is_none() && args.momentum.is_none()),
        "--lr and --momentum belong to --strategy sgd"
    );
    ensure!(
        strategy != Strategy::Sgd || args.base.is_some(),
        "--strategy sgd moves the model that the updates started from; name it with --base"
    );
    Ok(match strategy {
        Strategy::Fedavg if args.weights.is_none() => ("fedavg", ServerStep::Replace),
        Strategy::Fedavg | Strategy::Weighted => ("weighted", ServerStep::Replace),
        Strategy::Sgd => {
            let momentum = args.momentum.unwrap_or(DEFAULT_MOMENTUM);
            let lr = args.lr.unwrap_or(1.0);
            ("sgd", ServerStep::Sgd { lr, momentum, nesterov: false })
        }
        Strategy::Job => {
            let base = args
                .base
                .as_deref()
                .context("--strategy job needs --base, whose job it follows")?;
            let file = WeightFile::open(base)?;
            ensure!(
                file.metadata().contains_key(METADATA_KEY),
                "{}: not an edgectl checkpoint, so it has no job to follow",
                base.display()
            );
            match Meta::read(&file)?.federation.server {
                ServerStep::Replace => ("fedavg", ServerStep::Replace),
                step => ("sgd", step),
            }
        }
    })
}
