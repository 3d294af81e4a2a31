//! Nodes: wait for a plan, check it, train, send, and take the merged model if it is no worse.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aggregate::{Differences, Precision, RESIDUAL, Residual, WeightFile, atomic_write};
use anyhow::Context;
use rayon::prelude::*;
use rounds::{Board, Checked, Encoding, Memory, NodeId, Outcome, Plan, Seat, Work};
use serde::Serialize;

use super::clock::{now_ms, pause};
use super::sound::{check_answers, is_stopped};
use crate::checkpoint::{Checkpoint, Meta, NodeValues, Provenance};
use crate::data::{Dataset, train_segments};
use crate::evaluate::Answers;
use crate::interrupt::{Reason, Stop};
use crate::job::Epochs;
use crate::models::{Denied, Deployed, Models};
use crate::training::{
    Epoch, NodeWindows, Progress, TrainOptions, TrainReport, Variate, train, variate_path,
};

/// Most bytes of a model that a node takes.
const MOST_MODEL: u64 = 4 << 30;

/// Files of a node beside its models.
const MEMORY: &str = "memory.json";
const UPDATE: &str = "update.safetensors";
const FRESH: &str = "update-new.safetensors";

/// A node in this process.
#[derive(Debug)]
pub struct Member {
    /// Its name and key.
    pub seat: Seat,
    /// Its models.
    pub models: Models,
    /// Its rows, of the data of all nodes here.
    pub segments: Vec<usize>,
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
    let mut asked = 0;
    let mut doubt = Doubt { progress, told: BTreeSet::new() };
    // A result whose model the nodes have not looked at yet.
    let mut pending: Option<Outcome> = None;
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
        if report.round >= rounds && pending.is_none() {
            return Ok(());
        }
        let number = report.round + 1;
        if asked < number
            && number <= rounds
            && let Some(plan) = doubt.or_none(board.plan(number))?
            && let Some(base) =
                doubt.or_none(Base::fetch(board, &plan.body, work.path()).map(Some))?
        {
            asked = number;
            progress.asked(&plan.body);
            let dataset = match &data {
                Some(dataset) => dataset,
                None => data.insert(read(&base.model, members)?),
            };
            let turn = Turn { board, plan: &plan, base: &base, dataset, options, progress };
            let sent = turn.take(members)?;
            report.sent += sent.iter().filter(|&&sent| sent).count();
            report.stayed_away += sent.iter().filter(|&&sent| !sent).count();
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
    let Some(plan) = board.plan(provenance.round + 1)? else { return Ok(()) };
    if member.seat.committed(board, &plan.body)?.is_some() {
        keep(&member.models, &plan.body.base.hash.to_string())?;
    }
    Ok(())
}

/// What is not believed in a store is as good as not there: a node says so once, and waits on.
struct Doubt<'a> {
    progress: &'a dyn NodeProgress,
    told: BTreeSet<String>,
}

impl Doubt<'_> {
    fn or_none<T, E: Into<anyhow::Error>>(
        &mut self,
        found: Result<Option<T>, E>,
    ) -> anyhow::Result<Option<T>> {
        let error = match found {
            Ok(found) => return Ok(found),
            Err(error) => error.into(),
        };
        if !is_doubtful(&error) {
            return Err(error);
        }
        let problem = format!("{error:#}");
        if self.told.insert(problem.clone()) {
            self.progress.distrusts(&problem);
        }
        Ok(None)
    }
}

/// Whether somebody has changed, removed or put something in the store.
fn is_doubtful(error: &anyhow::Error) -> bool {
    use rounds::Error::{Missing, Refused};
    let mut causes = error.chain().map(<dyn std::error::Error>::downcast_ref);
    causes.any(|cause| matches!(cause, Some(Refused { .. } | Missing { .. })))
}

/// The model that a round starts from.
struct Base {
    model: Checkpoint,
    /// As the center published it.
    file: WeightFile,
    hash: String,
}

