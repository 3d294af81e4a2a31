//! The merge: checks, reduces, steps and writes, block by block.

use std::path::{Path, PathBuf};

use crate::admit::{Admission, Candidates};
use crate::attempt::Attempt;
use crate::base::Base;
use crate::blocks::Block;
use crate::check::Checks;
use crate::cohort::Cohort;
use crate::layout::advised;
use crate::mover::{Mover, out_of_range};
use crate::outputs::{Destination, Finished};
use crate::patterns::Patterns;
use crate::private_round::{PrivacyState, PrivateRound};
use crate::reject::Reason;
use crate::report::Metadata;
use crate::run::Run;
use crate::shards::is_index;
use crate::stack::Stack;
use crate::stack_rules::{check_stacking, check_word};
use crate::state::{SERVER_STATE, SavedState};
use crate::targets::Targets;
use crate::{Adapters, Error, Options, Report, Update, WeightFile};

/// Merges weight files into one.
///
/// Every update is checked (see [`Reason`](crate::Reason)); those that fail are left out and
/// reported, or end the merge, as the [`Tolerance`](crate::Tolerance) says. The rest is reduced, the
/// server step is taken, and the result is written to `out` under the metadata that the callback
/// returns. `out` may be the base file.
///
/// The bytes of `out` do not depend on the order of `updates` or on the number of threads, and a
/// few blocks of values are in memory at a time, whatever the size of the files. Values are read
/// once; twice if the rule needs distances; once more for each time that an update turns out to be
/// bad.
///
/// Without a base file, updates must have the names, shapes and dtypes that most of them have, and
/// must not state another base than most that state one. Each node votes once for each variant it
/// sent; in a tie, the update with the lowest fingerprint decides.
///
/// What updates say of themselves is not believed beyond what a single one may do: of two sound
/// updates of one node none counts (but for copies of one file), a claimed weight is capped
/// ([`cap_weights`](crate::cap_weights)), and what becomes of a file while it is read is its own
/// fault. A failure of this machine, such as too many open files, is none of an update: it ends the
/// merge.
///
/// Integers, booleans and dtypes narrower than 16 bits or of complex numbers are not averaged but
/// carried: an integer without dimensions, which counts something, is the largest of all; of anything
/// else, updates that do not hold what most do are rejected, unless [`Rules::carry`](crate::Rules::carry)
/// has another rule.
///
/// The callback is called once, when all but the header of the output is written. If it fails,
/// nothing is written.
///
/// The state, if there is one, gets its name just before the model. Should the machine stop
/// between the two, the old model is in place and the state names the hash of a model that is not:
/// the next merge refuses it with [`Error::StateModel`] instead of mixing the rounds, unless
/// `state_in` and `state_out` are different files, when the merge can simply be run again.
///
/// ```
/// use aggregate::{Options, TensorData, TensorRef, Update, WeightFile, aggregate, write_file};
///
/// let folder = tempfile::tempdir()?;
/// let mut updates = Vec::new();
/// for (node, values, n_examples) in [("a", [1.0, 2.0], 30.0), ("b", [3.0, 2.0], 10.0)] {
///     let path = folder.path().join(node);
///     let tensor = TensorRef { name: "w", shape: &[2], data: TensorData::F32(&values) };
///     write_file(&path, &[tensor], &Default::default())?;
///     updates.push(Update { node: Some(node.into()), ..Update::new(path, n_examples) });
/// }
///
/// let out = folder.path().join("global.safetensors");
/// let report = aggregate(&updates, &Options::default(), &out, &|summary| {
///     Ok([("inputs".to_owned(), summary.admitted.len().to_string())].into())
/// })?;
/// assert!(report.summary.rejected.is_empty());
/// assert_eq!(WeightFile::open(&out)?.read_f32("w")?, [1.5, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the list, the weights, the options, the base, the state or the output path are unusable, if
/// fewer updates are admitted than the quorum or the rule needs, or one is not and the tolerance does
/// not forgive it, and if the result leaves the range of its dtype. Neither `out` nor the state
/// is written then.
pub fn aggregate(
    updates: &[Update],
    options: &Options,
    out: &Path,
    metadata: &Metadata<'_>,
) -> Result<Report, Error> {
    let (report, _) = merge(updates, options, (out, false), metadata, &Probe::default())?;
    Ok(report)
}

/// A model that was merged in memory.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Merged {
    /// The model.
    pub model: WeightFile,
    /// What must be remembered until the next merge, if something must.
    pub state: Option<WeightFile>,
    /// What was done.
    pub report: Report,
}

