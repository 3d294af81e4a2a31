//! How to merge.

use std::path::PathBuf;

use crate::{Reducer, ServerStep};

/// How to merge; the default is `FedAvg` without a base.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// The model the nodes started from. With it, updates must have its names, shapes and dtypes,
    /// and those that state another base are rejected.
    pub base: Option<PathBuf>,
    /// How many updates become one.
    pub reducer: Reducer,
    /// How the center moves.
    pub server_step: ServerStep,
    /// What a rejected update does to the merge.
    pub on_rejection: OnRejection,
    /// The server step's state after the last round; a missing file is a fresh start. Not read if
    /// the step has none.
    pub state_in: Option<PathBuf>,
    /// Where to write the server step's state, which may be where it was read. Needed if the step
    /// has one, and not written otherwise.
    pub state_out: Option<PathBuf>,
}

/// What a rejected update does to the merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnRejection {
    /// It is left out and reported, whatever the reason.
    #[default]
    Skip,
    /// It is left out if it is sound but for its values ([`Reason::Value`](crate::Reason::Value):
    /// training went wrong on that node); any other reason fails the merge.
    SkipNotFinite,
    /// It fails the merge.
    Fail,
}
