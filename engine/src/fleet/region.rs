//! A region: the center of its nodes, and one node of the center above it. All that it knows is in its store.
//!
//! Its round is that of its parent, from the same model. What its nodes sent becomes one update, which it sends up; its
//! round is closed when the parent's is, with the parent's model.

use std::path::Path;

use anyhow::{Context, ensure};
use rounds::{Desk, Outcome, SecretKey, Store};

use super::center::CenterOptions;
use super::clock::now_ms;
use super::composes::region_rules;
use super::ear::{Ear, RegionProgress};
use super::member::{MOST_MODEL, read_model};
use super::parent::Parent;
use super::region_turn::Turn;
use super::sound::is_stopped;

/// What a region did.
#[derive(Debug, Clone, Default)]
pub struct RegionReport {
    /// What closed the last round that is closed.
    pub last: Option<Outcome>,
    /// Whether all rounds are.
    pub all: bool,
    /// Updates that it sent.
    pub sent: u32,
}

/// Begins the parent's job in the store of a region, or goes on with it.
///
/// # Errors
/// If the job has rules that regions cannot follow, the region's store holds another job, or a store fails.
pub fn begin_region<'a>(
    store: &'a Store,
    key: &'a SecretKey,
    parent: &Parent<'_>,
    work: &Path,
) -> anyhow::Result<Desk<'a>> {
    let above = parent.board.job();
    let model = parent.board.blob(&above.model, MOST_MODEL)?;
    region_rules(&read_model(&model, work)?.0.meta.run.federation().rules)?;
    let desk = match Desk::open(store, key)? {
        Some(desk) => desk,
        None => Desk::begin(store, key, (&model, above.rounds), now_ms())?,
    };
    let own = desk.board().job();
    ensure!(
        (own.model, own.rounds) == (above.model, above.rounds),
        "{}: the job in this store is not that of the parent; a region needs a store of its own",
        store.url()
    );
    Ok(desk)
}

/// Runs the rounds of the parent that this region has not closed yet.
///
/// # Errors
/// If a store fails, something in the region's own store is not what it should be, or a file of this machine cannot be
/// written.
pub fn run_region(
    desk: &Desk<'_>,
    parent: Parent<'_>,
    options: &CenterOptions<'_>,
    progress: &mut dyn RegionProgress,
) -> anyhow::Result<RegionReport> {
    let board = desk.board();
    let work = tempfile::tempdir().context("a folder for temporary files")?;
    let mut last = board.last_outcome(0)?;
    let mut report = RegionReport::default();
    let mut ear = Ear::new(progress);
    loop {
        ear.sent = false;
        let done = last.as_ref().map_or(0, |last| last.body.round);
        report.all = done >= board.job().rounds;
        if report.all || options.stop.now().is_some() {
            report.last = last.map(|last| last.body);
            return Ok(report);
        }
        let turn = Turn { desk, parent, options, last: last.as_ref(), folder: work.path() };
        let closed = match turn.run(done + 1, &mut ear) {
            Err(error) if is_stopped(&error) => None,
            closed => closed?,
        };
        let Some((closed, ours)) = closed else {
            report.last = last.map(|last| last.body);
            return Ok(report);
        };
        ear.progress.closed(&closed.body, ours);
        report.sent += u32::from(ear.sent);
        last = Some(closed);
    }
}
