//! An update of asynchronous rounds on its way: it counts in the round that is open when it arrives.

use aggregate::atomic_write;
use rounds::{Board, Checked, Encoding, Hash, Memory, Plan, Work};

use super::clock::now_ms;
use super::member::{Member, NodeOptions, NodeProgress, keep};
use crate::models::MEMORY;

/// A trained update.
#[derive(Debug)]
pub(super) struct Flight {
    /// The round whose model it started from.
    pub(super) started: u32,
    pub(super) base: Hash,
    pub(super) update: Vec<u8>,
    pub(super) encoding: Encoding,
    pub(super) work: Work,
    /// The round that it was last sent in.
    pub(super) sent: Option<u32>,
}

/// What has become of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    /// A result has a line for it.
    Landed,
    /// It was sent, or waits for a plan.
    InTheAir,
    /// It came too late for all rounds.
    Lost,
}

impl Flight {
    /// Sends it, or again where a round was closed just before it came. `closed` is the last round that is known to be.
    pub(super) fn advance(
        &mut self,
        board: &Board<'_>,
        (member, closed): (&Member, u32),
        (options, progress): (NodeOptions<'_>, &dyn NodeProgress),
    ) -> anyhow::Result<Landing> {
        let node = &member.seat.node;
        if let Some(round) = self.sent {
            if closed < round {
                return Ok(Landing::InTheAir);
            }
            let Some(outcome) = board.outcome(round)? else { return Ok(Landing::InTheAir) };
            if outcome.body.updates.iter().any(|verdict| verdict.node == *node) {
                return Ok(Landing::Landed);
            }
            self.sent = None;
        }
        let open = board.last_closed(closed)? + 1;
        if open > board.job().rounds {
            progress.stays_away(node, open - 1, "its update came after the last round was closed");
            return Ok(Landing::Lost);
        }
        let Some(plan) = board.plan(open)? else { return Ok(Landing::InTheAir) };
        let age = open.saturating_sub(self.started);
        let most = plan.body.max_age.unwrap_or(0);
        if age > most {
            let problem = format!(
                "its update started {age} rounds before this one, which takes at most {most}"
            );
            progress.stays_away(node, open, &problem);
            return Ok(Landing::Lost);
        }
        if let Err(error) = check(board, &plan, member, options) {
            progress.stays_away(node, open, &error.to_string());
            return Ok(Landing::Lost);
        }
        let update = (self.update.as_slice(), self.encoding, self.work);
        member.seat.send_from(board, &plan.body, self.base, update, now_ms())?;
        keep(&member.models, &self.base.to_string())?;
        self.sent = Some(open);
        progress.sent(node, open, self.work);
        Ok(Landing::InTheAir)
    }
}

/// Whether a node trusts a plan and is asked by it; from then on it goes back to no earlier one.
pub(super) fn check(
    board: &Board<'_>,
    plan: &Checked<Plan>,
    member: &Member,
    options: NodeOptions<'_>,
) -> anyhow::Result<()> {
    let file = member.models.path(MEMORY);
    let before = Memory::read(&file)?;
    let after = Memory::accept(before.as_ref(), board, plan, &file)?;
    // Also who is not asked remembers what it has seen.
    if before.as_ref() != Some(&after) {
        atomic_write(&file, after.to_json().as_bytes())?;
    }
    let roster = board.roster(&plan.body)?;
    Ok(member.seat.check_plan(&plan.body, &roster, (options.fewest, now_ms()))?)
}
