//! The updates of a round as they arrive at the center, each in a file of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aggregate::{Differences, WeightFile};
use anyhow::{Context, bail, ensure};
use rounds::{Arrival, Commit, Desk, Encoding, NodeId, Plan, Roster, Verdict};

use super::clock::{now_ms, pause};
use super::sound::short;
use crate::checkpoint::{METADATA_KEY, Meta};
use crate::interrupt::Stop;

/// What came in a round.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Files of updates that may be merged.
    pub(super) files: BTreeMap<NodeId, PathBuf>,
    /// What is said of every commit, also of those that are refused.
    pub(super) verdicts: BTreeMap<NodeId, Verdict>,
}

/// Why a center no longer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Every node of the roster has sent, or the deadline is over and enough have.
    Enough,
    /// The plan has expired with too few.
    Expired,
    /// Another center has closed the round.
    ClosedElsewhere,
    /// A signal came.
    Stopped,
}

/// When updates come in, and how many are to come.
pub(super) trait Arrivals {
    /// One came; whether it counts.
    fn arrived(&mut self, verdict: &Verdict);
    /// The deadline is over, and so many of the quorum are there.
    fn waits(&mut self, there: usize, quorum: usize);
}

/// Waits for the updates of a round.
pub(super) fn collect(
    desk: &Desk<'_>,
    plan: &rounds::Checked<Plan>,
    roster: &Roster,
    to: (&Path, Option<&Differences>),
    (poll, most, stop): (Duration, u64, Stop),
    heard: &mut dyn Arrivals,
) -> anyhow::Result<(Collected, Until)> {
    let mut collected = Collected::default();
    let mut told = false;
    let until = loop {
        let seen: BTreeSet<NodeId> = collected.verdicts.keys().cloned().collect();
        let mut failed = Ok(());
        let mut each = |arrival: Arrival| {
            if failed.is_ok() {
                failed = collected.take(arrival, &plan.body, to, heard);
            }
        };
        desk.arrivals(plan, roster, (&seen, most, now_ms()), &mut each)?;
        failed?;
        let answered =
            roster.nodes.keys().filter(|node| collected.verdicts.contains_key(node)).count();
        if answered == roster.nodes.len() {
            break Until::Enough;
        }
        if desk.board().outcome(plan.body.round)?.is_some() {
            break Until::ClosedElsewhere;
        }
        let (there, quorum, now) = (collected.files.len(), plan.body.quorum as usize, now_ms());
        if now >= plan.body.deadline && there >= quorum {
            break Until::Enough;
        }
        if now >= plan.body.expires {
            break Until::Expired;
        }
        if now >= plan.body.deadline && !told {
            heard.waits(there, quorum);
            told = true;
        }
        if pause(poll, stop).is_some() {
            break Until::Stopped;
        }
    };
    Ok((collected, until))
}

impl Collected {
    fn take(
        &mut self,
        arrival: Arrival,
        plan: &Plan,
        (folder, differences): (&Path, Option<&Differences>),
        heard: &mut dyn Arrivals,
    ) -> anyhow::Result<()> {
        let Arrival { node, commit, update } = arrival;
        let path = folder.join(format!("{node}.safetensors"));
        let (mut work, mut sent) = (None, None);
        let refused = match update {
            Err(reason) => Some(reason),
            Ok((commit, bytes)) => {
                (work, sent) = (Some(commit.work), Some((commit.blob.bytes, commit.encoding)));
                match whole(&node, bytes, commit.encoding, differences) {
                    Err(error) => Some(format!("{error:#}")),
                    Ok(file) => {
                        file.copy_to(&path)?;
                        let fits = fits(&file, &commit, plan);
                        if fits.is_err() {
                            fs::remove_file(&path)
                                .with_context(|| format!("{}", path.display()))?;
                        }
                        fits.err().map(|error| format!("{error:#}"))
                    }
                }
            }
        };
        let refused = refused.map(|reason| short(&reason));
        let verdict = Verdict { node: node.clone(), commit, refused, work, sent };
        heard.arrived(&verdict);
        if verdict.refused.is_none() {
            self.files.insert(node.clone(), path);
        }
        self.verdicts.insert(node, verdict);
        Ok(())
    }
}

/// The update in what a node sent.
fn whole(
    node: &NodeId,
    bytes: Vec<u8>,
    encoding: Encoding,
    differences: Option<&Differences>,
) -> anyhow::Result<WeightFile> {
    let file = WeightFile::of_bytes(format!("update of {node}"), bytes)?;
    match (encoding, differences) {
        (Encoding::Whole, _) => Ok(file),
        (_, Some(differences)) => Ok(differences.decode(&file)?),
        (_, None) => bail!("a difference, where whole updates were asked for"),
    }
}

/// Fails if an update does not say of itself what its node has signed. All else, names, shapes and values, is looked at
/// when it is merged.
fn fits(file: &WeightFile, commit: &Commit, plan: &Plan) -> anyhow::Result<()> {
    ensure!(
        file.metadata().contains_key(METADATA_KEY),
        "no update of edgectl: it has no metadata key {METADATA_KEY}"
    );
    let provenance = Meta::read(file)?.provenance;
    let node = provenance.node.as_deref().unwrap_or_default();
    ensure!(
        node == commit.node.as_str(),
        "it says that it is of node {node:?}, {} has signed it",
        commit.node
    );
    let base = provenance.base.as_deref().unwrap_or_default();
    ensure!(
        base == plan.base.hash.to_string(),
        "it says that it started from {base:?}, this round from {}",
        plan.base.hash
    );
    ensure!(
        provenance.examples == commit.work.examples,
        "it says that it was trained on {} windows, its node has signed {}",
        provenance.examples,
        commit.work.examples
    );
    Ok(())
}
