//! What is checked on the list of updates, and on each file alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::base::Base;
use crate::carry::{Carries, Carry};
use crate::factors::{read_base_model, read_factors, stackable};
use crate::input::Input;
use crate::layout::{advised, compared};
use crate::layouts::Layouts;
use crate::patterns::Patterns;
use crate::reject::Reason;
use crate::{Adapters, Error, Options, Update, WeightFile};

/// What updates are checked against.
#[derive(Debug)]
pub(crate) struct Checks<'a> {
    pub(crate) base: Option<&'a Base>,
    /// Hashes of older bases.
    pub(crate) older: Vec<&'a str>,
    pub(crate) keep_local: &'a Patterns,
    pub(crate) carries: &'a Carries,
    pub(crate) options: &'a Options,
}

/// What the operator got wrong before any file is read.
pub(crate) fn check_list(updates: &[Update]) -> Result<(), Error> {
    if updates.is_empty() {
        return Err(Error::NoUpdates);
    }
    for Update { path, weight, .. } in updates {
        if !(weight.is_finite() && *weight >= 0.0) {
            return Err(Error::Weight { path: path.clone(), weight: *weight });
        }
    }
    let mut seen = BTreeMap::new();
    for Update { path, .. } in updates {
        // However it is spelled: `a` and `./a`.
        if let Some(first) = seen.insert(path.components().collect::<PathBuf>(), path) {
            return Err(Error::SameFile { first: first.clone(), second: path.clone() });
        }
    }
    if updates.iter().all(|update| update.weight == 0.0) {
        return Err(Error::ZeroWeights { n_updates: updates.len() });
    }
    Ok(())
}

/// Of each update the path of another one that leads to the same file, if there is one and comes
/// first in order of paths: whoever may write a link must not count twice by it.
pub(crate) fn linked(updates: &[Update]) -> Vec<Option<PathBuf>> {
    let identity = |update: &Update| identity(&update.path).filter(|_| !update.is_nameless());
    let ids: Vec<_> = updates.iter().map(identity).collect();
    let mut first: BTreeMap<_, &Path> = BTreeMap::new();
    for (id, update) in ids.iter().zip(updates) {
        if let Some(id) = id {
            let path = first.entry(id).or_insert(&update.path);
            *path = (*path).min(&update.path);
        }
    }
    let of = |(id, update): (&Option<_>, &Update)| {
        let path = *first.get(id.as_ref()?)?;
        (path != update.path).then(|| path.to_owned())
    };
    ids.iter().zip(updates).map(of).collect()
}

/// What two names of one file have in common.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// What two names of one file have in common.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// Why a file is left out, and the bytes read from it.
pub(crate) type Unfit = (Reason, u64);

/// Everything that can be checked on one file but its floats.
///
/// # Errors
/// If this machine cannot read it.
pub(crate) fn check_file(
    update: &Update,
    checks: &Checks<'_>,
    layouts: &Layouts,
    keep_open: bool,
) -> Result<Result<Input, Unfit>, Error> {
    if let Some(reason) = &update.refused {
        return Ok(Err((reason.clone(), 0)));
    }
    let opened = match &update.file {
        Some(file) => Ok(file.clone()),
        None => WeightFile::open(&update.path),
    };
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return Ok(Err((Reason::try_from(error)?, 0))),
    };
    let n_read = file.n_read();
    let factors = match checks.options.adapters {
        Some(Adapters::Stack) => match read_factors(update, &file) {
            Ok(Ok(factors)) => Some(factors),
            Ok(Err(reason)) => return Ok(Err((reason, file.n_read()))),
            Err(error) => return Reason::try_from(error).map(|r| Err((r, file.n_read()))),
        },
        _ => None,
    };
    let base_model = match (checks.options.adapters, &factors) {
        (None, _) => None,
        (Some(_), Some(factors)) => factors.base_model.clone(),
        (Some(_), None) => read_base_model(update, &file),
    };
    let (integers, fingerprint) = match read(update, &file, checks) {
        Ok(Ok(found)) => found,
        Ok(Err(reason)) => return Ok(Err((reason, n_read))),
        Err(error) => return Reason::try_from(error).map(|reason| Err((reason, n_read))),
    };
    if !keep_open {
        file.close();
    }
    layouts.share(&mut file);
    let layout = compared(&file.shared_tensors(), checks.options.dtype);
    let layout = factors.as_ref().map_or(layout.clone(), |factors| stackable(&layout, factors));
    let layout = layouts.only_one(layout);
    // -0 is a zero like any other.
    let update = Update { weight: update.weight + 0.0, ..update.clone() };
    let (tie, position) = (String::new(), 0);
    let input =
        Input { update, fingerprint, tie, integers, position, layout, factors, base_model, file };
    Ok(Ok(input))
}

/// The hashes of the integers of a file, and its fingerprint.
type Found = (BTreeMap<String, String>, String);

/// What is found in a file, or why it does not fit.
fn read(
    update: &Update,
    file: &WeightFile,
    checks: &Checks<'_>,
) -> Result<Result<Found, Reason>, Error> {
    if let Some(reason) = mismatch(update, file, checks) {
        return Ok(Err(reason));
    }
    // Of weight 0, its values are not looked at again.
    if update.weight == 0.0
        && let Some(reason) = file.first_invalid()?
    {
        return Ok(Err(reason));
    }
    let integers = file.integers(|tensor| {
        !checks.keep_local.matches(&tensor.name) && checks.carries.rule(tensor) == Carry::Agree
    })?;
    let fingerprint = file.fingerprint()?;
    Ok(integers.map(|integers| (integers, fingerprint)))
}

/// What its header and what is said of it have against a file.
fn mismatch(update: &Update, file: &WeightFile, checks: &Checks<'_>) -> Option<Reason> {
    if let Some(base) = checks.base {
        let mismatch = if update.partial { Reason::mismatch_of_part } else { Reason::mismatch };
        let found = compared(&file.shared_tensors(), checks.options.dtype);
        let mismatch = mismatch(&base.layout, &found)
            .map(|reason| advised(reason, &base.layout, &found, mismatch));
        let is_older = update.base.as_deref().is_some_and(|hash| checks.older.contains(&hash));
        let late = is_older || checks.options.rules.reduce.needs().any_base;
        let reason = mismatch.or_else(|| if late { None } else { other_base(&base.hash, update) });
        if reason.is_some() {
            return reason;
        }
    }
    if let Some(max_age) = checks.options.rules.max_age.filter(|&max_age| update.age > max_age) {
        return Some(Reason::Age { age: update.age, max_age });
    }
    let steps = update.steps;
    let is_length = steps.is_finite() && steps > 0.0;
    (!is_length).then_some(Reason::Steps { steps, limit: f64::MAX })
}

pub(crate) fn other_base(expected: &str, update: &Update) -> Option<Reason> {
    let found = update.base.as_deref().filter(|&found| found != expected)?;
    Some(Reason::Base { expected: expected.to_owned(), found: found.to_owned() })
}
