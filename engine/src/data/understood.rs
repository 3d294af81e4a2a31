//! What was taken from the data: shown, since what a reader guessed may be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::dataset::Dataset;
use super::digits::{six_digits, some};
use super::notes::{Notes, SplitCell, TextFound};
use super::rate::is_same;
use super::reading::{Clock, FileRead, Reading, Roles};
use super::strange;
use super::tally::{Counted, Tally, TimesTally};

/// Files that were read in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilesRead {
    /// How many.
    pub files: usize,
    /// The first of them.
    pub first: String,
    /// How.
    #[serde(flatten)]
    pub reading: Reading,
}

/// A channel, and what its values are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelFound {
    /// Its name.
    pub name: String,
    /// The smallest value; none if all are missing.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// How many values are missing.
    pub missing: usize,
}

/// A class, and how often it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassFound {
    /// Its name.
    pub name: String,
    /// Labeled rows; samples where a row of the file is a whole sample.
    pub rows: usize,
}

/// The times of the rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimesFound {
    /// The earliest; seconds since 1970 for dates.
    pub first: f64,
    /// The latest.
    pub last: f64,
    /// The usual step from row to row: the median of the first ones.
    pub step: Option<f64>,
    /// Whether they are in seconds; else they are numbers in a unit that nobody says.
    pub seconds: bool,
    /// Whether they are dates.
    pub dates: bool,
}

/// What rows are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitFound {
    /// What says so; nothing if nothing does.
    pub by: Vec<String>,
    /// Runs of rows to train on.
    pub train: Counted,
    /// Those for the test.
    pub test: Counted,
    /// Those of which nothing is said, which are trained on.
    pub unmarked: Counted,
}

