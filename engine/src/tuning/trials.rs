//! Candidates are trained and measured, side by side, and what is known is not measured again.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use attn_core::{Precision, Predictor};
use rayon::prelude::*;
use serde_json::Value;

use super::candidate::Candidate;
use super::ledger::{Ledger, Scores};
use super::space::Space;
use crate::checkpoint::{Checkpoint, NodeValues};
use crate::data::Dataset;
use crate::interrupt::{Reason, Stop};
use crate::job::{Job, ValidationConfig};
use crate::run::{Run, Schema};
use crate::training::{TrainOptions, train_fold};

/// A part of the training rows that a candidate is trained without and measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub fold: usize,
    /// Of how many.
    pub folds: usize,
    /// What is added to the job's seed.
    pub seed: u64,
}

/// What a model may cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Most parameters.
    pub max_parameters: Option<usize>,
    /// Most microseconds for one window on one thread of this machine, the median of many.
    pub max_latency_us: Option<f64>,
}

impl Limits {
    /// Whether a model keeps within them; its latency is measured now.
    pub fn allow(&self, model: &Checkpoint) -> bool {
        self.max_parameters.is_none_or(|most| model.params.len() <= most)
            && self.max_latency_us.is_none_or(|most| latency_us(model) <= most)
    }
}

/// All there is to train a candidate, and what was found.
#[derive(Debug)]
pub struct Trials<'a> {
    /// The job that is to become better.
    pub job: &'a Job,
    /// How it was written.
    pub written: &'a Value,
    /// What may be changed.
    pub space: &'a Space,
    /// The data.
    pub dataset: &'a Dataset,
    /// Its training rows.
    pub segments: &'a [usize],
    /// Where it is.
    pub data: &'a [PathBuf],
    /// What a model may cost.
    pub limits: Limits,
    /// What was measured.
    pub ledger: Mutex<Ledger>,
}

impl Trials<'_> {
    /// What was measured of a candidate on a part: scores, or why there are none; `None` before.
    pub fn found(&self, candidate: &Candidate, part: Part) -> Option<Result<Scores, String>> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.scores(&self.key(candidate, part)).cloned()
    }

    fn key(&self, candidate: &Candidate, Part { fold, folds, seed }: Part) -> String {
        format!("{} {fold}/{folds} seed {seed}", candidate.key(self.space))
    }

    /// Measures what is not known yet, side by side, until it is told to stop; then says why. `done` hears of each task,
    /// and whether it was trained now.
    ///
    /// # Errors
    /// If what was found cannot be kept.
    pub fn measure(
        &self,
        tasks: &[(&Candidate, Part)],
        stop: Stop,
        done: &(dyn Fn(bool) + Sync),
    ) -> anyhow::Result<Option<Reason>> {
        let unknown: Vec<_> = tasks
            .iter()
            .filter(|(candidate, part)| self.found(candidate, *part).is_none())
            .collect();
        (unknown.len()..tasks.len()).for_each(|_| done(false));
        let stopped = Mutex::new(None);
        let measure = |&&(candidate, part): &&(&Candidate, Part)| -> anyhow::Result<()> {
            let reason = match stop.now() {
                Some(reason) => Some(reason),
                None => self.train(candidate, part, stop)?,
            };
            done(reason.is_none());
            if let Some(reason) = reason {
                *stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
            }
            Ok(())
        };
        // One at a time to each thread: some take much longer than others.
        unknown.par_iter().with_max_len(1).try_for_each(measure)?;
        Ok(stopped.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Trains one candidate without a part of the rows, and keeps how well it answers for it.
    fn train(
        &self,
        candidate: &Candidate,
        part: Part,
        stop: Stop,
    ) -> anyhow::Result<Option<Reason>> {
        let options = TrainOptions {
            node: "tune",
            base: None,
            threads: 1,
            stop,
            state: None,
            resume: false,
            variate: None,
            rounds: 1,
        };
        let validation = ValidationConfig::part(part.fold, part.folds);
        let fold = self
            .start(candidate, part.seed)
            .and_then(|start| train_fold(&start, self.dataset, self.segments, validation, options));
        let found = match fold {
            Ok(fold) => Ok(Scores {
                accuracy: fold.metrics.accuracy,
                loss: fold.metrics.loss,
                least_loss: fold.least_loss,
            }),
            Err(error) => match error.downcast_ref::<Reason>() {
                Some(reason) => return Ok(Some(*reason)),
                None => Err(format!("{error:#}")),
            },
        };
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.keep(self.key(candidate, part), found)?;
        Ok(None)
    }

    /// The fresh model of a candidate.
    fn start(&self, candidate: &Candidate, seed: u64) -> anyhow::Result<Checkpoint> {
        let mut job = candidate.job(self.space, self.written, self.job)?;
        job.train.seed = job.train.seed.wrapping_add(seed);
        let run = Run::check(job, Some(Schema::of(self.dataset)))?;
        let mut start = Checkpoint::fresh(&run, self.dataset, self.segments)?;
        NodeValues::of_rows(&mut start.meta.preprocess, self.dataset, self.segments, self.data)?;
        Ok(start)
    }

    /// Whether a candidate's model keeps within the limits; one that cannot be made does not.
    ///
    /// # Errors
    /// If what was measured cannot be kept.
    pub fn keeps_limits(&self, candidate: &Candidate) -> anyhow::Result<bool> {
        let Limits { max_parameters, max_latency_us } = self.limits;
        if max_parameters.is_none() && max_latency_us.is_none() {
            return Ok(true);
        }
        let Ok(start) = self.start(candidate, 0) else { return Ok(false) };
        let within = Limits { max_latency_us: None, ..self.limits };
        let Some(most) = max_latency_us.filter(|_| within.allow(&start)) else {
            return Ok(within.allow(&start));
        };
        let shape = serde_json::to_string(&start.meta.model).context("the model's sizes")?;
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ledger.latency(shape, || latency_us(&start))? <= most)
    }

    /// Parameters of a candidate's model.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn parameters(&self, candidate: &Candidate) -> anyhow::Result<usize> {
        Ok(self.start(candidate, 0)?.params.len())
    }
}

/// Windows answered before the clock counts, and while it does.
const WARM_UP: usize = 10;
const TIMED: usize = 51;

/// The median time of an answer for the longest window, in microseconds.
fn latency_us(model: &Checkpoint) -> f64 {
    let mut predictor = Predictor::new(&model.encoder, &model.params, Precision::F32, 1);
    let window = vec![0.5; model.meta.model.seq_len * model.meta.model.channels];
    let mut times: Vec<f64> = (0..WARM_UP + TIMED)
        .map(|_| {
            let began = Instant::now();
            let answered = predictor.predict(&window).is_ok();
            if answered { began.elapsed().as_secs_f64() * 1e6 } else { f64::INFINITY }
        })
        .skip(WARM_UP)
        .collect();
    times.sort_by(f64::total_cmp);
    times[TIMED / 2]
}