/// Merges as [`aggregate`] does, with the same bits, into memory: nothing is written to a disk.
///
/// `out` and [`Options::state_out`] are names for the results; without the latter the state is called
/// as the file `X.server` beside the model `X` would be. Updates may be in memory
/// ([`Update::of_file`]), and so may base and state ([`Options::open`]).
///
/// ```
/// use aggregate::{Options, TensorData, TensorRef, Update, aggregate_in_memory, weight_file};
///
/// let mut updates = Vec::new();
/// for (node, values, n_examples) in [("a", [1.0, 2.0], 30.0), ("b", [3.0, 2.0], 10.0)] {
///     let tensor = TensorRef { name: "w", shape: &[2], data: TensorData::F32(&values) };
///     updates.push(Update::of_file(weight_file(node, &[tensor], &Default::default())?, n_examples));
/// }
/// let merged = aggregate_in_memory(&updates, &Options::default(), "global".as_ref(), &|_| {
///     Ok(Default::default())
/// })?;
/// assert_eq!(merged.model.read_f32("w")?, [1.5, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As for [`aggregate`]; a model in memory is one file, so that `out` cannot be the name of an index.
pub fn aggregate_in_memory(
    updates: &[Update],
    options: &Options,
    out: &Path,
    metadata: &Metadata<'_>,
) -> Result<Merged, Error> {
    let (report, finished) = merge(updates, options, (out, true), metadata, &Probe::default())?;
    let missing = || Error::NoTensor { path: out.to_owned(), tensor: String::new() };
    Ok(Merged { model: finished.model.ok_or_else(missing)?, state: finished.state, report })
}

/// What tests of this crate may change.
#[derive(Default)]
struct Probe<'a> {
    /// Bytes of a block.
    row_bytes: Option<usize>,
    /// Called after the updates are checked, and before their values are read.
    admitted: Option<&'a dyn Fn()>,
}

fn merge(
    updates: &[Update],
    options: &Options,
    (out, in_memory): (&Path, bool),
    metadata: &Metadata<'_>,
    probe: &Probe<'_>,
) -> Result<(Report, Finished), Error> {
    let state_out = check_options(updates, options, out, in_memory)?;
    let target = Destination { out, state_out: state_out.as_deref(), in_memory };
    let keep_local = Patterns::new(&options.rules.keep_local)?;
    let carries = options.rules.carries()?;
    let open = |path: &Path| Base::open(path, &options.open, options.dtype);
    let base = options.base.as_deref().map(open).transpose()?;
    if let Some(base) = &base {
        let names = base.file.tensors().iter().map(|tensor| tensor.name.as_str());
        keep_local.check_all_match(&names)?;
    }
    let older = if options.rules.reduce.needs().own_bases {
        open_older(options, base.as_ref())?
    } else {
        Vec::new()
    };
    let (mover, private) = prepare(options, base.as_ref())?;
    let checks = Checks {
        base: base.as_ref(),
        older: older.iter().map(|base| base.hash.as_str()).collect(),
        keep_local: &keep_local,
        carries: &carries,
        options,
    };
    let mut candidates = Candidates::open(updates, &checks)?;
    check_word(options.adapters, base.as_ref(), &candidates, out)?;
    loop {
        let admission = match candidates.select(&checks) {
            // Nothing is merged: then all that is wrong shall be said at once.
            Err(Error::Rejected { .. } | Error::NothingAdmitted { .. }) => {
                candidates.refuse(candidates.not_finite()?);
                candidates.select(&checks)?
            }
            other => other?,
        };
        let Admission { inputs, weights, steps, tensors, .. } = &admission;
        let stack = match options.adapters {
            Some(Adapters::Stack) => Stack::of(inputs, weights, tensors, out)?,
            _ => None,
        };
        let tensors = stack.as_ref().map_or(tensors, |stack| &stack.tensors);
        carries.check(tensors)?;
        let cohort = Cohort::new(tensors, inputs, weights, steps, base.as_ref(), &older);
        let run = Run {
            kept: tensors.iter().map(|t| keep_local.matches(&t.name)).collect(),
            admission: &admission,
            cohort: &cohort,
            options,
            carries: &carries,
            mover: mover.as_ref(),
            private: private.as_ref(),
            stack: stack.as_ref(),
            row_bytes: probe.row_bytes,
        };
        if let Some(admitted) = probe.admitted {
            admitted();
        }
        let refused = match run.attempt(&target, metadata) {
            Ok(Attempt::Done(mut report, finished)) => {
                report.bytes_read = candidates.n_read()
                    + base.iter().chain(&older).map(|base| base.file.n_read()).sum::<u64>()
                    + mover.as_ref().and_then(|m| m.saved.as_ref()).map_or(0, SavedState::n_read);
                return Ok((*report, finished));
            }
            Ok(Attempt::Refused(refused)) => Ok(refused),
            Ok(Attempt::NotFinite(block)) => not_finite(&candidates, &run, block),
            Err(Error::TooFew { reducer, needed, found }) if !admission.rejected.is_empty() => {
                return Err(admission.too_few(found, format!("{reducer} needs {needed}")));
            }
            Err(error) => Err(error),
        };
        // Whatever befell one update while it was read, the others go on.
        candidates.refuse(refused.or_else(|error| candidates.blame(error))?);
    }
}

