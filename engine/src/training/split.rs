//! Held-out training rows: whole series, or the end of every series.

use std::collections::BTreeMap;

use anyhow::ensure;

use crate::job::{ValidationBy, ValidationConfig};
use crate::windows::{Window, WindowSet};

/// Whether a window is held out; `None` if it belongs to neither part.
type Part<'a> = Box<dyn Fn(&Window) -> Option<bool> + 'a>;

/// Splits labeled training windows into those to train on and those held out.
///
/// By series, each class gives every k-th of its series. By time, the last part of every segment
/// is held out, and windows that reach over the border belong to neither.
///
/// # Errors
/// If a part would be empty.
pub fn split_validation<'a>(
    set: &WindowSet<'a>,
    config: ValidationConfig,
) -> anyhow::Result<(WindowSet<'a>, WindowSet<'a>)> {
    let held_out: Part<'_> = match config.by {
        ValidationBy::Series => by_series(set, config),
        ValidationBy::Time => by_time(config.fraction),
    };
    let mut train = set.filtered(|w| held_out(w) == Some(false));
    if config.by == ValidationBy::Time {
        // A window that is moved at random must not reach held-out rows either.
        train = train.bounded(|w| time_border(w, config.fraction));
    }
    let val = set.filtered(|w| held_out(w) == Some(true));
    ensure!(
        !train.windows().is_empty() && !val.windows().is_empty(),
        "the validation split leaves {} windows to train on and holds out {}; change [train.validation] or bring more data",
        train.windows().len(),
        val.windows().len()
    );
    Ok((train, val))
}

/// Every k-th series of each class, counted from the fold's number.
fn by_series(set: &WindowSet<'_>, config: ValidationConfig) -> Part<'static> {
    let segments = &set.dataset().segments;
    let series =
        |w: &Window| (segments[w.segment].source.clone(), segments[w.segment].series.clone());
    let folds = config.folds();
    let mut fold_of = BTreeMap::new();
    let mut seen_of_class = BTreeMap::new();
    for window in set.windows() {
        fold_of.entry(series(window)).or_insert_with(|| {
            let seen = seen_of_class.entry(window.label).or_insert(0_usize);
            *seen += 1;
            (*seen - 1) % folds
        });
    }
    let by_segment: BTreeMap<usize, bool> = set
        .windows()
        .iter()
        .map(|w| (w.segment, fold_of.get(&series(w)) == Some(&config.fold)))
        .collect();
    Box::new(move |w| by_segment.get(&w.segment).copied())
}

/// The last `fraction` of every segment's rows.
fn by_time(fraction: f64) -> Part<'static> {
    Box::new(move |w| {
        let border = time_border(w, fraction);
        if w.start >= border { Some(true) } else { (w.start + w.len <= border).then_some(false) }
    })
}

/// The first held-out row of a window's segment.
fn time_border(window: &Window, fraction: f64) -> usize {
    ((window.end as f64) * (1.0 - fraction)).round() as usize
}
