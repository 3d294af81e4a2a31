//! A whole federation in one process, by the same functions as on real machines: the same bytes are
//! merged, though updates are kept in one file without a name.

use std::sync::Mutex;
use std::time::Instant;

use aggregate::{Spool, WeightFile, atomic_write};
use anyhow::Context;
use rayon::prelude::*;
use serde::Serialize;

use super::arm::{Arm, Attackers};
use super::file_names::file_names;
use super::measure::OfNodes;
use super::merge::{Merge, Refused, forget_server_state, merge_open};
use super::run_folder::remove;
use crate::checkpoint::{CappedNote, Checkpoint, Provenance};
use crate::data::{Node, train_segments};
use crate::interrupt::Stop;
use crate::metrics::Metrics;
use crate::training::{Epoch, Progress, TrainOptions, TrainReport, Variate, train};

/// One round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Round {
    /// Its number, from 1.
    pub round: u32,
    /// Mean training loss of the nodes, weighted by their examples.
    pub train_loss: f64,
    /// The same of their first steps.
    pub start_loss: f64,
    /// The smallest learning rate of any node's steps.
    pub lr_min: Option<f32>,
    /// The largest.
    pub lr_max: Option<f32>,
    /// Updates that were left out.
    pub rejected: Vec<Refused>,
    /// Updates that claimed more weight than is believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capped: Vec<CappedNote>,
    /// Metrics of the merged model on what the nodes hold out of their training rows, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val: Option<Metrics>,
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
pub fn arm_files(nodes: &[Node], rounds: u32, keep_updates: bool) -> Vec<String> {
    let global = ["global.safetensors", "global.safetensors.server"].map(str::to_owned);
    let updates = if keep_updates { node_files(nodes) } else { Vec::new() };
    global.into_iter().chain(updates).chain((1..=rounds).map(round_file)).collect()
}

/// The names of the nodes' updates.
fn node_files(nodes: &[Node]) -> Vec<String> {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    file_names(&names).into_iter().map(|name| format!("nodes/{name}.safetensors")).collect()
}

fn round_file(number: u32) -> String {
    format!("rounds/round-{number:03}.safetensors")
}

/// A node of a run, and what is left of its last round.
struct Member<'a> {
    node: &'a Node,
    /// Its place among the nodes.
    place: usize,
    /// The name of its update.
    name: String,
    update: Option<WeightFile>,
    variate: Mutex<Option<WeightFile>>,
    attacks: bool,
    /// What is known of its training in the last round.
    trained: Option<TrainReport>,
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
    let global = arm.folder.join("global.safetensors");
    for file in &arm_files(arm.nodes, federation.rounds, arm.keep_updates) {
        let path = arm.folder.join(file);
        let folder = path.parent().unwrap_or(arm.folder);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot make the folder", folder.display()))?;
        // What an earlier run left is none of this one's; the global model is replaced at once.
        if path != global {
            remove(&path)?;
        }
    }
    start.write(&global)?;
    forget_server_state(&global)?;
    let mut members = members(arm);
    let mut rounds = Vec::new();
    let mut model = start.clone();
    for number in 1..=federation.rounds {
        if arm.stop.now().is_some() {
            break;
        }
        let began = Instant::now();
        let (mut base, hash) = Checkpoint::read_base(&global)?;
        // Each node takes a copy, and the list of all nodes is long.
        let round = base.meta.provenance.round;
        base.meta.set_provenance(Provenance { round, ..Provenance::default() });
        let spool = Spool::create(arm.folder)?;
        let train_member = |member: &mut Member<'_>| -> anyhow::Result<()> {
            train_member(member, (&base, &hash), &spool, arm, progress)
                .with_context(|| format!("node {}", member.node.name))
        };
        // Nodes side by side, or where there are few of them, threads inside each.
        if arm.nodes.len() >= arm.threads {
            members.par_iter_mut().try_for_each(train_member)?;
        } else {
            members.iter_mut().try_for_each(train_member)?;
        }
        if let Some(attackers) = arm.attackers {
            forge(&base, &mut members, attackers, number, &spool)?;
        }
        let updates: Vec<WeightFile> = members.iter().filter_map(|m| m.update.clone()).collect();
        let rules = federation.rules.clone();
        let merged = merge_open(&updates, &Merge::new(rules, Some(&global), &global))?;
        drop(updates);
        model = Checkpoint::read(&global)?;
        // Byte for byte, so that a late update still finds the model it started from.
        let bytes = std::fs::read(&global).with_context(|| format!("{}", global.display()))?;
        atomic_write(arm.folder.join(round_file(number)), &bytes)?;
        let updates: Vec<_> = members.iter().map(|member| member.update.clone()).collect();
        let measured = OfNodes { model: &model, updates: &updates, arm };
        let (metrics, val) = (measured.test()?, measured.held_out()?);
        let rates = |rate: fn(&TrainReport) -> Option<f32>| {
            members.iter().filter_map(|member| member.trained.as_ref()).filter_map(rate)
        };
        let round = Round {
            round: number,
            train_loss: mean_loss(&members, |report| report.loss),
            start_loss: mean_loss(&members, |report| report.start_loss),
            lr_min: rates(|report| report.lr_min).reduce(f32::min),
            lr_max: rates(|report| report.lr_max).reduce(f32::max),
            rejected: merged.refused,
            capped: merged.note.capped,
            val,
            metrics,
            wall_s: began.elapsed().as_secs_f64(),
        };
        progress.round(&round);
        rounds.push(round);
    }
    if arm.keep_updates {
        for (name, update) in members.iter().filter_map(|m| Some((&m.name, m.update.as_ref()?))) {
            update.copy_to(&arm.folder.join(name))?;
        }
    }
    Ok(ArmReport { rounds, model })
}

