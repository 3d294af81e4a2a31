//! Held-out training rows: whole series, or a stretch of every series.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::Path;

use anyhow::ensure;
use serde::Serialize;

use crate::job::{ValidationBy, ValidationConfig};
use crate::windows::{Window, WindowSet};

/// Training windows in two parts.
#[derive(Debug)]
pub struct Split<'a> {
    /// To train on.
    pub train: WindowSet<'a>,
    /// To look at.
    pub held_out: WindowSet<'a>,
    /// How they were parted.
    pub report: HeldOut,
}

/// What was held out of the training rows, and how it was chosen; of several nodes, all together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldOut {
    /// By series or by time; `auto` of nodes of which some do this and others that.
    pub by: ValidationBy,
    /// Which part, from 0.
    pub fold: usize,
    /// Of how many.
    pub folds: usize,
    /// Windows held out.
    pub windows: usize,
    /// Windows left to train on.
    pub of_training: usize,
}

impl HeldOut {
    /// What this node and another hold out.
    #[must_use]
    pub fn joined(self, other: &Self) -> Self {
        Self {
            by: if self.by == other.by { self.by } else { ValidationBy::Auto },
            windows: self.windows + other.windows,
            of_training: self.of_training + other.of_training,
            ..self
        }
    }
}

impl fmt::Display for HeldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, fold, folds, windows, of_training } = self;
        let part = fold + 1;
        match by {
            ValidationBy::Auto => write!(
                f,
                "part {part} of {folds} of every node's training rows, of some by series, of others by time"
            )?,
            ValidationBy::Time => {
                write!(f, "stretch {part} of {folds} of every series, from its end")?;
            }
            ValidationBy::Series => write!(f, "part {part} of {folds} of every class's series")?,
        }
        write!(f, ": {windows} windows are held out, {of_training} train")
    }
}

/// Splits labeled training windows into those to train on and those held out.
///
/// By series, every k-th is held out, counted through the classes. By time, a stretch of every segment is held out,
/// and windows that reach over a border belong to neither.
///
/// # Errors
/// If a part would be empty.
pub fn split_validation<'a>(
    set: &WindowSet<'a>,
    config: ValidationConfig,
) -> anyhow::Result<Split<'a>> {
    let by = match config.by {
        ValidationBy::Auto => chosen(set, config),
        said => said,
    };
    let (train, held_out) =
        if by == ValidationBy::Time { by_time(set, config) } else { by_series(set, config) };
    let (n_train, n_held_out) = (train.windows().len(), held_out.windows().len());
    ensure!(
        n_train > 0 && n_held_out > 0,
        "the validation split leaves {n_train} windows to train on and holds out {n_held_out}; hold out another share ([train.validation], --validation), ask for fewer parts (--cv), or bring more data"
    );
    let (fold, folds) = (config.fold, config.folds());
    let report = HeldOut { by, fold, folds, windows: n_held_out, of_training: n_train };
    Ok(Split { train, held_out, report })
}

/// By series, if every fold has some and every class is in several folds, so that none is without it in training;
/// else by time, if every fold has windows in both parts. The same for all folds.
fn chosen(set: &WindowSet<'_>, config: ValidationConfig) -> ValidationBy {
    let places = places(set);
    let folds = config.folds();
    let fold_of = |w: &Window| places.get(&series(set, w)).map(|place| place % folds);
    let mut of_class: BTreeMap<Option<u32>, BTreeSet<Option<usize>>> = BTreeMap::new();
    for window in set.windows() {
        of_class.entry(window.label).or_default().insert(fold_of(window));
    }
    if places.len() >= folds && of_class.values().all(|own| own.len() > 1) {
        return ValidationBy::Series;
    }
    let is_whole = |fold| {
        let (train, held_out) = by_time(set, ValidationConfig { fold, ..config });
        !train.windows().is_empty() && !held_out.windows().is_empty()
    };
    // A share that is no k-th has no other folds.
    let n_folds = if is_kth(config.fraction) { folds } else { 1 };
    if (0..n_folds).all(is_whole) { ValidationBy::Time } else { ValidationBy::Series }
}

