//! What went into a merge, and what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::{PrivacyReport, Reducer, Rejected, ServerStep, Spent, StackedAdapters};

/// An update that was merged.
///
/// Norms and distances are Euclidean over all float tensors that are merged. With `o` the base, or
/// zero without one, and `z` what the updates were reduced to, before the server step: `‖x − o‖`,
/// `‖x − z‖`, and the cosine of the angle between `x − o` and `z − o`. Private merging keeps them
/// to itself, and gives all the same share. Of adapters that are stacked there are none.
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
    /// What of it counts, see [`cap_weights`](crate::cap_weights).
    pub counted: f64,
    /// What it has in the result: of a mean what its weight counts over the sum of all.
    pub share: f64,
    /// A name for its content: the BLAKE3 hash of a file of up to 1 MiB; of a larger one that of
    /// its length, its first bytes and pieces spread over the rest.
    pub fingerprint: String,
    /// How far it moved.
    pub norm: Option<f64>,
    /// How far from the result it is.
    pub distance: Option<f64>,
    /// Whether it moved as the result did: 1 in the same direction, −1 in the opposite one. None
    /// if either did not move.
    pub cosine: Option<f64>,
}

/// How far a float tensor moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The tensor's name.
    pub tensor: String,
    /// Euclidean norm of the difference between the new values and the base's; without a base, of
    /// the new values.
    pub norm: f64,
    /// The same over the norm of the base's values; none without a base, or if that is zero.
    pub relative: Option<f64>,
}

/// What is known about a merge when the output is complete but for its header; the source of its
/// metadata.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The merged updates in an order that does not depend on how they were listed, so that
    /// metadata made of it does not either: by node, then fingerprint, weight and path.
    pub admitted: Vec<Admitted>,
    /// The others, sorted by path.
    pub rejected: Vec<Rejected>,
    /// Sum of what the admitted weights count; infinite if it overflows, while the shares do not.
    pub total_weight: f64,
    /// Content hash of the base file, or without one the hash the updates agree on.
    pub base_hash: Option<String>,
    /// The rule that made one of many.
    pub reducer: Reducer,
    /// The step that was taken.
    pub server_step: ServerStep,
    /// Number of the server step, 1 for the first; only for a step with a state.
    pub step: Option<u64>,
    /// How far each float tensor moved, in order of names.
    pub changes: Vec<Change>,
    /// What private merging guarantees.
    pub privacy: Option<PrivacyReport>,
    /// What came of adapters that were stacked.
    pub adapters: Option<StackedAdapters>,
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
    /// Bytes read from updates, base and state.
    pub bytes_read: u64,
    /// Bytes of the buffers for values, of all threads: what the memory grows by with the number of
    /// updates, and does not grow by with their size.
    pub buffer_bytes: u64,
    /// Where the time went.
    pub spent: Spent,
}

/// Any error of the caller.
pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the metadata of the output from what is known of the merge.
pub(crate) type Metadata<'a> = dyn Fn(&Summary) -> Result<BTreeMap<String, String>, AnyError> + 'a;