/// What was taken from the data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Understood {
    /// The files, by how they were read.
    pub read: Vec<FilesRead>,
    /// The series, or samples.
    pub series: usize,
    /// The time steps of all of them.
    pub steps: usize,
    /// Series by their names, where a row is a time step; a series of several runs counts once.
    pub distinct_series: usize,
    /// The nodes they are of.
    pub nodes: usize,
    /// What they are for.
    pub split: SplitFound,
    /// Rows that `data.where` leaves out.
    pub not_wanted: usize,
    /// Every channel.
    pub channels: Vec<ChannelFound>,
    /// Columns of text, where a description passes them over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<TextFound>,
    /// Every class.
    pub classes: Vec<ClassFound>,
    /// The times, where rows have some.
    pub times: Option<TimesFound>,
    /// Rows a second: as the files declare it, else by the usual step, where times are in seconds.
    pub rate_hz: Option<f64>,
    /// Steps of more than one and a half usual ones.
    pub gaps: usize,
    /// Rows that have the time of the row before in their series.
    pub doubled_times: usize,
    /// Rows whose time is before that of the row before in their series, where a description goes on.
    #[serde(skip_serializing_if = "is_zero")]
    pub backward_times: usize,
    /// Cells of the split column that say neither train nor test, where a description goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_splits: Vec<SplitCell>,
    /// Rows that a table of labels or splits leaves out.
    pub left_out: usize,
    /// What is likely not as it should be.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Understood {
    /// What is in a data set, and what is strange about it.
    pub fn of(dataset: &Dataset) -> Self {
        let places: Vec<u32> = (0..dataset.classes.len() as u32).collect();
        let classes = (&dataset.classes[..], &places[..]);
        Self::new(Tally::of(dataset), &dataset.readings, &dataset.channels, classes)
    }

    /// What was counted; classes with the place of each label's index among them.
    pub(super) fn new(
        mut tally: Tally,
        files: &[FileRead],
        channels: &[String],
        (classes, places): (&[String], &[u32]),
    ) -> Self {
        let mut warnings = strange::of(&tally, files, channels, (classes, places));
        let split = SplitFound::of(&tally, files);
        warnings.extend(split.one_sided());
        let channels = channels.iter().enumerate().map(|(channel, name)| {
            let counted = tally.channels.get(channel);
            let range = counted.and_then(|counted| counted.range);
            ChannelFound {
                name: name.clone(),
                min: range.map(|(min, _)| min),
                max: range.map(|(_, max)| max),
                missing: counted.map_or(0, |counted| counted.missing),
            }
        });
        let channels = channels.collect();
        let named = classes.iter().zip(tally.labels(places));
        let classes = named.map(|(name, rows)| ClassFound { name: name.clone(), rows }).collect();
        let TimesTally { paced, clock, rates_hz, steps } = tally.times();
        let rate_hz = rates_hz.filter(|&(low, high)| is_same(low, high)).map(|(low, _)| low);
        if let Some((low, high)) = rates_hz.filter(|_| rate_hz.is_none()) {
            warnings.push(format!(
                "the files declare different rates, from {} to {} rows a second, so that windows of as \
                 many rows are not of one length in time; bring them to one rate (videos by data.frames.fps)",
                six_digits(low),
                six_digits(high)
            ));
        }
        if let Some((low, high)) = steps.filter(|_| clock != Clock::Numbers) {
            warnings.push(format!(
                "the usual steps of the files are not alike, from {} s to {} s, so that windows of as many rows \
                 are not of one length in time; bring them to one rate, or read them on their own",
                six_digits(low),
                six_digits(high)
            ));
        }
        let times = paced.map(|paced| TimesFound {
            first: paced.first,
            last: paced.last,
            step: paced.step,
            seconds: clock != Clock::Numbers,
            dates: clock == Clock::Dates,
        });
        let by_step = times.as_ref().filter(|times| times.seconds).and_then(|times| times.step);
        Self {
            read: grouped(files),
            series: tally.series,
            steps: tally.steps,
            distinct_series: tally.distinct_series(),
            nodes: tally.n_nodes(),
            split,
            not_wanted: files.iter().map(|file| file.not_wanted).sum(),
            channels,
            texts: Vec::new(),
            classes,
            times,
            rate_hz: rate_hz.or(by_step.map(|step| 1.0 / step)),
            gaps: paced.map_or(0, |paced| paced.gaps),
            left_out: files.iter().map(|file| file.left_out).sum(),
            doubled_times: files.iter().map(|file| file.doubled_times).sum(),
            backward_times: 0,
            unknown_splits: Vec::new(),
            warnings,
        }
    }

    /// With the rate that a job says, which goes before what the data says.
    #[must_use]
    pub fn at_rate(mut self, said_hz: Option<f64>) -> Self {
        if let (Some(said), Some(own)) = (said_hz, self.rate_hz)
            && !is_same(said, own)
        {
            self.warnings.push(format!(
                "the job says {} rows a second, but the data itself {}: filters and seconds are wrong by as \
                 much; correct data.sample_rate_hz, or leave it out",
                six_digits(said),
                six_digits(own)
            ));
        }
        self.rate_hz = said_hz.or(self.rate_hz);
        self
    }

    /// Adds what a description noted where training refuses, with what a job is to say.
    pub(super) fn add(&mut self, notes: &Notes, files: &[FileRead]) {
        (self.texts, self.unknown_splits) = (notes.texts_found(), notes.splits_found());
        self.backward_times = notes.backwards;
        let roles = |role: fn(&Roles) -> &Option<String>| {
            files.iter().find_map(|file| role(&file.reading.roles).clone()).unwrap_or_default()
        };
        if !self.texts.is_empty() {
            let names = self.texts.iter().map(|text| format!("{:?}", text.name));
            self.warnings.push(format!(
                "the columns {} hold text and are passed over here; training refuses them: name one as \
                 data.series, data.label or data.node, and list the others in data.ignore, or the columns of \
                 values in data.channels",
                some(names)
            ));
        }
        if !self.unknown_splits.is_empty() {
            let cells = self.unknown_splits.iter();
            let cells = cells.map(|found| format!("{:?} in {} rows", found.cell, found.rows));
            let column = roles(|roles| &roles.split);
            self.warnings.push(format!(
                "the column {column:?} says neither train nor test but {}, which is taken for unmarked here; \
                 training refuses it: list the cells of rows for the test and of rows to train on, so that others \
                 are left out, as in data.split = {{ column = {column:?}, test = [\"test\"], train = [\"train\"] }}",
                some(cells)
            ));
        }
        let Some(file) = files.iter().find(|file| file.first_backwards.is_some()) else { return };
        let seem = match &notes.of_series()[..] {
            [] => String::new(),
            names => format!(", which {} seems to do", names.join(" or ")),
        };
        self.warnings.push(format!(
            "{}: line {}: time runs backwards, as in {} rows, so that gaps and rates mean little; training \
             refuses it: name the column that separates series in data.series{seem}, or sort the rows",
            file.path.display(),
            file.first_backwards.unwrap_or_default(),
            self.backward_times
        ));
    }
}

impl SplitFound {
    fn of(tally: &Tally, files: &[FileRead]) -> Self {
        let by: BTreeSet<&String> =
            files.iter().filter_map(|file| file.reading.selection.split_by.as_ref()).collect();
        let [train, test, unmarked] = tally.splits;
        let mut by: Vec<String> = by.into_iter().cloned().collect();
        if by.is_empty() && test.series > 0 {
            by.push("a table of labels or splits".to_owned());
        }
        Self { by, train, test, unmarked }
    }

