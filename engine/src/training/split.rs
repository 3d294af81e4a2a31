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
        "the validation split leaves {n_train} windows to train on and holds out {n_held_out}; change [train.validation] or bring more data"
    );
    let (fold, folds) = (config.fold, config.folds());
    let report = HeldOut { by, fold, folds, windows: n_held_out, of_training: n_train };
    Ok(Split { train, held_out, report })
}

/// By series, if there are enough for all folds and every class has some in both parts; else by time, if
/// series have windows enough for that.
fn chosen(set: &WindowSet<'_>, config: ValidationConfig) -> ValidationBy {
    let mut of_class: BTreeMap<Option<u32>, BTreeSet<Series<'_>>> = BTreeMap::new();
    for window in set.windows() {
        of_class.entry(window.label).or_default().insert(series(set, window));
    }
    let all: BTreeSet<&Series<'_>> = of_class.values().flatten().collect();
    if all.len() >= config.folds() && of_class.values().all(|own| own.len() > 1) {
        return ValidationBy::Series;
    }
    let (train, held_out) = by_time(set, config);
    let empty = train.windows().is_empty() || held_out.windows().is_empty();
    if empty { ValidationBy::Series } else { ValidationBy::Time }
}

/// A series by its file and its name.
type Series<'a> = (&'a Path, &'a str);

fn series<'a>(set: &WindowSet<'a>, window: &Window) -> Series<'a> {
    let segment = &set.dataset().segments[window.segment];
    (segment.source.as_ref(), segment.series.as_ref())
}

/// Every k-th series, counted through the classes one after the other, so that each class is spread over the folds
/// as evenly as can be.
fn by_series<'a>(set: &WindowSet<'a>, config: ValidationConfig) -> (WindowSet<'a>, WindowSet<'a>) {
    let mut of_class: BTreeMap<Option<u32>, Vec<Series<'_>>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for window in set.windows() {
        let series = series(set, window);
        if seen.insert(series) {
            of_class.entry(window.label).or_default().push(series);
        }
    }
    let in_order = of_class.into_values().flatten().enumerate();
    let held_out: BTreeSet<Series<'_>> = in_order
        .filter(|(place, _)| place % config.folds() == config.fold)
        .map(|(_, series)| series)
        .collect();
    let part = |is: bool| set.filtered(|w| held_out.contains(&series(set, w)) == is);
    (part(false), part(true))
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
