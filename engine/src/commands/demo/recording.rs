//! One person's recording: the first part of every series is known from before, the rest is played.

use std::collections::HashMap;
use std::path::Path;

use aggregate::atomic_write;
use anyhow::{Context, ensure};

use crate::data::{DataConfig, Dataset, Labels, Scaled, Segment, Split};

/// The share of every series that is known from before.
const KNOWN: f64 = 0.4;

/// The share of what is played whose classes are told later.
const TOLD: f64 = 0.6;

/// Rows of a window, counted from the first that is played, through all laps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) first: usize,
    pub(super) last: usize,
    /// Rows of the series in a lap.
    pub(super) lap: usize,
}

impl Rows {
    /// Whether all of them are of the first lap.
    pub(super) fn is_before(self) -> bool {
        self.last < self.lap
    }

    /// Whether all of them are of later laps.
    pub(super) fn is_after(self) -> bool {
        self.first >= self.lap
    }

    /// Whether classes are told of all of them: those of the first part of each lap.
    pub(super) fn are_told(self) -> bool {
        self.is_of_one_lap() && self.last % self.lap < self.n_told()
    }

    /// Whether classes are told of none of them.
    pub(super) fn are_apart(self) -> bool {
        self.is_of_one_lap() && self.first % self.lap >= self.n_told()
    }

    fn is_of_one_lap(self) -> bool {
        self.first / self.lap == self.last / self.lap
    }

    fn n_told(self) -> usize {
        (TOLD * self.lap as f64) as usize
    }
}

/// What is played, with the class of each row.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) data: Dataset,
    series: HashMap<String, Labels>,
    /// Rows of the longest series.
    pub(super) longest: usize,
    n_rows: HashMap<String, usize>,
}

impl Recording {
    /// Of data that [`cut_in_two`] wrote.
    pub(super) fn read(path: &Path, config: &DataConfig) -> anyhow::Result<Self> {
        let data = Dataset::read(&[path.to_owned()], &config.of_written(), None)?;
        let n = data.channels.len();
        let segments = data.segments.iter();
        let series = segments.clone().map(|s| (s.series.clone(), s.labels.clone())).collect();
        let n_rows: HashMap<_, _> = segments.map(|s| (s.series.clone(), s.n_rows(n))).collect();
        let longest = n_rows.values().copied().max().unwrap_or(0);
        Ok(Self { data, series, longest, n_rows })
    }

    /// Series that are played at the same time.
    pub(super) fn n_series(&self) -> usize {
        self.n_rows.len()
    }

    /// The rows of a window that ends at a time, which is the number of its last row.
    pub(super) fn rows(&self, series: &str, t: f64, len: usize) -> Option<Rows> {
        let (lap, last) = (*self.n_rows.get(series)?, t as usize);
        (t.fract() == 0.0 && last + 1 >= len).then(|| Rows { first: last + 1 - len, last, lap })
    }

    /// The class of these rows, if they are all of one.
    pub(super) fn class(&self, series: &str, rows: Rows) -> Option<&str> {
        let labels = self.series.get(series)?;
        let mut classes = (rows.first..=rows.last).map(|row| labels.at(row % rows.lap));
        let class = classes.next()??;
        classes
            .all(|other| other == Some(class))
            .then(|| self.data.classes[class as usize].as_str())
    }
}

