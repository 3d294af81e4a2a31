//! The rounds of a store: who sent what, and what became of it.

use std::thread::sleep;
use std::time::Duration;

use aggregate::{Targets, atomic_write};
use anyhow::Context;
use rounds::{Board, Checked, Metrics, Outcome, Plan, PublicKey, Store, Verdict};
use serde::Serialize;

use super::super::stores::open_once;
use crate::cli::StatusArgs;
use crate::output::{Output, shown, table};

/// What a store tells.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) store: String,
    pub(super) job: String,
    pub(super) rounds: u32,
    pub(super) closed: u32,
    /// From the last one back.
    pub(super) results: Vec<RoundReport>,
    /// What is wrong with rounds that cannot be shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unreadable: Vec<String>,
    /// The round that is open.
    pub(super) open: Option<OpenReport>,
}

/// A closed round.
#[derive(Serialize)]
pub(super) struct RoundReport {
    pub(super) round: u32,
    pub(super) merged: usize,
    pub(super) refused: Option<String>,
    pub(super) metrics: Option<Metrics>,
    model: String,
    /// What became of each update.
    pub(super) updates: Vec<Verdict>,
    /// From the plan to the result.
    pub(super) seconds: Option<f64>,
}

/// A round that is open.
#[derive(Serialize)]
pub(super) struct OpenReport {
    pub(super) round: u32,
    pub(super) nodes: u32,
    pub(super) quorum: u32,
    /// Milliseconds since 1970.
    deadline: u64,
    /// Whose updates are there.
    pub(super) sent: Vec<String>,
    /// Whose are not.
    pub(super) missing: Vec<String>,
}

/// `edgectl status --store`.
pub(super) fn of_store(
    url: &str,
    args: &StatusArgs,
    page: &dyn Fn(&Report) -> anyhow::Result<String>,
    output: Output,
) -> anyhow::Result<()> {
    if let Some(path) = &args.html {
        let mut targets = Targets::default();
        targets.add(path)?;
        for input in args.center.iter().chain(&args.ca) {
            targets.protect(input)?;
        }
    }
    let store = open_once(url, args.ca.as_deref(), output)?;
    let center = PublicKey::read(args.center.as_deref().context("give --center FILE.pub")?)?;
    loop {
        let report = report(&store, center, args)?;
        if let Some(path) = &args.html {
            atomic_write(path, page(&report)?.as_bytes())?;
        }
        if !args.watch {
            return output.result(&report, &store_text(&report));
        }
        output.screen(&store_text(&report))?;
        if report.closed == report.rounds {
            return Ok(());
        }
        sleep(Duration::from_secs(1));
    }
}

fn report(store: &Store, center: PublicKey, args: &StatusArgs) -> anyhow::Result<Report> {
    let board = Board::open(store, center)?
        .with_context(|| format!("{}: no job has begun here", store.url()))?;
    let (job, rounds) = (board.job().job.clone(), board.job().rounds);
    let closed = board.last_outcome(0)?.map_or(0, |last| last.body.round);
    let (mut results, mut unreadable) = (Vec::new(), Vec::new());
    for round in (1..=closed).rev().take(args.last as usize) {
        match (board.outcome(round), board.plan(round)) {
            (Ok(Some(outcome)), plan) => {
                results.push(round_report(outcome, plan.ok().flatten().as_ref()));
            }
            (Ok(None), _) => unreadable.push(format!("the result of round {round} is missing")),
            (Err(error @ rounds::Error::Refused { .. }), _) => unreadable.push(error.to_string()),
            (Err(error), _) => return Err(error.into()),
        }
    }
    let open = if closed < rounds { open_report(&board, closed + 1)? } else { None };
    Ok(Report { store: store.url().to_owned(), job, rounds, closed, results, unreadable, open })
}

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

fn open_report(board: &Board<'_>, round: u32) -> anyhow::Result<Option<OpenReport>> {
    let Some(plan) = board.plan(round)? else { return Ok(None) };
    let roster = board.roster(&plan.body)?;
    let sent = board.committed(round)?;
    let listed = sent.iter().filter(|node| roster.nodes.contains_key(node));
    let sent: Vec<String> = listed.map(ToString::to_string).collect();
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
            } else if verdict.age > 0 {
                text += &format!(
                    "\nround {}: {}: started {} rounds before",
                    round.round, verdict.node, verdict.age
                );
            }
        }
    }
    for problem in &report.unreadable {
        text += &format!("\nnot believed: {}", shown(problem));
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
