//! `edgectl center --parent`: the center of a region.

use std::time::Instant;

use anyhow::{Context, ensure};
use rounds::{Board, PublicKey, Seat, Store, Work};

use super::center::targets;
use super::center_report::{Above, Ended};
use super::shown_rounds::Shown;
use super::stores::open_for_service;
use crate::cli::{CenterArgs, StoreArgs};
use crate::fleet::{
    CenterOptions, Parent, RegionProgress, begin_region, check_roster, pause, run_region,
};
use crate::interrupt::Stop;
use crate::output::Output;

pub(super) fn run(args: &CenterArgs, parent: &str, output: Output) -> anyhow::Result<()> {
    let began = Instant::now();
    let stop = Stop::new(None);
    targets(args)?;
    // Its name and key are those by which it is known above.
    let seat = Seat::read(&args.key, args.id.clone())?;
    let center = PublicKey::read(args.parent_center.as_deref().context("give --parent-center")?)?;
    ensure!(
        center != seat.key.public(),
        "{}: this is the key of the center above; a region has a key of its own",
        args.key.display()
    );
    ensure!(
        args.at.store.trim_end_matches('/') != parent.trim_end_matches('/'),
        "--store and --parent are the same: a region has a store of its own"
    );
    check_roster(&args.roster, args.quorum)?;
    // Its nodes may be waiting for it.
    Store::make_folder(&args.at.store)?;
    let store = open_for_service(&args.at, stop, output)?;
    let at = StoreArgs { store: parent.to_owned(), ca: args.parent_ca.clone() };
    let above = open_for_service(&at, stop, output)?;
    let Some(board) = wait_for_job(&above, center, (args, stop), output)? else {
        return output.result(
            &serde_json::json!({ "stopped": "interrupted" }),
            "interrupted before a job began",
        );
    };
    let parent = Parent { board: &board, seat: &seat, fewest: args.parent_min_nodes };
    let work = tempfile::tempdir().context("a folder for temporary files")?;
    let desk = begin_region(&store, &seat.key, &parent, work.path())?;
    let rounds = board.job().rounds;
    output.note(&format!(
        "region {} of job {} at {}: {rounds} rounds",
        seat.node,
        board.job().job,
        above.url()
    ));
    let options = CenterOptions {
        roster: &args.roster,
        quorum: args.quorum,
        deadline: args.deadline,
        expiry: args.expire,
        max_drop: None,
        encoding: args.compress.into(),
        poll: args.poll,
        measure: None,
        stop,
    };
    let mut shown_rounds = Shown::new(output, rounds);
    let done = run_region(&desk, parent, &options, &mut shown_rounds)?;
    let ended = Ended {
        store: store.url(),
        desk: &desk,
        last: done.last,
        all: done.all,
        not_taken: shown_rounds.not_taken,
        began,
        above: Some(Above { parent: above.url(), sent: done.sent }),
    };
    ended.report(args.out.as_deref(), output)
}

/// The job of the center above, once there is one; nothing if it was stopped before.
fn wait_for_job<'a>(
    above: &'a Store,
    center: PublicKey,
    (args, stop): (&CenterArgs, Stop),
    output: Output,
) -> anyhow::Result<Option<Board<'a>>> {
    let mut told = false;
    loop {
        if let Some(board) = Board::open(above, center)? {
            return Ok(Some(board));
        }
        if !told {
            let url = above.url();
            output.note(&format!("{url}: no job has begun here, waiting for the center above"));
            told = true;
        }
        if pause(args.poll, stop).is_some() {
            return Ok(None);
        }
    }
}

impl RegionProgress for Shown {
    fn distrusts(&mut self, problem: &str) {
        self.above(|output| output.warn(&format!("not believed: {problem}")));
    }

    fn stays_away(&mut self, round: u32, problem: &str) {
        self.above(|output| {
            output.warn(&format!("round {round}: nothing is sent to the parent: {problem}"));
        });
    }

    fn sent(&mut self, round: u32, nodes: usize, work: Work) {
        self.above(|output| {
            output.note(&format!(
                "round {round}: sent the update of {nodes} nodes to the parent: {} windows, {} steps",
                work.examples, work.steps
            ));
        });
    }
}
