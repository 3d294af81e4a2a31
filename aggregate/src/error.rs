//! What can go wrong with weight files, with the list of updates and with the server step.

use std::io;
use std::path::PathBuf;

use crate::advice::advice;
use crate::problem::MAX_HEADER_LEN;
use crate::reject::{lines, refused};
use crate::{Adapters, Dtype, FormatProblem, Reason, Rejected, TargetError};

/// Why a file could not be read, written or merged; every message names the file or the tensor and
/// says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened or read.
    #[error("cannot read {}: {source}{}", path.display(), advice(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written; nothing is left under its name that was not there before.
    #[error("cannot write {}: {source}{}", path.display(), advice(source))]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An output cannot have its name.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A file is not a valid safetensors file.
    #[error("{} is not a valid safetensors file: {problem}; copy or write it again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: FormatProblem,
    },
    /// A file changed between two reads of it.
    #[error("{} changed while it was being read; run again when it is complete", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A tensor was asked for that the file does not have.
    #[error("{} has no tensor {tensor:?}", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The name that was asked for.
        tensor: String,
    },
    /// The values of a tensor cannot be used in its dtype.
    #[error(
        "tensor {tensor:?} of {} has dtype {dtype}, expected {expected}; convert the file first",
        path.display()
    )]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: Dtype,
        /// The dtypes that would do, in words.
        expected: &'static str,
    },
    /// A tensor to be written does not fit its shape, or its name cannot be used.
    #[error("cannot write tensor {tensor:?} to {}: {problem}", path.display())]
    Tensor {
        /// The file that was to be written.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong, with the sizes.
        problem: String,
    },
    /// The header of a file to be written would be larger than the format allows.
    #[error(
        "cannot write {}: its header would have {header_len} bytes, the format allows {}; \
         shorten the metadata",
        path.display(),
        MAX_HEADER_LEN
    )]
    HeaderLen {
        /// The file that was to be written.
        path: PathBuf,
        /// The bytes it would take.
        header_len: u64,
    },
    /// The caller could not make the metadata of the output.
    #[error("cannot write {}: its metadata: {source}", path.display())]
    Metadata {
        /// The file that was to be written.
        path: PathBuf,
        /// What the caller said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is not one weight for each model.
    #[error("there are {n_weights} weights for {n_models} models; give one for each")]
    Weights {
        /// How many models there are.
        n_models: usize,
        /// How many weights.
        n_weights: usize,
    },
    /// There is nothing to merge.
    #[error("no updates to merge; name at least one weight file")]
    NoUpdates,
    /// The same file is in the list twice.
    #[error("{} and {} are the same file; name each update once", first.display(), second.display())]
    SameFile {
        /// One spelling of its path.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// A weight is negative or not finite.
    #[error("the weight of {} is {weight}, expected a finite number of at least 0", path.display())]
    Weight {
        /// The update.
        path: PathBuf,
        /// Its weight.
        weight: f64,
    },
    /// All weights are zero.
    #[error(
        "the weights of all {n_updates} updates that can be merged are 0; give at least one a weight above 0"
    )]
    ZeroWeights {
        /// How many updates could otherwise be merged.
        n_updates: usize,
    },
    /// Not one update passed the checks.
    #[error("none of the {} updates can be merged:{}", rejected.len(), lines(rejected))]
    NothingAdmitted {
        /// Every update with the reason, sorted by path.
        rejected: Vec<Rejected>,
    },
    /// An update was rejected, and the tolerance does not leave it out.
    #[error(
        "{} of {n_updates} updates rejected, and nothing was merged:{}",
        rejected.len(),
        lines(rejected)
    )]
    Rejected {
        /// How many updates there are.
        n_updates: usize,
        /// The rejected ones with their reasons, sorted by path.
        rejected: Vec<Rejected>,
    },
    /// Fewer updates are left than must be.
    #[error("{found} of {of} nodes' updates can be merged, {needed}{}", refused(rejected))]
    Quorum {
        /// How many there are.
        found: usize,
        /// How many nodes are in the list; a file without a name counts as one.
        of: usize,
        /// How many there must be, and by which rule, in words.
        needed: String,
        /// The rejected ones with their reasons, sorted by path.
        rejected: Vec<Rejected>,
    },
    /// The files hold low-rank adapters, and nobody said how these are merged.
    #[error(
        "{} holds low-rank adapters (tensor {tensor:?} and its partner), and the mean of factors is \
         not the mean of their products; say how they are merged (adapters: stack, exactly, by putting \
         them beside each other, or factors, one by one all the same), or merge each into its base \
         model first",
        path.display()
    )]
    Adapters {
        /// One of the files.
        path: PathBuf,
        /// A factor in it.
        tensor: String,
    },
    /// It was said how adapters are merged, and there are none.
    #[error(
        "adapters: {adapters} has no effect, as most files hold no pair of low-rank factors whose \
         names and shapes fit together; leave it out"
    )]
    NoAdapters {
        /// What was said.
        adapters: Adapters,
    },
    /// The index of a sharded model cannot be read, or does not fit its files.
    #[error("the index {} cannot be used: {problem}; write the model again", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A pattern of tensor names cannot be used.
    #[error("the pattern {pattern:?} cannot be used: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An option needs a part of this crate that is not built in.
    #[error("{option} is not built in; build the crate aggregate with its feature {feature:?}")]
    Feature {
        /// The option.
        option: &'static str,
        /// What to build with.
        feature: &'static str,
    },
    /// An option of private merging is out of range.
    #[error("{option} of private merging is {value}, expected {expected}")]
    PrivacyOption {
        /// The option.
        option: &'static str,
        /// Its value.
        value: f64,
        /// What would do.
        expected: &'static str,
    },
    /// The system gives no secret numbers.
    #[error("the system gives no secret numbers for private merging: {message}")]
    NoRandomness {
        /// What it said.
        message: String,
    },
    /// Two rules exclude each other.
    #[error("{first} does not go with {second}; change one of the two")]
    Conflict {
        /// One of them.
        first: &'static str,
        /// The other one.
        second: String,
    },
    /// A number of the rules is out of range.
    #[error("{rule} is {value}, expected {expected}")]
    Rule {
        /// The field of the rules.
        rule: &'static str,
        /// Its value.
        value: f64,
        /// What would do.
        expected: &'static str,
    },
    /// An option of the reducer is out of range.
    #[error("{reducer}: {option} is {value}, expected {expected}")]
    ReducerOption {
        /// The reducer's name.
        reducer: &'static str,
        /// The option.
        option: &'static str,
        /// Its value.
        value: f64,
        /// What would do.
        expected: &'static str,
    },
    /// The reducer needs more updates, or another number of them.
    #[error("{reducer} needs {needed}, and {found} can be merged")]
    TooFew {
        /// The reducer's name.
        reducer: &'static str,
        /// How many, and why, in words.
        needed: String,
        /// How many there are.
        found: usize,
    },
    /// The rule starts from a base file, and none was given.
    #[error("{rule} moves a base file; name the file the nodes started from")]
    BaseNeeded {
        /// The name of the reducer or server step.
        rule: &'static str,
    },
    /// An older base is not a model of the same kind.
    #[error("the older base {} does not fit the base: {reason}", path.display())]
    OlderBase {
        /// The file.
        path: PathBuf,
        /// The first difference.
        reason: Reason,
    },
    /// A value of the base file cannot be moved.
    #[error("tensor {tensor:?} of the base {} is not finite at element {index}", path.display())]
    BaseValue {
        /// The base file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The first bad element.
        index: usize,
    },
    /// The result does not fit the tensor's dtype.
    #[error(
        "the merge takes tensor {tensor:?} out of the range of {dtype} at element {index}; \
         lower the learning rate, leave out an update that moved far, or write a \
         wider dtype"
    )]
    OutOfRange {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: Dtype,
        /// The first such element.
        index: usize,
    },
    /// The server step's learning rate is not usable.
    #[error("the learning rate of the server step is {lr}, expected a finite number above 0")]
    LearningRate {
        /// The value that was given.
        lr: f32,
    },
    /// Another option of the server step is not usable.
    #[error("{option} of the server step is {value}, which is out of range")]
    ServerOption {
        /// The option.
        option: &'static str,
        /// Its value.
        value: f32,
    },
    /// The server step's options, or its saved state, do not suit its optimizer.
    #[error("server step: {source}")]
    Optimizer {
        /// What the optimizer said.
        #[from]
        source: optim::Error,
    },
    /// The server step has a memory and no file to keep it in.
    #[error(
        "the server step {server_step} has a memory that must outlive the round; \
         name a state file to write"
    )]
    StateNeeded {
        /// The server step's name.
        server_step: &'static str,
    },
    /// The state file belongs to another model than the base file.
    #[error(
        "the state {} belongs to the model with hash {found}, but the base has hash {expected}; \
         pass the base it belongs to, or delete the state to start afresh",
        path.display()
    )]
    StateModel {
        /// The state file.
        path: PathBuf,
        /// Content hash of the base file.
        expected: String,
        /// The hash the state names.
        found: String,
    },
    /// A file beside a model is not the kind of file that is expected there.
    #[error(
        "{} cannot be used as the {kind} of a model: {problem}; name the right file, or delete this one to start afresh",
        path.display()
    )]
    Sidecar {
        /// The file.
        path: PathBuf,
        /// The kind that is expected.
        kind: &'static str,
        /// What does not fit.
        problem: String,
    },
    /// An update cannot be sent as a difference to a base.
    #[error("{} cannot be sent as a difference: {problem}; send it whole", path.display())]
    NoDifference {
        /// The update.
        path: PathBuf,
        /// What stands against it.
        problem: String,
    },
    /// A difference does not give an update.
    #[error("the difference {} cannot be applied: {reason}", path.display())]
    Difference {
        /// The difference file.
        path: PathBuf,
        /// What is wrong with it; the reason, too, for which the update is left out of a merge.
        reason: Reason,
    },
    /// The state file is a valid weight file, but not a state of this server step.
    #[error(
        "{} is not a state of this server step: {problem}; delete it to start afresh",
        path.display()
    )]
    State {
        /// The state file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
}
