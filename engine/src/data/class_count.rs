//! How many classes are too many: a label that is another one in nearly every row is no class.

use std::collections::HashSet;

use anyhow::ensure;

use super::config::{DataConfig, Format};
use super::dataset::Dataset;
use super::labels::Labels;

/// Most classes that a model may have: a few numbers of each are kept, and its name is in every file.
pub const MAX_CLASSES: usize = 10_000;

/// So few classes are believed of however few rows.
const FEW: usize = 20;

/// How many names of classes a message shows.
const SHOWN: usize = 3;

/// Checks that the classes of a data set are classes: no more than 20, or at most half as many as
/// there are labels to learn them from in the `training` segments. One label counts for each row that
/// has one, and where all rows of a segment have the same, for each window that is cut from it:
/// `windows` are their segments. A sample of a `.ts` file, as a row of a wide table, is mostly one.
///
/// # Errors
/// If there are more, which a number to be predicted has, or a name of each row; or more than
/// [`MAX_CLASSES`].
pub fn check_classes(
    dataset: &Dataset,
    config: &DataConfig,
    training: &[usize],
    windows: impl Iterator<Item = usize>,
) -> anyhow::Result<()> {
    let mut n_windows_of = vec![0_usize; dataset.segments.len()];
    windows.for_each(|segment| n_windows_of[segment] += 1);
    let mut found = HashSet::new();
    let (mut n_windows, mut n_rows) = (0, 0);
    for &i in training {
        match &dataset.segments[i].labels {
            Labels::One(class) if n_windows_of[i] > 0 => {
                n_windows += n_windows_of[i];
                found.insert(*class);
            }
            Labels::None | Labels::One(_) => {}
            Labels::PerRow(rows) => {
                n_rows += rows.iter().flatten().count();
                found.extend(rows.iter().flatten());
            }
        }
    }
    let (n_labels, n_found) = (n_windows + n_rows, found.len());
    let units = if n_rows > 0 { "labeled rows" } else { "labeled windows" };
    let source = training.first().map(|&i| &dataset.segments[i].source);
    let path = source.map(|path| path.display().to_string()).unwrap_or_default();
    let is_ts = source.is_some_and(|path| path.extension().is_some_and(|end| end == "ts"));
    let column = match &config.label {
        _ if is_ts || config.format == Format::Ts => "the class label (@classLabel)".to_owned(),
        Some(column) => format!("the label column {column:?}"),
        None => "the label column \"label\"".to_owned(),
    };
    let shown: Vec<&str> = dataset.classes.iter().take(SHOWN).map(String::as_str).collect();
    let shown = shown.join(", ");
    ensure!(
        n_found <= FEW || 2 * n_found <= n_labels,
        "{path}: {column} holds {n_found} different values ({shown}, …) in {n_labels} {units}: that is \
         no class but a number or a name of nearly each one; name a column of classes as data.label, or \
         sort its values into classes of at least two rows or windows each"
    );
    let n_classes = dataset.classes.len();
    ensure!(
        n_classes <= MAX_CLASSES,
        "{path}: {column} holds {n_classes} different values ({shown}, …); a model may have at most \
         {MAX_CLASSES} classes; sort its values into fewer"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Segment, Split};

    fn dataset(labels: Vec<Labels>, n_classes: u32) -> Dataset {
        let segment = |labels| Segment {
            source: "d/x.csv".into(),
            node: None,
            series: "1".to_owned(),
            split: Split::Unmarked,
            first_line: 1,
            values: vec![0.0],
            times: None,
            in_seconds: false,
            rate_hz: None,
            labels,
        };
        Dataset {
            channels: vec!["x".to_owned()],
            classes: (0..n_classes).map(|c| c.to_string()).collect(),
            segments: labels.into_iter().map(segment).collect(),
            readings: Vec::new(),
            preprocessed: false,
        }
    }

    /// With so many windows of each segment.
    fn check(labels: Vec<Labels>, n_classes: u32, n_windows: usize) -> Result<(), String> {
        let all: Vec<usize> = (0..labels.len()).collect();
        let windows = all.iter().flat_map(|&i| std::iter::repeat_n(i, n_windows));
        let dataset = dataset(labels, n_classes);
        let checked = check_classes(&dataset, &DataConfig::default(), &all, windows);
        checked.map_err(|e| e.to_string())
    }

    /// So many series, with classes in turn.
    fn series(n_series: u32, n_classes: u32) -> Vec<Labels> {
        (0..n_series).map(|i| Labels::One(i % n_classes)).collect()
    }

    #[test]
    fn a_class_has_two_windows_unless_there_are_few() {
        for (n_series, n_classes) in
            [(1, 1), (6, 6), (20, 20), (42, 21), (104, 52), (20_000, 10_000)]
        {
            assert_eq!(check(series(n_series, n_classes), n_classes, 1), Ok(()));
        }
        for (n_series, n_classes) in [(21, 21), (41, 21), (103, 52), (3000, 2996)] {
            let error = check(series(n_series, n_classes), n_classes, 1).unwrap_err();
            let says = format!("{n_classes} different values (0, 1, 2, …) in {n_series} labeled");
            assert!(error.contains("d/x.csv: the label column \"label\"") && error.contains(&says));
            // A long recording of each class is another matter, and one without a window is none.
            assert_eq!(check(series(n_series, n_classes), n_classes, 2), Ok(()));
            assert_eq!(check(series(n_series, n_classes), n_classes, 0), Ok(()));
        }
        let error = check(series(30_000, 10_001), 10_001, 1).unwrap_err();
        assert!(error.contains("at most 10000 classes"), "{error}");
    }

    #[test]
    fn rows_count_where_labels_differ() {
        let rows = |n: u32, k: u32| Labels::PerRow((0..n).map(|i| Some(i % k)).collect());
        assert_eq!(check(vec![rows(60, 30)], 30, 1), Ok(()));
        assert!(check(vec![rows(59, 30)], 30, 9).unwrap_err().contains("in 59 labeled rows"));
        let mut sparse: Vec<Option<u32>> = (0..30).map(Some).collect();
        sparse.resize(1000, None);
        assert!(
            check(vec![Labels::PerRow(sparse)], 30, 1).is_err(),
            "rows without a label are none"
        );
    }
}
