//! A whole federation in one process: the same files and the same functions as on real machines.

use std::path::{Path, PathBuf};
use std::time::Instant;

use aggregate::atomic_write;
use anyhow::Context;
use attn_core::Precision;
use rayon::prelude::*;
use serde::Serialize;

use super::attack::Attack;
use super::file_names::file_names;
use super::merge::{Merge, Refused, forget_server_state, merge};
use super::run_folder::remove;
use crate::checkpoint::{CappedNote, Checkpoint};
use crate::data::{Dataset, Node, train_segments};
use crate::evaluate::evaluate_each;
use crate::interrupt::Stop;
use crate::metrics::Metrics;
use crate::training::{Epoch, Progress, TrainOptions, TrainReport, train, variate_path};

/// One federated run over given nodes.
#[derive(Debug, Clone, Copy)]
pub struct Arm<'a> {
    /// The data of all nodes.
    pub dataset: &'a Dataset,
    /// The nodes that train.
    pub nodes: &'a [Node],
    /// What the global model is tested on after each round.
    pub test: &'a [usize],
    /// Folder of the weight files: `global.safetensors`, `nodes/`, `rounds/`. Those of
    /// [`arm_files`] are replaced; a [`RunFolder`](super::RunFolder) says first whether they may be.
    pub folder: &'a Path,
    /// Threads to use; the bits do not depend on it.
    pub threads: usize,
    /// When to stop early, after a whole round.
    pub stop: Stop,
    /// Nodes that do harm.
    pub attackers: Option<Attackers<'a>>,
}

/// Some nodes of an arm that do harm.
#[derive(Debug, Clone, Copy)]
pub struct Attackers<'a> {
    /// What they do.
    pub attack: Attack,
    /// How many of the nodes, from the last one on backwards.
    pub n: usize,
    /// What they train on, if not on their rows as they are.
    pub dataset: Option<&'a Dataset>,
}

/// One round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Round {
    /// Its number, from 1.
    pub round: u32,
    /// Mean training loss of the nodes, weighted by their examples.
    pub train_loss: f64,
    /// Updates that were left out.
    pub rejected: Vec<Refused>,
    /// Updates that claimed more weight than is believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capped: Vec<CappedNote>,
    /// Metrics of the merged model on the test rows.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Seconds it took.
    pub wall_s: f64,
}

/// What a federated run gave.
#[derive(Debug, Clone)]
pub struct ArmReport {
    /// Every round.
    pub rounds: Vec<Round>,
    /// The last global model.
    pub model: Checkpoint,
}

/// Hears how a federated run goes; called from many threads.
pub trait RoundProgress: Sync {
    /// After each step of a node.
    fn step(&self);
    /// After each round.
    fn round(&self, round: &Round);
}

/// Steps of a node, told to the whole run's progress.
struct NodeProgress<'a>(&'a dyn RoundProgress);

impl Progress for NodeProgress<'_> {
    fn begin(&mut self, _: u64, _: u64) {}
    fn step(&mut self) {
        self.0.step();
    }
    fn epoch(&mut self, _: &Epoch) {}
}

/// All that a run over these nodes may write, relative to its folder.
pub fn arm_files(nodes: &[Node], rounds: u32) -> Vec<String> {
    let global = ["global.safetensors", "global.safetensors.server"].map(str::to_owned);
    let updates = node_files(nodes).into_iter().flat_map(|name| {
        let path = format!("nodes/{name}");
        [format!("{path}.variate"), path]
    });
    global.into_iter().chain(updates).chain((1..=rounds).map(round_file)).collect()
}

/// The names of the nodes' updates.
fn node_files(nodes: &[Node]) -> Vec<String> {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    file_names(&names).into_iter().map(|name| format!("{name}.safetensors")).collect()
}

fn round_file(number: u32) -> String {
    format!("rounds/round-{number:03}.safetensors")
}

/// Runs all rounds of a federation from a fresh model.
///
/// # Errors
/// If a node cannot train, or a file cannot be written.
pub fn simulate_arm(
    start: &Checkpoint,
    arm: Arm<'_>,
    progress: &dyn RoundProgress,
) -> anyhow::Result<ArmReport> {
    let federation = start.meta.run.federation();
    let nodes_dir = arm.folder.join("nodes");
    for folder in [&nodes_dir, &arm.folder.join("rounds")] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot make the folder", folder.display()))?;
    }
    let paths: Vec<PathBuf> =
        node_files(arm.nodes).into_iter().map(|name| nodes_dir.join(name)).collect();
    // What an earlier run remembers of its nodes is none of this one's.
    for path in &paths {
        remove(path)?;
        remove(&variate_path(path))?;
    }
    for number in 1..=federation.rounds {
        remove(&arm.folder.join(round_file(number)))?;
    }
    let global = arm.folder.join("global.safetensors");
    start.write(&global)?;
    forget_server_state(&global)?;
    let mut rounds = Vec::new();
    let mut model = start.clone();
    for number in 1..=federation.rounds {
        if arm.stop.now().is_some() {
            break;
        }
        let began = Instant::now();
        let (base, hash) = Checkpoint::read_base(&global)?;
        let train_node = |(node, path): (&Node, &PathBuf)| -> anyhow::Result<TrainReport> {
            train_node(&base, &hash, node, path, arm, progress)
                .with_context(|| format!("node {}", node.name))
        };
        // Nodes side by side, or where there are few of them, threads inside each.
        let reports: Vec<TrainReport> = if arm.nodes.len() >= arm.threads {
            arm.nodes.par_iter().zip(&paths).map(train_node).collect::<anyhow::Result<_>>()?
        } else {
            arm.nodes.iter().zip(&paths).map(train_node).collect::<anyhow::Result<_>>()?
        };
        if let Some(attackers) = arm.attackers {
            forge(&base, &paths, attackers, number)?;
        }
        let merged = merge(&paths, &Merge::new(federation.rules.clone(), Some(&global), &global))?;
        model = Checkpoint::read(&global)?;
        // Byte for byte, so that a late update still finds the model it started from.
        let bytes = std::fs::read(&global).with_context(|| format!("{}", global.display()))?;
        atomic_write(arm.folder.join(round_file(number)), &bytes)?;
        let metrics = evaluate_arm(&model, &paths, arm)?;
        let round = Round {
            round: number,
            train_loss: mean_loss(&reports),
            rejected: merged.refused,
            capped: merged.note.capped,
            metrics,
            wall_s: began.elapsed().as_secs_f64(),
        };
        progress.round(&round);
        rounds.push(round);
    }
    Ok(ArmReport { rounds, model })
}