impl Base {
    fn fetch(board: &Board<'_>, plan: &Plan, work: &Path) -> anyhow::Result<Self> {
        let bytes = board.blob(&plan.base, MOST_MODEL)?;
        let (mut model, hash) = read_model(&bytes, work)?;
        let file = WeightFile::of_bytes("the center's model", bytes.to_vec())?;
        // Each node takes a copy, and the list of all nodes is long. After a model that was refused the base is the
        // same again; the round is another one, or the same would be learned and refused for ever.
        let round = plan.round - 1;
        model.meta.set_provenance(Provenance { round, ..Provenance::default() });
        let run = model.meta.run.with(|job| {
            job.train.epochs = Epochs::Fixed(job.train.epochs.in_a_round());
        })?;
        Ok(Self { model: model.with_run(run)?, file, hash })
    }
}

/// A model of the store, by way of a file, as weights are read from.
fn read_model(bytes: &[u8], work: &Path) -> anyhow::Result<(Checkpoint, String)> {
    let path = work.join("model.safetensors");
    fs::write(&path, bytes).with_context(|| format!("{}", path.display()))?;
    Checkpoint::read_base(&path).context("the center's model")
}

/// One round of the nodes of this process.
struct Turn<'a> {
    board: &'a Board<'a>,
    plan: &'a Checked<Plan>,
    base: &'a Base,
    dataset: &'a Dataset,
    options: NodeOptions<'a>,
    progress: &'a dyn NodeProgress,
}

impl Turn<'_> {
    /// Lets each node train and send; whether it did.
    fn take(&self, members: &mut [Member]) -> anyhow::Result<Vec<bool>> {
        let n = members.len();
        let threads = if n >= self.options.threads { 1 } else { self.options.threads };
        let one = |member: &mut Member| {
            let sent = match self.member(member, threads) {
                // Somebody wrote in its place: it is out of this round, not of the next.
                Err(error) if is_doubtful(&error) => {
                    let (node, problem) = (&member.seat.node, format!("{error:#}"));
                    self.progress.stays_away(node, self.plan.body.round, &problem);
                    Ok(false)
                }
                sent => sent,
            };
            sent.with_context(|| format!("node {}", member.seat.node))
        };
        // Nodes side by side, or where there are few of them, threads inside each.
        if threads == 1 {
            members.par_iter_mut().map(one).collect()
        } else {
            members.iter_mut().map(one).collect()
        }
    }

    fn member(&self, member: &mut Member, threads: usize) -> anyhow::Result<bool> {
        let (round, node) = (self.plan.body.round, &member.seat.node);
        if let Err(error) = self.check(member) {
            // One that is not asked, or does not trust the plan, waits for the next.
            self.progress.stays_away(node, round, &error.to_string());
            return Ok(false);
        }
        if member.seat.committed(self.board, &self.plan.body)?.is_some() {
            keep(&member.models, &self.base.hash)?;
            return Ok(true);
        }
        let began = Instant::now();
        let Some((update, report)) = self.train(member, threads)? else { return Ok(false) };
        if report.steps == 0 {
            let problem = "not one step was done before the deadline; give nodes more time (center --deadline)";
            self.progress.stays_away(node, round, problem);
            return Ok(false);
        }
        let work = Work {
            examples: report.examples as u64,
            steps: report.steps,
            partial: report.stopped.is_some(),
            seconds: began.elapsed().as_secs_f64(),
        };
        let (bytes, encoding) = self.encoded(&member.models, &update)?;
        let sent = (bytes.as_slice(), encoding, work);
        member.seat.send(self.board, &self.plan.body, sent, now_ms())?;
        keep(&member.models, &self.base.hash)?;
        self.progress.sent(node, round, work);
        Ok(true)
    }

    /// Whether a node trusts the plan and is asked by it; from then on it goes back to no earlier one.
    fn check(&self, member: &Member) -> anyhow::Result<()> {
        let file = member.models.path(MEMORY);
        let before = Memory::read(&file)?;
        let after = Memory::accept(before.as_ref(), self.board, self.plan, &file)?;
        // Also who is not asked remembers what it has seen.
        if before.as_ref() != Some(&after) {
            atomic_write(&file, after.to_json().as_bytes())?;
        }
        let roster = self.board.roster(&self.plan.body)?;
        Ok(member.seat.check_plan(&self.plan.body, &roster, (self.options.fewest, now_ms()))?)
    }

    /// Trains from the base; where the update is, or nothing if a signal came.
    fn train(
        &self,
        member: &Member,
        threads: usize,
    ) -> anyhow::Result<Option<(PathBuf, TrainReport)>> {
        let segments = train_segments(self.dataset, &member.segments)?;
        let mut start = self.base.model.clone();
        let patterns = start.meta.run.federation().rules.keep_local.clone();
        let last = member.models.path(UPDATE);
        if !patterns.is_empty() && last.exists() {
            start.take_local(&patterns, &Checkpoint::read(&last)?)?;
        }
        NodeValues::of_rows(
            &mut start.meta.preprocess,
            self.dataset,
            &segments,
            self.options.data,
        )?;
        let rounds = start.meta.run.federation().rounds;
        let variate = variate_path(&last);
        let stop = self.stop();
        let train_options = TrainOptions {
            node: member.seat.node.as_str(),
            base: Some(&self.base.hash),
            threads,
            stop,
            state: None,
            resume: false,
            variate: Some(Variate::File(&variate)),
            rounds,
        };
        let mut pace = Pace { slow: self.options.slow, last: Instant::now(), stop };
        let (update, report) = train(start, self.dataset, &segments, train_options, &mut pace)?;
        if matches!(report.stopped, Some(Reason::Signal(_))) {
            return Ok(None);
        }
        let path = member.models.path(FRESH);
        update.write(&path)?;
        Ok(Some((path, report)))
    }

    /// What is sent of an update, as the plan asks for it. What a difference leaves over waits beside the update.
    fn encoded(&self, models: &Models, update: &Path) -> anyhow::Result<(Vec<u8>, Encoding)> {
        let whole = || fs::read(update).with_context(|| format!("{}", update.display()));
        let (asked, precision) = match self.plan.body.encoding {
            Encoding::Whole => return Ok((whole()?, Encoding::Whole)),
            asked @ Encoding::Bf16 => (asked, Precision::Bf16),
            asked @ Encoding::Int8 => (asked, Precision::Int8),
        };
        let residual = Residual::open(&RESIDUAL.path(&models.path(UPDATE)))?;
        let differences = Differences::of_base(self.base.file.clone())?;
        match differences.encode(&WeightFile::open(update)?, &residual, precision) {
            Ok((bytes, left)) => {
                left.write(&RESIDUAL.path(update))?;
                Ok((bytes, asked))
            }
            Err(aggregate::Error::NoDifference { .. }) => Ok((whole()?, Encoding::Whole)),
            Err(error) => Err(error.into()),
        }
    }

    /// The time that is left until the deadline, less what sending takes. One who comes later has all time: the
    /// round is still open.
    fn stop(&self) -> Stop {
        let left =
            Duration::from_millis(self.plan.body.deadline.saturating_sub(now_ms())).mul_f64(0.9);
        Stop::new((!left.is_zero()).then_some(left))
    }
}

