//! The updates of a round as they arrive at the center, each in a file of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aggregate::WeightFile;
use anyhow::{Context, bail, ensure};
use rounds::{Arrival, Commit, Desk, Encoding, Hash, NodeId, Plan, Roster, Verdict};

use super::bases::Bases;
use super::clock::{now_ms, pause};
use super::sound::short;
use crate::checkpoint::{CappedNote, METADATA_KEY, Meta};
use crate::interrupt::Stop;

/// What came in a round.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Files of updates that may be merged.
    pub(super) files: BTreeMap<NodeId, PathBuf>,
    /// What is said of every commit, also of those that are refused.
    pub(super) verdicts: BTreeMap<NodeId, Verdict>,
    /// Models of rounds before that some of them started from.
    pub(super) older: BTreeSet<Hash>,
    /// Those that count less than they say, once they were merged.
    pub(super) capped: Vec<CappedNote>,
}

/// Why a center no longer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Every node of the roster has sent, or the deadline is over and enough have; in asynchronous rounds enough have.
    Enough,
    /// The plan has expired with too few.
    Expired,
    /// Another center has closed the round.
    ClosedElsewhere,
    /// Whoever hears has no use for more.
    Over,
    /// A signal came.
    Stopped,
}

/// When updates come in, and how many are to come.
pub(super) trait Arrivals {
    /// One came; whether it counts.
    fn arrived(&mut self, verdict: &Verdict);
    /// The deadline is over, and so many of the quorum are there.
    fn waits(&mut self, there: usize, quorum: usize);
    /// Whether more would be of no use, whatever is there.
    fn is_over(&mut self) -> anyhow::Result<bool> {
        Ok(false)
    }
}

/// Waits for the updates of a round, in addition to those that were collected before.
pub(super) fn collect(
    desk: &Desk<'_>,
    plan: &rounds::Checked<Plan>,
    roster: &Roster,
    to: (&Path, &Bases<'_>),
    (poll, most, stop): (Duration, u64, Stop),
    heard: &mut dyn Arrivals,
    collected: &mut Collected,
) -> anyhow::Result<Until> {
    let mut told = false;
    let older = to.1.older();
    loop {
        let seen: BTreeSet<NodeId> = collected.verdicts.keys().cloned().collect();
        let mut failed = Ok(());
        let mut each = |arrival: Arrival| {
            if failed.is_ok() {
                failed = collected.take(arrival, &plan.body, to, heard);
            }
        };
        desk.arrivals(plan, roster, (&seen, &older), (most, now_ms()), &mut each)?;
        failed?;
        if collected.is_all(roster) {
            return Ok(Until::Enough);
        }
        if desk.board().outcome(plan.body.round)?.is_some() {
            return Ok(Until::ClosedElsewhere);
        }
        if heard.is_over()? {
            return Ok(Until::Over);
        }
        let (there, quorum, now) = (collected.files.len(), plan.body.quorum as usize, now_ms());
        let is_time = now >= plan.body.deadline || plan.body.max_age.is_some();
        if is_time && there >= quorum {
            return Ok(Until::Enough);
        }
        if now >= plan.body.expires {
            return Ok(Until::Expired);
        }
        if now >= plan.body.deadline && !told {
            heard.waits(there, quorum);
            told = true;
        }
        if pause(poll, stop).is_some() {
            return Ok(Until::Stopped);
        }
    }
}

impl Collected {
    /// Whether there is something of every node.
    pub(super) fn is_all(&self, roster: &Roster) -> bool {
        roster.nodes.keys().all(|node| self.verdicts.contains_key(node))
    }

    /// Notes that an update does not count after all.
    pub(super) fn refuse(&mut self, file: &Path, reason: &str) {
        let name = self.files.iter().find(|(_, path)| *path == file).map(|(name, _)| name.clone());
        let Some(name) = name else { return };
        self.files.remove(&name);
        if let Some(verdict) = self.verdicts.get_mut(&name) {
            verdict.refused = Some(short(reason));
        }
    }

    /// How many rounds before each update started.
    pub(super) fn ages(&self) -> BTreeMap<PathBuf, u64> {
        let age = |name: &NodeId| self.verdicts.get(name).map_or(0, |verdict| verdict.age.into());
        self.files.iter().map(|(name, path)| (path.clone(), age(name))).collect()
    }

    fn take(
        &mut self,
        arrival: Arrival,
        plan: &Plan,
        (folder, bases): (&Path, &Bases<'_>),
        heard: &mut dyn Arrivals,
    ) -> anyhow::Result<()> {
        let Arrival { node, commit, update } = arrival;
        let path = folder.join(format!("{node}.safetensors"));
        let (mut work, mut sent, mut age) = (None, None, 0);
        let refused = match update {
            Err(reason) => Some(reason),
            Ok((commit, bytes)) => {
                (work, sent) = (Some(commit.work), Some((commit.blob.bytes, commit.encoding)));
                match whole(&node, bytes, &commit, bases) {
                    Err(error) => Some(format!("{error:#}")),
                    Ok(file) => match fits(&file, &commit, plan, bases) {
                        Err(error) => Some(format!("{error:#}")),
                        Ok(found) => {
                            write(&file, &path)?;
                            age = found;
                            if commit.base != plan.base.hash {
                                self.older.insert(commit.base);
                            }
                            None
                        }
                    },
                }
            }
        };
        let refused = refused.map(|reason| short(&reason));
        let verdict = Verdict { node: node.clone(), commit, refused, work, sent, age };
        heard.arrived(&verdict);
        if verdict.refused.is_none() {
            self.files.insert(node.clone(), path);
        }
        self.verdicts.insert(node, verdict);
        Ok(())
    }
}

/// Writes an update to a temporary file, which need not outlive a power cut as a model does.
fn write(file: &WeightFile, path: &Path) -> anyhow::Result<()> {
    match file.bytes_in_memory() {
        Some(bytes) => fs::write(path, bytes).with_context(|| format!("{}", path.display())),
        None => Ok(file.copy_to(path)?),
    }
}

/// The update in what a node sent.
fn whole(
    node: &NodeId,
    bytes: Vec<u8>,
    commit: &Commit,
    bases: &Bases<'_>,
) -> anyhow::Result<WeightFile> {
    let file = WeightFile::of_bytes(format!("update of {node}"), bytes)?;
    match commit.encoding {
        Encoding::Whole => Ok(file),
        Encoding::Bf16 | Encoding::Int8 => Ok(bases.differences(commit.base)?.decode(&file)?),
    }
}

/// How many rounds before this one an update started. Fails if it does not say of itself what its node has signed; all
/// else, names, shapes and values, is looked at when it is merged.
fn fits(file: &WeightFile, commit: &Commit, plan: &Plan, bases: &Bases<'_>) -> anyhow::Result<u32> {
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
    // Nobody takes out another's update by naming its nodes.
    let below = |name: &String| name.strip_prefix(node).is_some_and(|rest| rest.starts_with('/'));
    if let Some(other) = provenance.merged.iter().find(|name| !below(name)) {
        bail!("it names {other:?}, which is no node below {node}");
    }
    let base = provenance.base.as_deref().unwrap_or_default();
    ensure!(
        base == commit.base.to_string(),
        "it says that it started from {base:?}, its node has signed {}",
        commit.base
    );
    ensure!(
        provenance.examples == commit.work.examples,
        "it says that it was trained on {} windows, its node has signed {}",
        provenance.examples,
        commit.work.examples
    );
    match plan.max_age {
        Some(_) => bases.age(provenance.round.saturating_add(1), commit.base),
        None => Ok(0),
    }
}
