//! What was read: series in segments, channels, classes, and the nodes they belong to.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::files;
use super::labels::Labels;
use super::reading::FileRead;
use super::split::Split;

/// All data of a job, with one list of channels and one of classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Names of the channels, in the order of every segment's values.
    pub channels: Vec<String>,
    /// Names of the classes: the expected ones in their order; else those of the files, sorted as
    /// numbers if all are numbers and as text if not.
    pub classes: Vec<String>,
    /// The segments, in the order of the files and of the series within a file.
    pub segments: Vec<Segment>,
    /// How each file was read.
    pub readings: Vec<FileRead>,
    /// Whether the values are what `edgectl preprocess` wrote: scaled already, step by step of rows.
    pub preprocessed: bool,
}

/// A run of rows of one series with one split: what a window may not leave.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The file.
    pub source: PathBuf,
    /// What the node column says, if there is such a column.
    pub node: Option<String>,
    /// The series: what the series column says, else the number of the sample, else the file's
    /// stem.
    pub series: String,
    /// Whether to train or to test on these rows.
    pub split: Split,
    /// The line of the file where the first row is; the file's first line is 1.
    pub first_line: usize,
    /// `[n_rows, channels]`, row by row; NaN is a missing value.
    pub values: Vec<f64>,
    /// The rows' times, which do not decrease: dates as seconds since 1970, numbers in seconds where the
    /// column's name says their unit, else as they stand. Wide tables and `.ts` files have none.
    pub times: Option<Vec<f64>>,
    /// Whether these are seconds.
    pub in_seconds: bool,
    /// Samples a second, where the file declares it.
    pub rate_hz: Option<f64>,
    /// The rows' labels.
    pub labels: Labels,
}

/// What a trained model expects of the data.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The channels it reads, in its order.
    pub channels: &'a [String],
    /// The classes it knows, in its order; with none, labels are not read.
    pub classes: &'a [String],
}

/// A node by its name, and its part of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What the node column says, else the file's stem without `_TRAIN` or `test_`. Where files in
    /// different directories have the same stem, the directory's name comes before it.
    pub name: String,
    /// Indexes into [`Dataset::segments`].
    pub segments: Vec<usize>,
}

impl Dataset {
    /// The nodes in the order in which they first appear: by the node column where there is one,
    /// else by file, an `X_TRAIN` and an `X_TEST` beside each other being one, or files of one name in
    /// folders `train` and `test`. Their names are
    /// distinct.
    pub fn nodes(&self) -> Vec<Node> {
        let mut keys: Vec<(Option<&Path>, String)> = Vec::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        let mut places = HashMap::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let key = if let Some(node) = &segment.node {
                (None, node.clone())
            } else {
                let named = files::Named::of(&segment.source);
                (named.home, named.stem)
            };
            let place = *places.entry(key.clone()).or_insert(keys.len());
            if place == keys.len() {
                keys.push(key);
                members.push(Vec::new());
            }
            members[place].push(index);
        }
        let names = distinct_names(&keys);
        names.into_iter().zip(members).map(|(name, segments)| Node { name, segments }).collect()
    }
}

impl Segment {
    /// Where it is, for a message.
    pub fn place(&self) -> String {
        format!("{}: series {}", self.source.display(), self.series)
    }

    /// How many rows the segment has, given the number of channels.
    pub fn n_rows(&self, n_channels: usize) -> usize {
        self.values.len() / n_channels.max(1)
    }
}

/// Each key's name; with its directory's where the name is taken more than once, and a number where
/// that is not enough.
fn distinct_names(keys: &[(Option<&Path>, String)]) -> Vec<String> {
    let mut count = HashMap::new();
    for (_, name) in keys {
        *count.entry(name).or_insert(0) += 1;
    }
    let mut taken = HashSet::new();
    let mut names = Vec::with_capacity(keys.len());
    for (directory, name) in keys {
        let directory = directory.and_then(Path::file_name).filter(|_| count[name] > 1);
        let full = directory
            .map_or_else(|| name.clone(), |directory| format!("{}_{name}", directory.display()));
        let mut candidate = full.clone();
        let mut number = 2;
        while !taken.insert(candidate.clone()) {
            candidate = format!("{full}_{number}");
            number += 1;
        }
        names.push(candidate);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(source: &str, node: Option<&str>) -> Segment {
        Segment {
            source: source.into(),
            node: node.map(str::to_owned),
            series: "1".to_owned(),
            split: Split::Unmarked,
            first_line: 1,
            values: vec![0.0; 6],
            times: None,
            in_seconds: false,
            rate_hz: None,
            labels: Labels::None,
        }
    }

    fn nodes(segments: &[(&str, Option<&str>)]) -> Vec<(String, Vec<usize>)> {
        let segments = segments.iter().map(|(source, node)| segment(source, *node)).collect();
        let data = Dataset {
            channels: vec!["x".to_owned()],
            classes: Vec::new(),
            segments,
            readings: Vec::new(),
            preprocessed: false,
        };
        data.nodes().into_iter().map(|node| (node.name, node.segments)).collect()
    }

    fn named(name: &str, segments: &[usize]) -> (String, Vec<usize>) {
        (name.to_owned(), segments.to_vec())
    }

    #[test]
    fn files_are_nodes_and_train_with_test_is_one() {
        assert_eq!(
            nodes(&[
                ("d/P_TEST.ts", None),
                ("d/P_TRAIN.ts", None),
                ("d/q.csv", None),
                ("d/P_TEST.ts", None)
            ]),
            [named("P", &[0, 1, 3]), named("q", &[2])]
        );
        assert_eq!(
            nodes(&[("d/train/x.csv", None), ("d/test/x.csv", None), ("d/test_x.csv", None)]),
            [named("x", &[0, 1, 2])]
        );
        assert_eq!(nodes(&[("d/train.csv", None), ("d/test.csv", None)]), [named("d", &[0, 1])]);
    }

    #[test]
    fn a_node_column_goes_before_the_file() {
        assert_eq!(
            nodes(&[("a.csv", Some("1")), ("a.csv", Some("0")), ("b.csv", Some("1"))]),
            [named("1", &[0, 2]), named("0", &[1])]
        );
    }

    #[test]
    fn node_names_are_distinct() {
        assert_eq!(
            nodes(&[("a/x.csv", None), ("b/x.csv", None)]),
            [named("a_x", &[0]), named("b_x", &[1])]
        );
        assert_eq!(
            nodes(&[("x.csv", None), ("x.csv", Some("x"))]),
            [named("x", &[0]), named("x_2", &[1])]
        );
        assert_eq!(
            nodes(&[("1/a/x.csv", None), ("2/a/x.csv", None)]),
            [named("a_x", &[0]), named("a_x_2", &[1])]
        );
    }

    #[test]
    fn rows_are_counted_by_channels() {
        assert_eq!(segment("a.csv", None).n_rows(2), 3);
    }
}
