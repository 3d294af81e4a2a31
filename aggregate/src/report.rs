//! What went into a merge, and what came of it.

use std::path::PathBuf;

use crate::admit::Admission;
use crate::mean::Cohort;
use crate::{Options, Reducer, Rejected, ServerStep, Update};

/// An update that was merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The update's file.
    pub path: PathBuf,
    /// The node it came from, if it was stated.
    pub node: Option<String>,
    /// The hash of the model it started from, if it was stated.
    pub base: Option<String>,
    /// Its weight as given.
    pub weight: f64,
    /// Its share in the mean: its weight over the sum of the admitted weights.
    pub share: f64,
    /// Content hash of its file.
    pub hash: String,
}

/// What is known about a merge before the output is written; the source of its metadata.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The merged updates by content hash, then weight, then path: not in the order they were
    /// listed, so that metadata made of it does not depend on that order.
    pub admitted: Vec<Admitted>,
    /// The others, sorted by path.
    pub rejected: Vec<Rejected>,
    /// Sum of the admitted weights; infinite if it overflows, while the shares do not.
    pub total_weight: f64,
    /// Content hash of the base file, or without one the hash the updates agree on.
    pub base_hash: Option<String>,
    /// The rule that made one of many.
    pub reducer: Reducer,
    /// The step that was taken.
    pub server_step: ServerStep,
    /// Number of the server step, 1 for the first; only for a step with a state.
    pub step: Option<u64>,
}

/// What a merge did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The file that was written.
    pub out: PathBuf,
    /// Its content hash, which its updates will state as their base.
    pub out_hash: String,
    /// The state file, if one was written.
    pub state_out: Option<PathBuf>,
    /// What went in.
    pub summary: Summary,
    /// Number of tensors in the output.
    pub n_tensors: u64,
    /// Number of values in the output.
    pub n_parameters: u64,
    /// Bytes read from updates, base and state; every update is read twice.
    pub bytes_read: u64,
}

impl Summary {
    /// The summary of a merge whose cohort is the admitted inputs with a weight above 0.
    pub(crate) fn of(
        admission: &Admission,
        cohort: &Cohort<'_>,
        options: &Options,
        step: Option<u64>,
    ) -> Self {
        let mut shares = cohort.shares().peekable();
        let mut admitted = Vec::with_capacity(admission.inputs.len());
        for input in &admission.inputs {
            // The cohort has the same order, without the inputs of weight 0.
            let share = shares.next_if(|&(member, _)| std::ptr::eq(member, input));
            let Update { path, node, base, weight, partial: _ } = input.update.clone();
            let (share, hash) = (share.map_or(0.0, |(_, share)| share), input.hash.clone());
            admitted.push(Admitted { path, node, base, weight, share, hash });
        }
        Self {
            total_weight: admitted.iter().map(|update| update.weight).sum(),
            admitted,
            rejected: admission.rejected.clone(),
            base_hash: admission.base_hash.clone(),
            reducer: options.reducer,
            server_step: options.server_step,
            step,
        }
    }
}
