//! Nodes: wait for a plan, take their turn, and take the merged model if it is no worse.

use std::collections::BTreeSet;

use aggregate::WeightFile;
use anyhow::Context;
use rounds::{Board, Outcome};
use serde::Serialize;

use super::clock::pause;
use super::deploy::Deploy;
use super::doubt::Doubt;
use super::member::{FRESH, Member, NodeOptions, NodeProgress, Reader, keep};
use super::sound::is_stopped;
use super::turn::{Base, Turn};
use crate::checkpoint::Meta;
use crate::data::Dataset;
use crate::interrupt::Reason;

/// What the nodes did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NodeReport {
    /// The last round that was closed when they ended.
    pub round: u32,
    /// Updates that they sent.
    pub sent: usize,
    /// Rounds times nodes in which they did not take part.
    pub stayed_away: usize,
    /// Rounds whose merged model the center did not take.
    pub not_taken: u32,
    /// What stopped them before all rounds were closed.
    pub stopped: Option<Reason>,
}

/// Takes part in all rounds that are still to come.
///
/// # Errors
/// If the store fails, a signed document of the center is missing or forged, or data cannot be read.
pub fn run_nodes(
    board: &Board<'_>,
    members: &mut [Member],
    read: Reader<'_>,
    options: NodeOptions<'_>,
    progress: &dyn NodeProgress,
) -> anyhow::Result<NodeReport> {
    let mut report = NodeReport::default();
    match take_part(board, members, read, (options, progress), &mut report) {
        Err(error) if is_stopped(&error) => {
            report.stopped = options.stop.now();
            Ok(report)
        }
        done => done.map(|()| report),
    }
}

fn take_part(
    board: &Board<'_>,
    members: &mut [Member],
    read: Reader<'_>,
    (options, progress): (NodeOptions<'_>, &dyn NodeProgress),
    report: &mut NodeReport,
) -> anyhow::Result<()> {
    let work = tempfile::tempdir().context("a folder for temporary files")?;
    let mut data: Option<Dataset> = None;
    let rounds = board.job().rounds;
    let mut asked = 0;
    let mut doubt = Doubt { progress, told: BTreeSet::new() };
    // A result whose model the nodes have not looked at yet.
    let mut pending: Option<Outcome> = None;
    for member in &*members {
        doubt.or_none(recover(board, member).map(Some))?;
    }
    loop {
        if let Some(reason) = options.stop.now() {
            report.stopped = Some(reason);
            return Ok(());
        }
        if let Some(outcome) = doubt.or_none(board.last_outcome(report.round))? {
            progress.closed(&outcome.body);
            report.round = outcome.body.round;
            report.not_taken += u32::from(outcome.body.refused.is_some());
            pending = Some(outcome.body);
        }
        if let Some(outcome) = &pending {
            let deploy = Deploy { board, outcome, options, progress, work: work.path() };
            let done = deploy.run(members, &mut data, read);
            if doubt.or_none(done.map(Some))?.is_some() {
                pending = None;
            }
        }
        if report.round >= rounds && pending.is_none() {
            return Ok(());
        }
        let number = report.round + 1;
        if asked < number
            && number <= rounds
            && let Some(plan) = doubt.or_none(board.plan(number))?
            && let Some(base) =
                doubt.or_none(Base::fetch(board, &plan.body, work.path()).map(Some))?
        {
            asked = number;
            progress.asked(&plan.body);
            let dataset = match &data {
                Some(dataset) => dataset,
                None => data.insert(read(&base.model, members)?),
            };
            let turn = Turn { board, plan: &plan, base: &base, dataset, options, progress };
            let sent = turn.take(members)?;
            report.sent += sent.iter().filter(|&&sent| sent).count();
            report.stayed_away += sent.iter().filter(|&&sent| !sent).count();
            continue;
        }
        if let Some(reason) = pause(options.poll, options.stop) {
            report.stopped = Some(reason);
            return Ok(());
        }
    }
}

/// What a process that was killed had sent, and did not live to note.
fn recover(board: &Board<'_>, member: &Member) -> anyhow::Result<()> {
    let fresh = member.models.path(FRESH);
    if !fresh.exists() {
        return Ok(());
    }
    let provenance = Meta::read(&WeightFile::open(&fresh)?)?.provenance;
    let Some(plan) = board.plan(provenance.round.saturating_add(1))? else { return Ok(()) };
    if member.seat.committed(board, &plan.body)?.is_some() {
        keep(&member.models, &plan.body.base.hash.to_string())?;
    }
    Ok(())
}
