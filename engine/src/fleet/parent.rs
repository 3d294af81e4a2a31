//! The center above a region, for which the region is one node.

use std::collections::BTreeSet;
use std::path::Path;

use aggregate::WeightFile;
use anyhow::Context;
use rounds::{
    BlobRef, Board, Checked, Commit, Encoding, Error, Hash, Memory, Outcome, Plan, Seat, Work,
};

use super::clock::now_ms;
use super::member::MOST_MODEL;
use crate::checkpoint::Meta;

/// The center above a region, and the region's place there.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// What it has published.
    pub board: &'a Board<'a>,
    /// The region's name and key there.
    pub seat: &'a Seat,
    /// Among how many the region sends at all.
    pub fewest: u32,
}

/// What stands for the file of a node's memory, which a region keeps in its store.
const REGION_STORE: &str = "the store of this region";

/// Most bytes of what is remembered of a parent.
const MOST_MEMORY: u64 = 64 << 10;

impl Parent<'_> {
    /// What a region remembers of the last round that it has closed.
    pub(super) fn memory(
        own: &Board<'_>,
        last: Option<&Checked<Outcome>>,
    ) -> anyhow::Result<Option<Memory>> {
        let Some(last) = last else { return Ok(None) };
        let missing = || format!("the result of round {} is of no region", last.body.round);
        let bytes = own.blob(&last.body.memory.with_context(missing)?, MOST_MEMORY)?;
        Ok(Some(serde_json::from_slice(&bytes).with_context(missing)?))
    }

    /// Whether the store of a board is that of a region: what its results remember is a parent's plan.
    pub(super) fn is_regions(own: &Board<'_>) -> anyhow::Result<bool> {
        let Some(memory) = own.last_outcome(0)?.and_then(|last| last.body.memory) else {
            return Ok(false);
        };
        if memory.bytes > MOST_MEMORY {
            return Ok(false);
        }
        let bytes = own.blob(&memory, MOST_MEMORY)?;
        Ok(serde_json::from_slice::<Memory>(&bytes).is_ok())
    }

    /// Fails if the parent holds another job than the region has followed so far, or not the plan any more by which the
    /// region closed its last round.
    pub(super) fn check_kept(&self, before: &Memory) -> Result<(), Error> {
        before.check_outcome(self.board, before.round, Path::new(REGION_STORE))?;
        let kept = self.board.plan(before.round)?;
        if kept.is_some_and(|plan| plan.hash == before.plan) {
            return Ok(());
        }
        let problem = format!(
            "the parent's store was taken back: this region has closed round {} by another plan than it has now",
            before.round
        );
        Err(refused(before.round, problem))
    }

    /// The plan of a round, if it is there: of the job that the region has followed so far, for the model that it
    /// has.
    pub(super) fn plan(
        &self,
        round: u32,
        before: Option<&Memory>,
        base: &BlobRef,
    ) -> Result<Option<Checked<Plan>>, Error> {
        let Some(plan) = self.board.plan(round)? else { return Ok(None) };
        self.remembered(before, &plan)?;
        if plan.body.base == *base {
            return Ok(Some(plan));
        }
        let problem = format!(
            "it starts from {}, and the round before ended with {}",
            plan.body.base.hash, base.hash
        );
        Err(refused(round, problem))
    }

    /// What to remember once this plan was followed.
    pub(super) fn remembered(
        &self,
        before: Option<&Memory>,
        plan: &Checked<Plan>,
    ) -> Result<Memory, Error> {
        Memory::accept(before, self.board, plan, Path::new(REGION_STORE))
    }

    /// What closed the round of a plan, if it is closed.
    pub(super) fn outcome(&self, plan: &Checked<Plan>) -> Result<Option<Checked<Outcome>>, Error> {
        match self.board.outcome(plan.body.round)? {
            Some(outcome) if outcome.body.previous != plan.hash => {
                Err(refused(plan.body.round, "its result closes another plan".to_owned()))
            }
            outcome => Ok(outcome),
        }
    }

    /// Fails if the region is not asked by a plan.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), Error> {
        let roster = self.board.roster(plan)?;
        self.seat.check_plan(plan, &roster, (self.fewest, now_ms()))
    }

    /// Whose updates are in what this region has sent in a round, if it has: it may have been another process, on
    /// another machine.
    pub(super) fn sent(&self, plan: &Plan) -> anyhow::Result<Option<BTreeSet<String>>> {
        let commit = self.seat.committed(self.board, plan)?;
        commit.map(|commit| self.names(plan, &commit)).transpose()
    }

    /// Sends the update of a region; whose updates are in the one that counts.
    pub(super) fn send(
        &self,
        plan: &Plan,
        (update, work): (&[u8], Work),
    ) -> anyhow::Result<BTreeSet<String>> {
        // Another center of the same region may be faster, with more or fewer nodes.
        let commit = self.seat.send(self.board, plan, (update, Encoding::Whole, work), now_ms())?;
        if commit.unpacked.hash == Hash::of(update) {
            return names(&self.seat.node, update.to_vec());
        }
        self.names(plan, &commit)
    }

    fn names(&self, plan: &Plan, commit: &Commit) -> anyhow::Result<BTreeSet<String>> {
        names(&self.seat.node, self.seat.update(self.board, plan, commit, MOST_MODEL)?)
    }
}

fn refused(round: u32, problem: String) -> Error {
    Error::Refused { path: format!("round {round} of the parent"), problem }
}

/// Which nodes of a region its update names; those of a region below it by that region's name.
fn names(region: &rounds::NodeId, update: Vec<u8>) -> anyhow::Result<BTreeSet<String>> {
    let file = WeightFile::of_bytes("the update of this region", update)?;
    let merged = Meta::read(&file)?.provenance.merged;
    let below = merged.iter().filter_map(|name| {
        let own = name.strip_prefix(region.as_str())?.strip_prefix('/')?;
        own.split('/').next()
    });
    Ok(below.map(str::to_owned).collect())
}
