//! A node of a process: who it is, its files, how it works and who hears of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aggregate::{RESIDUAL, WeightFile};
use anyhow::Context;
use rounds::{NodeId, Outcome, Plan, Seat, Work};

use crate::checkpoint::{Checkpoint, Meta};
use crate::data::Dataset;
use crate::interrupt::Stop;
use crate::models::Models;

/// Most bytes of a model that a node takes.
pub(super) const MOST_MODEL: u64 = 4 << 30;

/// Files of a node beside its models.
pub(super) const UPDATE: &str = "update.safetensors";
pub(super) const FRESH: &str = "update-new.safetensors";

/// A node in this process.
#[derive(Debug)]
pub struct Member {
    /// Its name and key.
    pub seat: Seat,
    /// Its models.
    pub models: Models,
    /// Its rows, of the data of all nodes here.
    pub segments: Vec<usize>,
    /// Windows a second that it was seen to train on, and how many it has.
    pub speed: Option<(f64, usize)>,
}

/// How nodes work.
#[derive(Debug, Clone, Copy)]
pub struct NodeOptions<'a> {
    /// Where the data is.
    pub data: &'a [PathBuf],
    /// Among how many nodes they send at all.
    pub fewest: u32,
    /// How much accuracy a model may lose on what a node holds out.
    pub max_drop: Option<f64>,
    /// How often the store is asked.
    pub poll: Duration,
    /// Threads to use; the bits do not depend on it.
    pub threads: usize,
    /// To try out unequal devices: every step takes so many times as long.
    pub slow: f64,
    /// When to stop early.
    pub stop: Stop,
}

/// Hears how it goes; called from many threads.
pub trait NodeProgress: Sync {
    /// A plan was seen.
    fn asked(&self, plan: &Plan);
    /// Something in the store is not what it should be, and is not believed.
    fn distrusts(&self, problem: &str);
    /// A node does not take part in a round, and why.
    fn stays_away(&self, node: &NodeId, round: u32, problem: &str);
    /// A node sent its update.
    fn sent(&self, node: &NodeId, round: u32, work: Work);
    /// A round was closed.
    fn closed(&self, outcome: &Outcome);
    /// A node took a model, or did not, and why.
    fn deployed(&self, node: &NodeId, round: u32, refused: Option<&str>);
}

/// Reads the data as a model says, and gives each node its rows.
pub type Reader<'a> = &'a dyn Fn(&Checkpoint, &mut [Member]) -> anyhow::Result<Dataset>;

/// Once an update of this round is known to be in the store, it is the node's last, and so is what it left over.
pub(super) fn keep(models: &Models, base: &str) -> anyhow::Result<()> {
    let [fresh, last] = [FRESH, UPDATE].map(|name| models.path(name));
    if !fresh.exists() {
        return Ok(());
    }
    let own = Meta::read(&WeightFile::open(&fresh)?)?.provenance.base;
    if own.as_deref() != Some(base) {
        return Ok(());
    }
    let rename =
        |from: &Path, to: &Path| fs::rename(from, to).with_context(|| format!("{}", to.display()));
    // The update goes last: what a killed process left undone is done when it is started again.
    let left = RESIDUAL.path(&fresh);
    if left.exists() {
        rename(&left, &RESIDUAL.path(&last))?;
    }
    rename(&fresh, &last)
}

/// A model of the store, by way of a file, as weights are read from.
pub(super) fn read_model(bytes: &[u8], work: &Path) -> anyhow::Result<(Checkpoint, String)> {
    let path = work.join("model.safetensors");
    fs::write(&path, bytes).with_context(|| format!("{}", path.display()))?;
    Checkpoint::read_base(&path).context("the center's model")
}
