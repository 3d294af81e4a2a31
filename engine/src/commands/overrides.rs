//! What flags put in place of what a job or a checkpoint says: the last step before the check.

use std::path::Path;

use anyhow::Context;

#[cfg(feature = "store")]
use crate::cli::CenterArgs;
use crate::cli::{InitArgs, SimulateArgs, TrainArgs};
use crate::job::{Epochs, Job, Kept, ValidationConfig};
use crate::run::{Run, Schema};

/// Flags that override options of a job.
pub(super) trait Overrides {
    /// Puts them in place of what the job says.
    fn apply(&self, job: &mut Job);
}

fn put<T: Clone>(option: &mut T, flag: Option<&T>) {
    if let Some(value) = flag {
        option.clone_from(value);
    }
}

// Each takes its arguments apart, so that a new flag does not compile until it is used or passed over.

impl Overrides for InitArgs {
    fn apply(&self, job: &mut Job) {
        let Self { config: _, data: _, stats: _, out: _, seed } = self;
        put(&mut job.train.seed, seed.as_ref());
    }
}

impl Overrides for TrainArgs {
    fn apply(&self, job: &mut Job) {
        let Self {
            data: _,
            preprocessed: _,
            out: _,
            init: _,
            config: _,
            node: _,
            epochs,
            batch,
            lr,
            optimizer,
            trainable,
            validation,
            cv: _,
            seed,
            time_budget: _,
            resume: _,
            stop_after_steps: _,
        } = self;
        let train = &mut job.train;
        put(&mut train.epochs, epochs.map(Epochs::Fixed).as_ref());
        put(&mut train.batch, batch.as_ref());
        put(&mut train.lr, lr.as_ref());
        put(&mut train.trainable, trainable.as_ref());
        put(&mut train.seed, seed.as_ref());
        train.validation = validation.map(ValidationConfig::share).or(train.validation);
        // Options in the job are those of the optimizer it names.
        let named = optimizer.filter(|o| o.name() != train.optimizer.name());
        put(&mut train.optimizer, named.as_ref());
    }
}

impl Overrides for SimulateArgs {
    fn apply(&self, job: &mut Job) {
        let Self {
            config: _,
            data: _,
            out: _,
            keep_updates: _,
            centralised: _,
            holdout,
            rounds,
            reduce,
            server,
            bucket,
            max_deviation,
            max_weight,
            attack: _,
            attackers: _,
            epochs,
            seed,
            validation,
            cv: _,
        } = self;
        if let Some(fraction) = *validation {
            // To measure, and for nothing else.
            let with = ValidationConfig { keep: Kept::Last, ..ValidationConfig::share(fraction) };
            job.train.validation = Some(with);
        }
        put(&mut job.train.seed, seed.as_ref());
        job.train.epochs = Epochs::Fixed(epochs.unwrap_or(job.train.epochs.in_a_round()));
        put(&mut job.federation.rounds, rounds.as_ref());
        put(&mut job.federation.holdout, holdout.as_ref());
        let rules = &mut job.federation.rules;
        put(&mut rules.reduce, reduce.as_ref());
        put(&mut rules.server, server.as_ref());
        put(&mut rules.max_deviation, max_deviation.as_ref());
        put(&mut rules.max_weight, max_weight.as_ref());
        rules.bucket = bucket.or(rules.bucket);
    }
}

#[cfg(feature = "store")]
impl Overrides for CenterArgs {
    fn apply(&self, job: &mut Job) {
        let Self {
            at: _,
            key: _,
            roster: _,
            parent: _,
            parent_center: _,
            parent_ca: _,
            id: _,
            parent_min_nodes: _,
            init: _,
            config: _,
            data: _,
            rounds,
            quorum: _,
            deadline: _,
            expire: _,
            eval_data: _,
            max_drop: _,
            compress: _,
            poll: _,
            out: _,
        } = self;
        job.train.epochs = Epochs::Fixed(job.train.epochs.in_a_round());
        put(&mut job.federation.rounds, rounds.as_ref());
    }
}

/// The job of a file with all overrides made, checked against what the data has that it is for.
pub(super) fn checked(
    mut job: Job,
    path: &Path,
    flags: &impl Overrides,
    schema: Schema,
) -> anyhow::Result<Run> {
    flags.apply(&mut job);
    Run::check(job, Some(schema)).with_context(|| format!("{}", path.display()))
}