/// A series by its file and its name.
type Series<'a> = (&'a Path, &'a str);

fn series<'a>(set: &WindowSet<'a>, window: &Window) -> Series<'a> {
    let segment = &set.dataset().segments[window.segment];
    (segment.source.as_ref(), segment.series.as_ref())
}

/// The series in an order of classes, so that each class is spread over the folds as evenly as can be.
fn places<'a>(set: &'a WindowSet<'_>) -> BTreeMap<Series<'a>, usize> {
    let mut of_class: BTreeMap<Option<u32>, Vec<Series<'_>>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for window in set.windows() {
        let series = series(set, window);
        if seen.insert(series) {
            of_class.entry(window.label).or_default().push(series);
        }
    }
    let in_order = of_class.into_values().flatten().enumerate();
    in_order.map(|(place, series)| (series, place)).collect()
}

/// Every k-th series, counted through the classes one after the other.
fn by_series<'a>(set: &WindowSet<'a>, config: ValidationConfig) -> (WindowSet<'a>, WindowSet<'a>) {
    let places = places(set);
    let held_out: BTreeSet<Series<'_>> =
        places.iter().filter(|(_, place)| holds(**place, config)).map(|(s, _)| *s).collect();
    let part = |is: bool| set.filtered(|w| held_out.contains(&series(set, w)) == is);
    (part(false), part(true))
}

/// Whether a fold has the series of that place: every k-th, or where the share is no k-th, as often as it says.
fn holds(place: usize, ValidationConfig { fraction, fold, .. }: ValidationConfig) -> bool {
    if is_kth(fraction) || fold > 0 {
        return place % ((1.0 / fraction).round().max(1.0) as usize) == fold;
    }
    // How many are held out of so many; just above a whole number is that number.
    let of = |n: usize| (n as f64 * fraction - 1e-9).ceil();
    of(place + 1) > of(place)
}

/// Whether a share is a half, a third, a fourth, …
fn is_kth(fraction: f64) -> bool {
    (1.0 / fraction - (1.0 / fraction).round()).abs() < 1e-6
}

/// A stretch of every segment's rows. A window that is moved at random does not reach into it either.
fn by_time<'a>(set: &WindowSet<'a>, config: ValidationConfig) -> (WindowSet<'a>, WindowSet<'a>) {
    let inside = |w: &Window| {
        let closed = stretch(w, config);
        closed.start <= w.start && w.start + w.len <= closed.end
    };
    let outside = |w: &Window| {
        let closed = stretch(w, config);
        w.start + w.len <= closed.start || closed.end <= w.start
    };
    (set.filtered(outside).kept_out(|w| stretch(w, config)), set.filtered(inside))
}

/// The held-out rows of a window's segment: the last ones for fold 0, those before them for fold 1.
fn stretch(window: &Window, config: ValidationConfig) -> Range<usize> {
    let before = |parts: usize| {
        (window.end as f64 * (1.0 - parts as f64 * config.fraction)).round().max(0.0) as usize
    };
    before(config.fold + 1)..before(config.fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_holds_out_as_many_series_as_it_says() {
        let held = |fraction: f64, fold: usize| -> Vec<usize> {
            let config = ValidationConfig { fold, ..ValidationConfig::share(fraction) };
            (0..100).filter(|&place| holds(place, config)).collect()
        };
        for (fraction, n) in [(0.5, 50), (0.45, 45), (0.4, 40), (0.3, 30), (0.25, 25), (0.01, 1)] {
            assert_eq!(held(fraction, 0).len(), n, "{fraction}");
        }
        for folds in 2..50 {
            let mut all: Vec<usize> =
                (0..folds).flat_map(|f| held(1.0 / folds as f64, f)).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..100), "{folds} folds");
        }
    }
}