/// The updates to blame for NaN or infinity in a block.
fn not_finite(
    candidates: &Candidates,
    run: &Run<'_>,
    block: Block,
) -> Result<Vec<(PathBuf, Reason)>, Error> {
    let refused = candidates.not_finite()?;
    if !refused.is_empty() {
        return Ok(refused);
    }
    run.cohort.check_unchanged()?;
    if let Some(base) = run.cohort.base {
        base.check_finite()?;
    }
    // Squares of finite numbers may not be finite.
    let error = || out_of_range(&run.cohort.tensors[block.tensor], block.start);
    run.far_updates()?.ok_or_else(error)
}

/// Checks what needs no reading of values; returns where the state goes, if there is one.
fn check_options(
    updates: &[Update],
    options: &Options,
    out: &Path,
    in_memory: bool,
) -> Result<Option<PathBuf>, Error> {
    if in_memory && is_index(out) {
        let problem = "a model in memory is one file".to_owned();
        return Err(Error::Index { path: out.to_owned(), problem });
    }
    let rules = &options.rules;
    rules.validate()?;
    if options.adapters == Some(Adapters::Stack) {
        check_stacking(options, out)?;
    }
    let state_out = match (&options.state_out, rules.needs_state()) {
        (_, None) => None,
        (None, Some(_)) if in_memory => Some(SERVER_STATE.path(out)),
        (None, Some(server_step)) => return Err(Error::StateNeeded { server_step }),
        (Some(path), Some(_)) => Some(path.clone()),
    };
    if !in_memory {
        check_targets(updates, options, out, state_out.as_deref())?;
    }
    match rules.needs_base() {
        Some(rule) if options.base.is_none() => Err(Error::BaseNeeded { rule }),
        _ => Ok(state_out),
    }
}

/// Checks that the results replace no input but the base and its state, and not each other.
fn check_targets(
    updates: &[Update],
    options: &Options,
    out: &Path,
    state_out: Option<&Path>,
) -> Result<(), Error> {
    let Options { base, state_in, older_bases, open, .. } = options;
    let mut targets = Targets::default();
    targets.add_model(out, base.as_deref().unwrap_or(Path::new("")))?;
    if let Some(path) = state_out {
        targets.add_over(path, state_in.as_deref().unwrap_or(Path::new("")))?;
    }
    // A name may be anything.
    let nameless = |path: &PathBuf| open.iter().any(|f| f.path() == path && f.is_nameless());
    let own = base.iter().chain(state_in).chain(older_bases).filter(|path| !nameless(path));
    let updates = updates.iter().filter(|update| !update.is_nameless());
    own.chain(updates.map(|update| &update.path)).try_for_each(|path| targets.protect(path))
}

/// The older bases, each of which must have the tensors of the base.
fn open_older(options: &Options, base: Option<&Base>) -> Result<Vec<Base>, Error> {
    let open = |path: &PathBuf| {
        let older = Base::open(path, &options.open, options.dtype)?;
        let expected = base.map_or(&older.layout, |base| &base.layout);
        match Reason::mismatch(expected, &older.layout) {
            None => Ok(older),
            Some(reason) => {
                let reason = advised(reason, expected, &older.layout, Reason::mismatch);
                Err(Error::OlderBase { path: path.clone(), reason })
            }
        }
    };
    options.older_bases.iter().map(open).collect()
}

/// The server step with its saved state, unless it is to replace, and the private round.
fn prepare<'a>(
    options: &Options,
    base: Option<&'a Base>,
) -> Result<(Option<Mover<'a>>, Option<PrivateRound>), Error> {
    let rules = &options.rules;
    let movement = rules.server.movement()?;
    let Some(base) = base else { return Ok((None, None)) };
    let slots = movement.as_ref().map_or(&[][..], |movement| &movement.slots);
    let mut saved = match &options.state_in {
        Some(path) if rules.needs_state().is_some() => {
            let open = &options.open;
            SavedState::open(path, open, &base.hash, &rules.server, slots, base.file.tensors())?
        }
        _ => None,
    };
    let before: Option<PrivacyState> = saved.as_mut().and_then(|saved| saved.privacy.take());
    let private = rules.privacy.map(|privacy| PrivateRound::new(privacy, before)).transpose()?;
    Ok((movement.map(|movement| Mover { base, movement, saved }), private))
}

#[cfg(test)]
mod tests;
