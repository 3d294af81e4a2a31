//! `edgectl status`: the rounds of a store, or the models of a node.

use std::path::Path;

use anyhow::Context;
#[cfg(feature = "store")]
use rounds::{Board, Checked, Metrics, Outcome, Plan, PublicKey, Store, Verdict};
use serde::Serialize;

use crate::cli::StatusArgs;
use crate::models::{Deployed, Deployment, Models};
use crate::output::{Output, shown, table};

/// `edgectl status`.
pub(super) fn run(args: &StatusArgs, output: Output) -> anyhow::Result<()> {
    #[cfg(feature = "store")]
    if let Some(url) = &args.store {
        return of_store(url, args, output);
    }
    of_models(args.models.as_deref().context("give a folder of models")?, output)
}

fn of_models(folder: &Path, output: Output) -> anyhow::Result<()> {
    let models = Models::open(folder)?;
    let deployment = models.deployment();
    output.result(deployment, &models_text(folder, deployment))
}

fn models_text(folder: &Path, deployment: &Deployment) -> String {
    let row = |what: &str, model: &Deployed| {
        let accuracy = model.accuracy.map_or("-".to_owned(), |accuracy| format!("{accuracy:.4}"));
        vec![what.to_owned(), model.round.to_string(), accuracy, model.hash.clone()]
    };
    let live = deployment.live.iter().map(|model| row("live", model));
    let previous = deployment.previous.iter().map(|model| row("before", model));
    let rows: Vec<Vec<String>> = live.chain(previous).collect();
    let mut text = shown(&folder.display().to_string()).into_owned();
    if rows.is_empty() {
        return text + ": no model is live yet";
    }
    text += &format!("\n\n{}", table(&["model", "round", "held out", "BLAKE3"], &rows));
    for refused in &deployment.refused {
        text += &format!(
            "\nrefused: {} of round {}: {}",
            refused.hash,
            refused.round,
            shown(&refused.reason)
        );
    }
    text
}

#[cfg(feature = "store")]
#[derive(Serialize)]
struct Report {
    store: String,
    job: String,
    rounds: u32,
    closed: u32,
    /// From the last one back.
    results: Vec<RoundReport>,
    /// The round that is open.
    open: Option<OpenReport>,
}

#[cfg(feature = "store")]
#[derive(Serialize)]
struct RoundReport {
    round: u32,
    merged: usize,
    refused: Option<String>,
    metrics: Option<Metrics>,
    model: String,
    /// What became of each update.
    updates: Vec<Verdict>,
    /// From the plan to the result.
    seconds: Option<f64>,
}

#[cfg(feature = "store")]
#[derive(Serialize)]
struct OpenReport {
    round: u32,
    nodes: u32,
    quorum: u32,
    /// Milliseconds since 1970.
    deadline: u64,
    /// Whose updates are there.
    sent: Vec<String>,
    /// Whose are not.
    missing: Vec<String>,
}

#[cfg(feature = "store")]
fn of_store(url: &str, args: &StatusArgs, output: Output) -> anyhow::Result<()> {
    let store = super::stores::open_once(url, args.ca.as_deref(), output)?;
    let center = PublicKey::read(args.center.as_deref().context("give --center FILE.pub")?)?;
    loop {
        let report = report(&store, center, args)?;
        if !args.watch {
            return output.result(&report, &store_text(&report));
        }
        output.screen(&store_text(&report))?;
        if report.closed == report.rounds {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

#[cfg(feature = "store")]
fn report(store: &Store, center: PublicKey, args: &StatusArgs) -> anyhow::Result<Report> {
    let board = Board::open(store, center)?
        .with_context(|| format!("{}: no job has begun here", store.url()))?;
    let (job, rounds) = (board.job().job.clone(), board.job().rounds);
    let closed = board.last_closed(0)?;
    let mut results = Vec::new();
    for round in (1..=closed).rev().take(args.last as usize) {
        let outcome = board
            .outcome(round)?
            .with_context(|| format!("the result of round {round} is missing"))?;
        let plan = board.plan(round)?;
        results.push(round_report(outcome, plan.as_ref()));
    }
    let open = if closed < rounds { open_report(&board, closed + 1)? } else { None };
    Ok(Report { store: store.url().to_owned(), job, rounds, closed, results, open })
}

#[cfg(feature = "store")]
fn round_report(outcome: Checked<Outcome>, plan: Option<&Checked<Plan>>) -> RoundReport {
    let outcome = outcome.body;
    let seconds = plan.map(|plan| outcome.closed.saturating_sub(plan.body.issued) as f64 / 1000.0);
    RoundReport {
        round: outcome.round,
        merged: outcome.merged(),
        refused: outcome.refused,
        metrics: outcome.metrics,
        model: outcome.model.hash.to_string(),
        updates: outcome.updates,
        seconds,
    }
}

#[cfg(feature = "store")]
fn open_report(board: &Board<'_>, round: u32) -> anyhow::Result<Option<OpenReport>> {
    let Some(plan) = board.plan(round)? else { return Ok(None) };
    let roster = board.roster(&plan.body)?;
    let sent: Vec<String> = board.committed(round)?.iter().map(ToString::to_string).collect();
    let missing = roster.nodes.keys().map(ToString::to_string).filter(|node| !sent.contains(node));
    Ok(Some(OpenReport {
        round,
        nodes: plan.body.nodes,
        quorum: plan.body.quorum,
        deadline: plan.body.deadline,
        missing: missing.collect(),
        sent,
    }))
}

#[cfg(feature = "store")]
fn store_text(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .results
        .iter()
        .map(|round| {
            let number =
                |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
            let seconds = round.seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1}"));
            vec![
                round.round.to_string(),
                format!("{} of {}", round.merged, round.updates.len()),
                number(round.metrics.map(|metrics| metrics.accuracy)),
                number(round.metrics.map(|metrics| metrics.loss)),
                seconds,
                if round.refused.is_some() { "not taken" } else { "taken" }.to_owned(),
            ]
        })
        .collect();
    let mut text = format!(
        "{}: job {}, {} of {} rounds are closed\n",
        shown(&report.store),
        report.job,
        report.closed,
        report.rounds
    );
    if !rows.is_empty() {
        let head = ["round", "updates", "accuracy", "loss", "s", "model"];
        text += &format!("\n{}\n", table(&head, &rows));
    }
    for round in &report.results {
        if let Some(why) = &round.refused {
            text += &format!("\nround {}: model not taken: {}", round.round, shown(why));
        }
        for verdict in &round.updates {
            if let Some(why) = &verdict.refused {
                text += &format!(
                    "\nround {}: {}: not counted: {}",
                    round.round,
                    verdict.node,
                    shown(why)
                );
            }
        }
    }
    if let Some(open) = &report.open {
        let names = |names: &[String]| {
            let more = names.len().saturating_sub(20);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            names[..names.len().min(20)].join(", ") + &more
        };
        text += &format!(
            "\nround {} is open: {} of {} have sent, quorum {}",
            open.round,
            open.sent.len(),
            open.nodes,
            open.quorum
        );
        if !open.missing.is_empty() {
            text += &format!("\nnot yet: {}", names(&open.missing));
        }
    }
    text
}
