//! How to merge: the rules, and what is the matter of one merge alone.

use std::path::PathBuf;

use crate::{Adapters, FloatDtype, Rules, WeightFile};

/// How to merge; the default is `FedAvg` without a base.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// The rules, which stay the same from round to round.
    pub rules: Rules,
    /// The model the nodes started from. With it, updates must have its names, shapes and dtypes,
    /// and those that state another base are rejected.
    pub base: Option<PathBuf>,
    /// Earlier models that updates may have started from, for a [`Reducer`](crate::Reducer) that
    /// takes late ones.
    pub older_bases: Vec<PathBuf>,
    /// Files that are open already, or in memory: one of these is read where its path is that of the
    /// base, of an older one or of the state.
    pub open: Vec<WeightFile>,
    /// Seed of the groups of [`Rules::bucket`], which should be another one in every round.
    pub bucket_seed: u64,
    /// The most bytes of a file of a sharded output, whose name ends in `.safetensors.index.json`;
    /// without it, 5 GB. A tensor is never cut.
    pub shard_bytes: Option<u64>,
    /// The dtype of the result's floats, which updates and base may then hold in any of these dtypes:
    /// what is merged in f64 is rounded once to it. Integers and what can only be carried are as they
    /// were. Without it, floats keep their dtypes, and all must have the same.
    pub dtype: Option<FloatDtype>,
    /// How files that hold low-rank adapters are merged, which takes a word; without such files that
    /// word is an error. [`Adapters::Stack`] goes with the mean that replaces, and with no base.
    pub adapters: Option<Adapters>,
    /// What is remembered since the last round; a missing file is a fresh start. Not read if
    /// [nothing must be](Rules::needs_state).
    pub state_in: Option<PathBuf>,
    /// Where to write what must be remembered, which may be where it was read. Needed if something
    /// must, and not written otherwise.
    pub state_out: Option<PathBuf>,
}