/// Once an update of this round is known to be in the store, it is the node's last, and so is what it left over.
fn keep(models: &Models, base: &str) -> anyhow::Result<()> {
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

/// Makes steps as slow as those of a slower device.
struct Pace {
    slow: f64,
    last: Instant,
    stop: Stop,
}

impl Progress for Pace {
    fn begin(&mut self, _: u64, _: u64) {
        self.last = Instant::now();
    }

    fn step(&mut self) {
        if self.slow > 1.0 {
            let seconds = self.last.elapsed().as_secs_f64() * (self.slow - 1.0);
            pause(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX), self.stop);
            self.last = Instant::now();
        }
    }

    fn epoch(&mut self, _: &Epoch) {}
}

/// Reads the data as a model says, and gives each node its rows.
pub type Reader<'a> = &'a dyn Fn(&Checkpoint, &mut [Member]) -> anyhow::Result<Dataset>;

/// Gives the model of a round to each node that finds it no worse than its own.
struct Deploy<'a> {
    board: &'a Board<'a>,
    outcome: &'a Outcome,
    options: NodeOptions<'a>,
    progress: &'a dyn NodeProgress,
    work: &'a Path,
}

impl Deploy<'_> {
    fn run(
        &self,
        members: &mut [Member],
        data: &mut Option<Dataset>,
        read: Reader<'_>,
    ) -> anyhow::Result<()> {
        let hash = self.outcome.model.hash.to_string();
        if !members.iter().any(|member| member.models.takes(&hash)) {
            return Ok(());
        }
        let bytes = self.board.blob(&self.outcome.model, MOST_MODEL)?;
        let (model, _) = read_model(&bytes, self.work)?;
        let dataset = match data {
            Some(dataset) => dataset,
            None => data.insert(read(&model, members)?),
        };
        for member in members.iter_mut().filter(|member| member.models.takes(&hash)) {
            self.member(member, (&model, &bytes), dataset)?;
        }
        Ok(())
    }

    fn member(
        &self,
        member: &mut Member,
        (model, bytes): (&Checkpoint, &[u8]),
        dataset: &Dataset,
    ) -> anyhow::Result<()> {
        let round = self.outcome.round;
        let file = member.models.path(MEMORY);
        if let Some(memory) = Memory::read(&file)? {
            memory.check_outcome(self.board, round, &file)?;
        }
        let live = member.models.deployment().live.clone();
        if live.as_ref().is_some_and(|live| live.round > round) {
            let problem = format!(
                "the store was taken back to round {round}: {} has a model of a later one",
                member.seat.node
            );
            self.progress.distrusts(&problem);
            return Ok(());
        }
        let live = live.map(|live| Checkpoint::read(&member.models.file(&live))).transpose()?;
        let own = |model: &Checkpoint| accuracy(model, member, dataset, self.options);
        let found = check_answers(model).and_then(|()| own(model));
        let worse = match (&found, &live) {
            (Err(error), _) => Some(format!("{error:#}")),
            (Ok(_), Some(live)) if !is_alike(model, live) => {
                // It could hold nothing out, and so pass any gate.
                Some("other classes, channels or validation than the live model has".to_owned())
            }
            (Ok(Some(found)), Some(live)) => {
                let (before, max) = (own(live)?, self.options.max_drop);
                before.zip(max).filter(|&(before, max)| drops(before, *found, max)).map(|(before, max)| format!(
                    "accuracy {found:.4} on what this node holds out, {before:.4} before: more than {max:.4} worse (--max-drop)"
                ))
            }
            _ => None,
        };
        let found = found.unwrap_or_default();
        let hash = self.outcome.model.hash.to_string();
        match worse.clone() {
            Some(reason) => member.models.refuse(Denied { hash, round, reason })?,
            None => member.models.install(bytes, Deployed { hash, round, accuracy: found })?,
        }
        self.progress.deployed(&member.seat.node, round, worse.as_deref());
        Ok(())
    }
}