/// How good a round's model is. Where parameters stay on their nodes, each node's test rows are
/// answered by the global model with the node's own parameters.
fn evaluate_arm(model: &Checkpoint, paths: &[PathBuf], arm: Arm<'_>) -> anyhow::Result<Metrics> {
    let patterns = &model.meta.run.federation().rules.keep_local;
    let mut parts = Vec::new();
    if !patterns.is_empty() {
        for (node, path) in arm.nodes.iter().zip(paths) {
            let segments: Vec<usize> =
                node.segments.iter().copied().filter(|i| arm.test.contains(i)).collect();
            if !path.exists() || segments.is_empty() {
                continue;
            }
            let mut own = model.clone();
            own.take_local(patterns, &Checkpoint::read(path)?)?;
            parts.push((own, segments));
        }
    }
    if parts.is_empty() {
        parts.push((model.clone(), arm.test.to_vec()));
    }
    let parts: Vec<(&Checkpoint, &[usize])> =
        parts.iter().map(|(model, segments)| (model, segments.as_slice())).collect();
    evaluate_each(&parts, arm.dataset, Precision::F32, arm.threads)
}

/// Replaces the updates of attackers by what they send instead.
fn forge(
    base: &Checkpoint,
    updates: &[PathBuf],
    attackers: Attackers<'_>,
    round: u32,
) -> anyhow::Result<()> {
    let read = |path: &PathBuf| Checkpoint::read(path);
    let all = updates.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let (honest, harmful) = all.split_at(all.len() - attackers.n);
    let params: Vec<&[f32]> = honest.iter().map(|c| c.params.as_slice()).collect();
    // Each claims to be another one of the honest nodes, as far as there are enough.
    let names = honest.iter().map(|c| &c.meta.provenance).cycle();
    for (number, (own, honest)) in harmful.iter().zip(names).enumerate() {
        let seed = (u64::from(round) << 32) | number as u64;
        let mut sent = own.clone();
        sent.params = attackers.attack.forge(&base.params, &own.params, &params, seed);
        attackers.attack.claim(&mut sent.meta.provenance, honest);
        sent.write(&updates[params.len() + number])?;
    }
    Ok(())
}

/// Trains one node from the global model and writes its update.
fn train_node(
    base: &Checkpoint,
    hash: &str,
    node: &Node,
    path: &Path,
    arm: Arm<'_>,
    progress: &dyn RoundProgress,
) -> anyhow::Result<TrainReport> {
    let first_honest = arm.nodes.len() - arm.attackers.map_or(0, |attackers| attackers.n);
    let harms = arm.nodes[first_honest..].iter().any(|other| other.name == node.name);
    let own = arm.attackers.filter(|_| harms).and_then(|attackers| attackers.dataset);
    let dataset = own.unwrap_or(arm.dataset);
    let segments = train_segments(dataset, &node.segments)?;
    let variate = variate_path(path);
    let mut base = base.clone();
    let patterns = base.meta.run.federation().rules.keep_local.clone();
    if !patterns.is_empty() && path.exists() {
        base.take_local(&patterns, &Checkpoint::read(path)?)?;
    }
    let options = TrainOptions {
        node: &node.name,
        base: Some(hash),
        threads: if arm.nodes.len() >= arm.threads { 1 } else { arm.threads },
        stop: Stop::never(),
        state: None,
        resume: false,
        variate: Some(&variate),
        rounds: base.meta.run.federation().rounds,
    };
    let (update, report) = train(base, dataset, &segments, options, &mut NodeProgress(progress))?;
    update.write(path)?;
    Ok(report)
}

fn mean_loss(reports: &[TrainReport]) -> f64 {
    let examples: usize = reports.iter().map(|r| r.examples).sum();
    let sum: f64 = reports.iter().map(|r| r.loss.unwrap_or(0.0) * r.examples as f64).sum();
    sum / examples.max(1) as f64
}