fn members(arm: Arm<'_>) -> Vec<Member<'_>> {
    let first_attacker = arm.nodes.len() - arm.attackers.map_or(0, |attackers| attackers.n);
    let named = arm.nodes.iter().zip(node_files(arm.nodes)).enumerate();
    let member = |(i, (node, name))| Member {
        node,
        place: i,
        name,
        update: None,
        variate: Mutex::new(None),
        attacks: i >= first_attacker,
        trained: None,
    };
    named.map(member).collect()
}

/// Replaces the updates of attackers by what they send instead.
fn forge(
    base: &Checkpoint,
    members: &mut [Member<'_>],
    attackers: Attackers<'_>,
    round: u32,
    spool: &Spool,
) -> anyhow::Result<()> {
    let all = members.iter().filter_map(|member| member.update.as_ref()).map(Checkpoint::of);
    let all = all.collect::<anyhow::Result<Vec<_>>>()?;
    let (honest, harmful) = all.split_at(all.len() - attackers.n);
    let params: Vec<&[f32]> = honest.iter().map(|c| c.params.as_slice()).collect();
    // Each claims to be another one of the honest nodes, as far as there are enough.
    let names = honest.iter().map(|c| &c.meta.provenance).cycle();
    let members = &mut members[params.len()..];
    for (number, ((own, honest), member)) in harmful.iter().zip(names).zip(members).enumerate() {
        let seed = (u64::from(round) << 32) | number as u64;
        let mut sent = own.clone();
        sent.params = attackers.attack.forge(&base.params, &own.params, &params, seed);
        attackers.attack.claim(&mut sent.meta.provenance, honest);
        member.update = Some(spool.keep(&sent.to_file(&member.name)?)?);
    }
    Ok(())
}

/// Trains one node from the global model and keeps its update.
fn train_member(
    member: &mut Member<'_>,
    (base, hash): (&Checkpoint, &str),
    spool: &Spool,
    arm: Arm<'_>,
    progress: &dyn RoundProgress,
) -> anyhow::Result<()> {
    let own = arm.attackers.filter(|_| member.attacks).and_then(|attackers| attackers.dataset);
    let dataset = own.unwrap_or(arm.dataset);
    let segments = train_segments(dataset, &member.node.segments)?;
    let mut base = arm.give(base.clone(), Some(member.place));
    let federation = base.meta.run.federation();
    let (patterns, rounds) = (federation.rules.keep_local.clone(), federation.rounds);
    if let Some(last) = member.update.as_ref().filter(|_| !patterns.is_empty()) {
        base.take_local(&patterns, &Checkpoint::of(last)?)?;
    }
    let options = TrainOptions {
        node: &member.node.name,
        base: Some(hash),
        threads: if arm.nodes.len() >= arm.threads { 1 } else { arm.threads },
        stop: Stop::never(),
        state: None,
        resume: false,
        variate: Some(Variate::Spool(spool, &member.variate)),
        rounds,
    };
    let (update, report) = train(base, dataset, &segments, options, &mut NodeProgress(progress))?;
    member.update = Some(spool.keep(&update.to_file(&member.name)?)?);
    member.trained = Some(report);
    Ok(())
}

fn mean_loss(members: &[Member<'_>], loss: fn(&TrainReport) -> Option<f64>) -> f64 {
    let reports = || members.iter().filter_map(|member| member.trained.as_ref());
    let examples: usize = reports().map(|report| report.examples).sum();
    let sum: f64 = reports().map(|r| loss(r).unwrap_or(0.0) * r.examples as f64).sum();
    sum / examples.max(1) as f64
}
