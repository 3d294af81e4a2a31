//! Nodes: wait for a plan, take their turn, and take the merged model if it is no worse.

use std::collections::{BTreeMap, BTreeSet};

use aggregate::WeightFile;
use anyhow::Context;
use rounds::{Board, Outcome};
use serde::Serialize;

use super::clock::pause;
use super::deploy::Deploy;
use super::doubt::Doubt;
use super::flight::{Flight, Landing};
use super::member::{FRESH, Member, NodeOptions, NodeProgress, Reader, keep};
use super::sound::is_stopped;
use super::turn::{Base, Took, Turn};
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
    // The last round that each has taken its turn in, or has a place in.
    let mut asked = vec![0; members.len()];
    let mut told = 0;
    let mut doubt = Doubt { progress, told: BTreeSet::new() };
    // A result whose model the nodes have not looked at yet.
    let mut pending: Option<Outcome> = None;
    // Updates of asynchronous rounds that no result has a line for yet, by member.
    let mut flights: BTreeMap<usize, Flight> = BTreeMap::new();
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
        for (i, mut flight) in std::mem::take(&mut flights) {
            let landing = flight.advance(board, (&members[i], report.round), (options, progress));
            if doubt.or_none(landing.map(Some))? == Some(Landing::InTheAir) {
                asked[i] = asked[i].max(flight.sent.unwrap_or(0));
                flights.insert(i, flight);
            }
        }
        if report.round >= rounds && pending.is_none() {
            return Ok(());
        }
        let number = report.round + 1;
        // One whose update is to be sent again does that first.
        let is_free = |i: &usize| {
            asked[*i] < number && flights.get(i).is_none_or(|flight| flight.sent.is_some())
        };
        let free: BTreeSet<usize> = (0..members.len()).filter(is_free).collect();
        if number <= rounds
            && !free.is_empty()
            && let Some(plan) = doubt.or_none(board.plan(number))?
            && let Some(base) =
                doubt.or_none(Base::fetch(board, &plan.body, work.path()).map(Some))?
        {
            for i in &free {
                asked[*i] = number;
            }
            if told < number {
                progress.asked(&plan.body);
                told = number;
            }
            let dataset = match &data {
                Some(dataset) => dataset,
                None => data.insert(read(&base.model, members)?),
            };
            let turn = Turn { board, plan: &plan, base: &base, dataset, options, progress };
            let turns = members.iter_mut().enumerate().filter(|(i, _)| free.contains(i));
            let took = turn.take(turns.map(|(_, member)| member).collect())?;
            for (i, took) in free.into_iter().zip(took) {
                match took {
                    Took::Nothing => report.stayed_away += 1,
                    Took::Part => report.sent += 1,
                    Took::Flight(flight) => {
                        report.sent += 1;
                        asked[i] = asked[i].max(flight.sent.unwrap_or(0));
                        flights.insert(i, flight);
                    }
                }
            }
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
    let Some(base) = provenance.base else { return Ok(()) };
    let started = provenance.round.saturating_add(1);
    // In asynchronous rounds it may have been sent in a later one.
    let mut round = started;
    while let Some(plan) = board.plan(round)? {
        let is_there = member.seat.committed(board, &plan.body)?;
        if is_there.is_some_and(|commit| commit.base.to_string() == base) {
            return keep(&member.models, &base);
        }
        if round - started >= plan.body.max_age.unwrap_or(0) {
            break;
        }
        round += 1;
    }
    Ok(())
}