/// Whether two models are of one job, as far as a node's own rows are concerned.
fn is_alike(model: &Checkpoint, live: &Checkpoint) -> bool {
    let of = |model: &Checkpoint| model.meta.run.train().validation;
    of(model) == of(live)
        && model.meta.classes == live.meta.classes
        && model.meta.channels == live.meta.channels
}

/// Whether an accuracy is worse than before by more than is allowed, also where it is not a number.
fn drops(before: f64, found: f64, max: f64) -> bool {
    let within = before - found <= max;
    !within
}

/// The share of right answers on what a node holds out of its training rows; none if its job holds out none.
fn accuracy(
    model: &Checkpoint,
    member: &Member,
    dataset: &Dataset,
    options: NodeOptions<'_>,
) -> anyhow::Result<Option<f64>> {
    if model.meta.run.train().validation.is_none() {
        return Ok(None);
    }
    let segments = train_segments(dataset, &member.segments)?;
    let mut own = model.clone();
    NodeValues::of_rows(&mut own.meta.preprocess, dataset, &segments, options.data)?;
    own.meta.temperature = None;
    let windows = NodeWindows::of(&own, &own.meta.preprocess, dataset, &segments)?;
    let Some(held_out) = windows.held_out else { return Ok(None) };
    let mut answers = Answers::default();
    answers.take(&own, &held_out, attn_core::Precision::F32, options.threads);
    Ok(Some(answers.metrics(&own.meta.classes)?.accuracy))
}