    /// A split that leaves nothing on one side.
    fn one_sided(&self) -> Option<String> {
        let (side, of) = match (self.train.series + self.unmarked.series, self.test.series) {
            (0, 0) => return None,
            (_, 0) => ("for the test", "test"),
            (0, _) => ("to train on", "train"),
            _ => return None,
        };
        let by = self.by.first()?;
        // Of files that say it by their names, or a column of the words, one kind alone is nothing strange.
        let of_job = ["chance", "the order", "time"].iter().any(|word| by.starts_with(word));
        (of_job || by.contains("(test: ")).then(|| {
            format!(
                "the split by {by} leaves no row {side}; correct data.split to have some to {of}"
            )
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// The files by how they were read.
fn grouped(files: &[FileRead]) -> Vec<FilesRead> {
    let mut found: BTreeMap<&Reading, (usize, &Path)> = BTreeMap::new();
    for file in files {
        found.entry(&file.reading).or_insert((0, &file.path)).0 += 1;
    }
    let files = found.into_iter().map(|(reading, (files, first))| FilesRead {
        files,
        first: first.display().to_string(),
        reading: reading.clone(),
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, read_inline};
    use super::*;

    fn understood(files: &[(&str, &str)]) -> Understood {
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|&(n, text)| (n, text.as_bytes())).collect();
        Understood::of(&read_inline(&files, &DataConfig::default(), None).unwrap())
    }

    #[test]
    fn what_was_read_is_told() {
        let text = "series,t,label,x,y\n1,0,a,1,-2\n1,1,b,,3\n";
        let found = understood(&[("a.csv", text), ("b.csv", text)]);
        assert_eq!(
            found.lines(),
            [
                "a.csv and 1 more: read as a long table: each row is a time step; series from \
                 \"series\"; time from \"t\"; label from \"label\"",
                "4 steps in 2 runs of rows of 2 nodes; channels: x 1 to 1 (2 missing), y -2 to 3",
                "classes, with their rows: a 2, b 2",
                "split: nothing marks rows for the test, so all are trained on; data.split says some",
            ]
        );
        assert_eq!(found.warnings, [""; 0]);
        let found = understood(&[("a.csv", "clock,x,label\n1,2,a\n2,3,b\n")]);
        assert!(found.lines()[0].contains("a wide table: each row is a sample"), "{found:?}");
        assert_eq!(found.classes[0], ClassFound { name: "a".to_owned(), rows: 1 });
    }

    #[test]
    fn what_says_nothing_or_too_much_is_told() {
        let row = |i: usize| {
            let label = ["none", "fall", "turn"][i / 20 % 3];
            let event = if label == "none" { -1 } else { i32::try_from(i / 20).unwrap() };
            format!("{label},{event},7,{}\n", (i * 7) % 5)
        };
        let text = format!("label,event,unit,x\n{}", (0..240).map(row).collect::<String>());
        let text = text.replace("label,", "label,t_s,").replace("\nnone,", "\nnone,0,");
        let text = text.replace("\nfall,", "\nfall,0,").replace("\nturn,", "\nturn,0,");
        let found = understood(&[("a.csv", &text)]);
        let has = |words: &str| found.warnings.iter().filter(|w| w.contains(words)).count();
        assert_eq!(has("the channel \"unit\" has one value"), 1, "{found:?}");
        assert_eq!(has("\"event\" is -1 in all rows of class \"none\""), 1, "{found:?}");
        assert_eq!(has("\"x\""), 0, "{found:?}");
        assert_eq!((found.distinct_series, found.nodes), (1, 1));
    }

    #[test]
    fn a_channel_that_only_grows_is_a_clock() {
        let rows = |stamp: fn(usize) -> f64| {
            let row = |i: usize| format!("{},{},{}\n", i / 10, stamp(i), (i * 7) % 5);
            format!("series,stamp,x\n{}", (0..120).map(row).collect::<String>())
        };
        let warned = |text: &str| understood(&[("a.csv", text)]).warnings.len();
        assert_eq!(warned(&rows(|i| 1.4e9 + 40.0 * i as f64)), 1, "in steps that f32 cannot tell");
        assert_eq!(warned(&rows(|i| i as f64)), 1);
        assert_eq!(warned(&rows(|i| (i % 10) as f64)), 1, "from anew in each series");
        assert_eq!(warned(&rows(|_| 3.0)), 1, "no clock, but nothing else either");
        assert_eq!(warned(&rows(|i| if i == 17 { 0.0 } else { i as f64 })), 0);
        assert_eq!(warned(&rows(|i| (i / 60) as f64)), 0, "a step is no clock");
    }
}
