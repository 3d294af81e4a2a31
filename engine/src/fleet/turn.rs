//! One round of the nodes of a process: check the plan, train, send.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aggregate::{Differences, Precision, RESIDUAL, Residual, WeightFile};
use anyhow::Context;
use rayon::prelude::*;
use rounds::{Board, Checked, Encoding, Plan, Work};

use super::clock::{now_ms, pause};
use super::doubt::is_doubtful;
use super::flight::{Flight, Landing, check};
use super::member::{
    FRESH, MOST_MODEL, Member, NodeOptions, NodeProgress, UPDATE, keep, read_model,
};
use crate::checkpoint::{Checkpoint, NodeValues, Provenance};
use crate::data::{Dataset, train_segments};
use crate::interrupt::{Reason, Stop};
use crate::job::Epochs;
use crate::models::Models;
use crate::training::{Epoch, Progress, TrainOptions, TrainReport, Variate, train, variate_path};

/// The model that a round starts from.
pub(super) struct Base {
    pub(super) model: Checkpoint,
    /// As the center published it.
    file: WeightFile,
    hash: String,
}

impl Base {
    pub(super) fn fetch(board: &Board<'_>, plan: &Plan, work: &Path) -> anyhow::Result<Self> {
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

/// One round of the nodes of this process.
pub(super) struct Turn<'a> {
    pub(super) board: &'a Board<'a>,
    pub(super) plan: &'a Checked<Plan>,
    pub(super) base: &'a Base,
    pub(super) dataset: &'a Dataset,
    pub(super) options: NodeOptions<'a>,
    pub(super) progress: &'a dyn NodeProgress,
}

/// What a node did in a round.
#[derive(Debug)]
pub(super) enum Took {
    /// It does not take part.
    Nothing,
    /// Its update is in its place.
    Part,
    /// Its update is on its way, in asynchronous rounds.
    Flight(Flight),
}

impl Turn<'_> {
    /// Lets each of these nodes train and send.
    pub(super) fn take(&self, members: Vec<&mut Member>) -> anyhow::Result<Vec<Took>> {
        let n = members.len();
        let threads = if n >= self.options.threads { 1 } else { self.options.threads };
        let one = |member: &mut Member| {
            let took = match self.member(member, threads) {
                // Somebody wrote in its place: it is out of this round, not of the next.
                Err(error) if is_doubtful(&error) => {
                    let (node, problem) = (&member.seat.node, format!("{error:#}"));
                    self.progress.stays_away(node, self.plan.body.round, &problem);
                    Ok(Took::Nothing)
                }
                took => took,
            };
            took.with_context(|| format!("node {}", member.seat.node))
        };
        // Nodes side by side, or where there are few of them, threads inside each.
        if threads == 1 {
            members.into_par_iter().map(one).collect()
        } else {
            members.into_iter().map(one).collect()
        }
    }

    fn member(&self, member: &mut Member, threads: usize) -> anyhow::Result<Took> {
        let (round, node) = (self.plan.body.round, &member.seat.node);
        if let Err(error) = check(self.board, self.plan, member, self.options) {
            // One that is not asked, or does not trust the plan, waits for the next.
            self.progress.stays_away(node, round, &error.to_string());
            return Ok(Took::Nothing);
        }
        if member.seat.committed(self.board, &self.plan.body)?.is_some() {
            keep(&member.models, &self.base.hash)?;
            return Ok(Took::Part);
        }
        let began = Instant::now();
        let Some((update, report, all)) = self.train(member, threads)? else {
            return Ok(Took::Nothing);
        };
        if report.steps == 0 {
            let problem = "not one step was done before the deadline; give nodes more time (center --deadline)";
            self.progress.stays_away(node, round, problem);
            return Ok(Took::Nothing);
        }
        let measured = Some(report.samples_per_s).filter(|speed| speed.is_finite() && *speed > 0.0);
        member.speed = measured.map(|speed| (speed, report.examples));
        let work = Work {
            examples: report.examples as u64,
            steps: report.steps,
            partial: report.stopped.is_some() || !all,
            seconds: began.elapsed().as_secs_f64(),
            speed: measured,
        };
        let node = &member.seat.node;
        let (bytes, encoding) = self.encoded(&member.models, &update)?;
        if self.plan.body.max_age.is_some() {
            let base = self.plan.body.base.hash;
            let mut flight =
                Flight { started: round, base, update: bytes, encoding, work, sent: None };
            let how = (self.options, self.progress);
            return Ok(match flight.advance(self.board, (member, round - 1), how)? {
                Landing::Lost => Took::Nothing,
                Landing::Landed => Took::Part,
                Landing::InTheAir => Took::Flight(flight),
            });
        }
        let sent = (bytes.as_slice(), encoding, work);
        member.seat.send(self.board, &self.plan.body, sent, now_ms())?;
        keep(&member.models, &self.base.hash)?;
        self.progress.sent(node, round, work);
        Ok(Took::Part)
    }

    fn asked_epochs(&self) -> u32 {
        self.base.model.meta.run.train().epochs.in_a_round()
    }

    /// As many epochs as a node should manage before the deadline.
    fn epochs(&self, member: &Member) -> u32 {
        // With private training the noise is for the number that was asked for.
        let is_private = self.base.model.meta.run.train().private.is_some();
        let speed = member.speed.filter(|_| !is_private);
        epochs_within(self.left(), speed, self.asked_epochs())
    }

    /// Trains from the base; where the update is and whether all epochs were planned, or nothing if a signal came.
    fn train(
        &self,
        member: &Member,
        threads: usize,
    ) -> anyhow::Result<Option<(PathBuf, TrainReport, bool)>> {
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
        let epochs = self.epochs(member);
        let all = epochs >= self.asked_epochs();
        if !all {
            let run = start.meta.run.with(|job| job.train.epochs = Epochs::Fixed(epochs))?;
            start = start.with_run(run)?;
        }
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
        Ok(Some((path, report, all)))
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
        let left = self.left();
        Stop::new((!left.is_zero()).then_some(left))
    }

    fn left(&self) -> Duration {
        // In asynchronous rounds nobody waits for this node.
        if self.plan.body.max_age.is_some() {
            return Duration::ZERO;
        }
        Duration::from_millis(self.plan.body.deadline.saturating_sub(now_ms())).mul_f64(0.9)
    }
}

/// The whole epochs that fit into a time, by how many windows a second and an epoch has, at least one: to see some windows
/// more often than others teaches less than to see all a bit less often. One who comes too late has all time.
fn epochs_within(left: Duration, speed: Option<(f64, usize)>, asked: u32) -> u32 {
    match speed {
        Some((speed, windows)) if !left.is_zero() => {
            let fit = left.as_secs_f64() * speed / windows.max(1) as f64;
            (fit as u32).clamp(1, asked.max(1))
        }
        _ => asked,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_epochs_are_chosen_that_fit() {
        let within =
            |seconds: f64, speed| epochs_within(Duration::from_secs_f64(seconds), speed, 5);
        assert_eq!(within(1.0, None), 5);
        assert_eq!(within(10.0, Some((100.0, 300))), 3);
        assert_eq!(within(1000.0, Some((100.0, 300))), 5);
        assert_eq!(within(0.1, Some((100.0, 300))), 1);
        assert_eq!(within(0.0, Some((100.0, 300))), 5);
        assert_eq!(within(1.0, Some((f64::INFINITY, 0))), 5);
    }
}
