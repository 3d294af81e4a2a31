//! What flags put in place of what a job or a checkpoint says: the last step before the check.

use std::path::Path;

use anyhow::Context;

use crate::cli::{InitArgs, SimulateArgs, TrainArgs};
use crate::data::Dataset;
use crate::job::Job;
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

impl Overrides for InitArgs {
    fn apply(&self, job: &mut Job) {
        put(&mut job.train.seed, self.seed.as_ref());
    }
}

impl Overrides for TrainArgs {
    fn apply(&self, job: &mut Job) {
        let train = &mut job.train;
        put(&mut train.epochs, self.epochs.as_ref());
        put(&mut train.batch, self.batch.as_ref());
        put(&mut train.lr, self.lr.as_ref());
        put(&mut train.trainable, self.trainable.as_ref());
        put(&mut train.seed, self.seed.as_ref());
        // Options in the job are those of the optimizer it names.
        let named = self.optimizer.filter(|o| o.name() != train.optimizer.name());
        put(&mut train.optimizer, named.as_ref());
    }
}

impl Overrides for SimulateArgs {
    fn apply(&self, job: &mut Job) {
        put(&mut job.train.seed, self.seed.as_ref());
        put(&mut job.train.epochs, self.epochs.as_ref());
        put(&mut job.federation.rounds, self.rounds.as_ref());
        put(&mut job.federation.holdout, self.holdout.as_ref());
        let rules = &mut job.federation.rules;
        put(&mut rules.reduce, self.reduce.as_ref());
        put(&mut rules.server, self.server.as_ref());
        put(&mut rules.max_deviation, self.max_deviation.as_ref());
        rules.bucket = self.bucket.or(rules.bucket);
    }
}

/// The job of a file with all overrides made, checked against the data that it is for.
pub(super) fn checked(
    mut job: Job,
    path: &Path,
    flags: &impl Overrides,
    dataset: &Dataset,
) -> anyhow::Result<Run> {
    flags.apply(&mut job);
    let schema = Schema { channels: dataset.channels.len(), classes: dataset.classes.len() };
    Run::check(job, Some(schema)).with_context(|| format!("{}", path.display()))
}
