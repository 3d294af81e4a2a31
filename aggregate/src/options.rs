//! How to merge.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Privacy, Reducer, ServerStep};

/// How to merge; the default is `FedAvg` without a base.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The model the nodes started from. With it, updates must have its names, shapes and dtypes,
    /// and those that state another base are rejected.
    pub base: Option<PathBuf>,
    /// Earlier models that updates may have started from, for a [`Reducer`] that takes late ones.
    pub older_bases: Vec<PathBuf>,
    /// How many updates become one.
    pub reducer: Reducer,
    /// Whether groups of updates are averaged before they are reduced.
    pub bucketing: Option<Bucketing>,
    /// How the center moves.
    pub server_step: ServerStep,
    /// Clipping and noise, so that the result does not tell who took part; the reducer is then the
    /// mean.
    pub privacy: Option<Privacy>,
    /// Whether the models carry control variates.
    pub control: Control,
    /// Float tensors that keep the base's values, by pattern (`*` stands for anything).
    pub keep_local: Vec<String>,
    /// An update is rejected if the norm of its change is beyond the median of all norms by more
    /// than this many deviations; `None` takes any norm. A deviation is 1.4826 times the median
    /// distance from the median (that of a normal distribution), and at least half of the median.
    /// It needs a base and at least four updates that hold the same tensors.
    pub max_deviation: Option<f64>,
    /// An update is rejected if its base is older by more versions.
    pub max_age: Option<u64>,
    /// How many updates must be admitted, at least.
    pub quorum: usize,
    /// The most bytes of a file of a sharded output, whose name ends in `.safetensors.index.json`;
    /// without it, 5 GB. A tensor is never cut.
    pub shard_bytes: Option<u64>,
    /// What a rejected update does to the merge.
    pub on_rejection: OnRejection,
    /// The server step's state after the last round; a missing file is a fresh start. Not read if
    /// the step has none.
    pub state_in: Option<PathBuf>,
    /// Where to write the server step's state, which may be where it was read. Needed if the step
    /// has one, and not written otherwise.
    pub state_out: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            base: None,
            older_bases: Vec::new(),
            reducer: Reducer::default(),
            bucketing: None,
            server_step: ServerStep::default(),
            privacy: None,
            control: Control::None,
            keep_local: Vec::new(),
            max_deviation: Some(10.0),
            max_age: None,
            quorum: 1,
            shard_bytes: None,
            on_rejection: OnRejection::default(),
            state_in: None,
            state_out: None,
        }
    }
}

/// Groups of updates that are averaged first, so that the reducer sees fewer and more alike ones.
///
/// The updates are shuffled and dealt to `⌈n/size⌉` buckets. The averages within are weighted if
/// the reducer is. Karimireddy et al., <https://arxiv.org/abs/2006.09365>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucketing {
    /// Updates in a bucket, at least 1; the last one may have fewer.
    pub size: usize,
    /// Seed of the shuffle, which should be another one in every round.
    #[serde(default)]
    pub seed: u64,
}

/// Whether tensors called `control.…` are control variates, which go their own way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Control {
    /// They are tensors like any other.
    #[default]
    None,
    /// Those of SCAFFOLD: the center's moves by the mean change of the updates' times their number
    /// over that of all nodes. The reducer must be the mean.
    Scaffold {
        /// How many nodes there are in all; those that take part if left out.
        population: Option<u32>,
    },
}

/// What a rejected update does to the merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnRejection {
    /// It is left out and reported, whatever the reason.
    #[default]
    Skip,
    /// It is left out if it is sound but for its values ([`Reason::Value`](crate::Reason::Value)
    /// and [`Reason::Norm`](crate::Reason::Norm): training went wrong on that node, or it attacks);
    /// any other reason fails the merge.
    SkipBadValues,
    /// It fails the merge.
    Fail,
}