/// Writes what is known from before, and what is played.
///
/// # Errors
/// If rows have no classes, a series is too short for some windows in each part, or a file cannot be written.
pub(super) fn cut_in_two(
    (person, path): (&Dataset, &Path),
    config: &DataConfig,
    len: usize,
    [earlier, later]: [&Path; 2],
) -> anyhow::Result<()> {
    ensure!(
        !person.classes.is_empty(),
        "{}: its rows have no classes, which the demo tells when drift was found",
        path.display()
    );
    let mut parts = [Vec::new(), Vec::new()];
    for whole in merged(person) {
        let n = whole.n_rows(person.channels.len());
        let cut = (KNOWN * n as f64) as usize;
        // Shorter ones have no window.
        for (part, rows) in parts.iter_mut().zip([0..cut, cut..n]) {
            if rows.len() >= len {
                let values = rows.start * person.channels.len()..rows.end * person.channels.len();
                let values = whole.values[values].to_vec();
                let labels = Labels::PerRow(rows.map(|row| whole.labels.at(row)).collect());
                part.push(Segment { values, labels, times: None, ..whole.clone() });
            }
        }
    }
    for (segments, to) in parts.into_iter().zip([earlier, later]) {
        ensure!(
            !segments.is_empty(),
            "{}: its series are too short: {len} rows are a window, and {:.0} % of a series are known from before",
            path.display(),
            100.0 * KNOWN
        );
        let part = Dataset { segments, ..person.clone() };
        let mut table = Vec::new();
        let plain = |segment: &Segment| Ok(Scaled::plain(segment));
        part.write_long((config, &part.channels), plain, &mut table)?;
        atomic_write(to, &table).with_context(|| format!("{}", to.display()))?;
    }
    Ok(())
}

/// Every series whole, whatever its rows are for.
fn merged(data: &Dataset) -> Vec<Segment> {
    let mut found: Vec<Segment> = Vec::new();
    for segment in &data.segments {
        let labels = (0..segment.n_rows(data.channels.len())).map(|row| segment.labels.at(row));
        let same = found.last_mut().filter(|last| last.series == segment.series);
        match same {
            Some(last) => {
                last.values.extend_from_slice(&segment.values);
                if let Labels::PerRow(rows) = &mut last.labels {
                    rows.extend(labels);
                }
            }
            None => found.push(Segment {
                labels: Labels::PerRow(labels.collect()),
                split: Split::Unmarked,
                times: None,
                ..segment.clone()
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_whose_class_is_told_is_set_apart() {
        let rows = |first| Rows { first, last: first + 9, lap: 50 };
        assert!(rows(0).is_before() && rows(40).is_before() && !rows(41).is_before());
        assert!(!rows(49).is_after() && rows(50).is_after());
        for lap in [0, 50, 150] {
            let of = |first: usize| (rows(lap + first).are_told(), rows(lap + first).are_apart());
            assert_eq!([of(0), of(20)], [(true, false); 2]);
            assert_eq!([of(21), of(29), of(41), of(49)], [(false, false); 4], "on the edge");
            assert_eq!([of(30), of(40)], [(false, true); 2]);
        }
    }

    #[test]
    fn the_first_part_is_known_and_the_rest_is_played() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mut text = "series,t,label,split,x\n".to_owned();
        for t in 0..10 {
            text += &format!("a,{t},u,{},{t}\n", if t < 7 { "train" } else { "test" });
        }
        for t in 0..10 {
            text += &format!("b,{t},{},train,{}\n", if t < 8 { "u" } else { "v" }, 10 + t);
        }
        std::fs::write(at("p.csv"), text).expect("written");
        let config = DataConfig::default();
        let person = Dataset::read(&[at("p.csv")], &config, None).expect("read");
        let [earlier, later] = ["earlier.csv", "later.csv"].map(at);
        let cut = |len| cut_in_two((&person, &at("p.csv")), &config, len, [&earlier, &later]);
        cut(2).expect("cut");
        let before = Dataset::read(std::slice::from_ref(&earlier), &config, None).expect("read");
        assert_eq!(before.segments[0].values, [0.0, 1.0, 2.0, 3.0]);
        let recording = Recording::read(&later, &config).expect("read");
        assert_eq!((recording.n_series(), recording.longest), (2, 6));
        assert_eq!(recording.data.segments[1].values, [14.0, 15.0, 16.0, 17.0, 18.0, 19.0]);
        let class = |series: &str, t| {
            let rows = recording.rows(series, t, 2)?;
            recording.class(series, rows)
        };
        assert_eq!(class("a", 5.0), Some("u"));
        assert_eq!(
            (class("b", 3.0), class("b", 4.0), class("b", 5.0)),
            (Some("u"), None, Some("v"))
        );
        assert_eq!((class("b", 9.0), class("b", 0.0), class("c", 3.0)), (Some("u"), None, None));
        assert!(cut(7).expect_err("too short").to_string().contains("too short"));
    }
}
