//! What was taken from the data: shown, since what a reader guessed may be wrong.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::dataset::{Dataset, Segment};
use super::reading::{Layout, Reading, Roles};

/// How many names a line shows; `--json` has all.
const SHOWN: usize = 12;

/// Rises that a channel which never falls must have to be taken for a clock or a counter.
const MANY_RISES: usize = 16;

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
    pub min: Option<f32>,
    /// The largest.
    pub max: Option<f32>,
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

/// What was taken from the data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Understood {
    /// The files, by how they were read.
    pub read: Vec<FilesRead>,
    /// The series, or samples.
    pub series: usize,
    /// The time steps of all of them.
    pub steps: usize,
    /// Every channel.
    pub channels: Vec<ChannelFound>,
    /// Every class.
    pub classes: Vec<ClassFound>,
    /// What is likely not as it should be.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Understood {
    /// What is in a data set, and what is strange about it.
    pub fn of(dataset: &Dataset) -> Self {
        let channels: Vec<ChannelFound> =
            (0..dataset.channels.len()).map(|channel| found(dataset, channel)).collect();
        let classes = classes(dataset);
        let mut warnings = growing(dataset);
        warnings.extend(alike(&dataset.classes));
        let n_rows = |segment: &Segment| segment.n_rows(dataset.channels.len());
        Self {
            read: files(&dataset.readings),
            series: dataset.segments.len(),
            steps: dataset.segments.iter().map(n_rows).sum(),
            channels,
            classes,
            warnings,
        }
    }

    /// A few lines for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.read.iter().map(FilesRead::line).collect();
        let channels = self.channels.iter().map(|channel| {
            let range = match (channel.min, channel.max) {
                (Some(min), Some(max)) => format!(" {min} to {max}"),
                _ => " without a value".to_owned(),
            };
            let missing = match channel.missing {
                0 => String::new(),
                n => format!(" ({n} missing)"),
            };
            format!("{}{range}{missing}", channel.name)
        });
        lines.push(format!(
            "{} steps in {} runs of rows; channels: {}",
            self.steps,
            self.series,
            some(channels)
        ));
        if !self.classes.is_empty() {
            let classes = self.classes.iter().map(|class| format!("{} {}", class.name, class.rows));
            lines.push(format!("classes, with their rows: {}", some(classes)));
        }
        lines
    }
}

impl FilesRead {
    fn line(&self) -> String {
        let Self { files, first, reading } = self;
        let layout = match reading.layout {
            Layout::Long => "a long table: one row is a time step",
            Layout::Wide => "a wide table: one row is a sample",
            Layout::Ts => "in .ts format: one line is a sample",
        };
        let more = if *files > 1 { format!(" and {} more", files - 1) } else { String::new() };
        let Roles { series, time, label, split, node } = &reading.roles;
        let parts = [
            ("series", series),
            ("time", time),
            ("label", label),
            ("split", split),
            ("node", node),
        ];
        let parts: String = parts
            .iter()
            .filter_map(|(part, column)| Some(format!("; {part} from {:?}", column.as_ref()?)))
            .collect();
        format!("{first}{more}: read as {layout}{parts}")
    }
}

/// The first few of a list.
fn some(items: impl ExactSizeIterator<Item = String>) -> String {
    let n = items.len();
    let shown = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    if n > SHOWN { format!("{shown}, … ({n} in all)") } else { shown }
}

fn files(readings: &[(PathBuf, Reading)]) -> Vec<FilesRead> {
    let mut found: BTreeMap<&Reading, (usize, &Path)> = BTreeMap::new();
    for (path, reading) in readings {
        found.entry(reading).or_insert((0, path)).0 += 1;
    }
    let files = found.into_iter().map(|(reading, (files, first))| FilesRead {
        files,
        first: first.display().to_string(),
        reading: reading.clone(),
    });
    files.collect()
}

/// The values of one channel in one segment.
fn values<'a>(
    dataset: &Dataset,
    segment: &'a Segment,
    channel: usize,
) -> impl Iterator<Item = f32> + 'a {
    segment.values.iter().copied().skip(channel).step_by(dataset.channels.len())
}

fn found(dataset: &Dataset, channel: usize) -> ChannelFound {
    let all = || dataset.segments.iter().flat_map(|segment| values(dataset, segment, channel));
    let known = || all().filter(|value| !value.is_nan());
    ChannelFound {
        name: dataset.channels[channel].clone(),
        min: known().reduce(f32::min),
        max: known().reduce(f32::max),
        missing: all().filter(|value| value.is_nan()).count(),
    }
}

/// The segments of long tables, in whose files each row is a time step.
fn is_long(dataset: &Dataset) -> Vec<bool> {
    let layouts = dataset.readings.iter().map(|(path, reading)| (path, reading.layout));
    let layouts: HashMap<&PathBuf, Layout> = layouts.collect();
    let layout = |segment: &Segment| layouts.get(&segment.source) == Some(&Layout::Long);
    dataset.segments.iter().map(layout).collect()
}

fn classes(dataset: &Dataset) -> Vec<ClassFound> {
    let mut counts = vec![0; dataset.classes.len()];
    for (segment, is_long) in dataset.segments.iter().zip(is_long(dataset)) {
        let n_rows = if is_long { segment.n_rows(dataset.channels.len()) } else { 1 };
        for class in (0..n_rows).filter_map(|row| segment.labels.at(row)) {
            counts[class as usize] += 1;
        }
    }
    let named = dataset.classes.iter().zip(counts);
    named.map(|(name, rows)| ClassFound { name: name.clone(), rows }).collect()
}

/// Channels of long tables that only grow with the rows, as a time stamp or the number of a row.
fn growing(dataset: &Dataset) -> Vec<String> {
    let is_long = is_long(dataset);
    let mut grows = Vec::new();
    for channel in 0..dataset.channels.len() {
        let (mut rises, mut falls) = (0, false);
        let long = dataset.segments.iter().zip(&is_long).filter(|(_, is_long)| **is_long);
        for (segment, _) in long {
            let mut last = f32::NAN;
            for value in values(dataset, segment, channel) {
                rises += usize::from(value > last);
                falls |= value < last;
                last = if value.is_nan() { last } else { value };
            }
            if falls {
                break;
            }
        }
        if !falls && rises >= MANY_RISES {
            let name = &dataset.channels[channel];
            grows.push(format!(
                "the channel {name:?} only grows from row to row, as a time stamp or the number of a \
                 row does, and would be trained on: name it as data.time, or list the channels without \
                 it in data.channels"
            ));
        }
    }
    grows
}

/// Classes whose names are the same but for case, signs between words, quotes, or how a number is
/// written.
fn alike(classes: &[String]) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for class in classes {
        groups.entry(folded(class)).or_default().push(class);
    }
    let several = groups.into_values().filter(|names| names.len() > 1);
    let warning = |names: Vec<&str>| {
        let names = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        format!("the classes {names} differ in spelling only; if they are one, write them alike")
    };
    several.map(warning).collect()
}

fn folded(class: &str) -> String {
    let text = class.trim_matches(|c: char| c.is_whitespace() || "\"'".contains(c));
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        return format!("{number}");
    }
    let words = text.split(|c: char| c.is_whitespace() || "_-.".contains(c));
    words.map(str::to_lowercase).collect()
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
                "a.csv and 1 more: read as a long table: one row is a time step; series from \
                 \"series\"; time from \"t\"; label from \"label\"",
                "4 steps in 2 runs of rows; channels: x 1 to 1 (2 missing), y -2 to 3",
                "classes, with their rows: a 2, b 2",
            ]
        );
        assert_eq!(found.warnings, [""; 0]);
        let found = understood(&[("a.csv", "time,x,label\n1,2,a\n2,3,b\n")]);
        assert!(found.lines()[0].contains("a wide table: one row is a sample"), "{found:?}");
        assert_eq!(found.classes[0], ClassFound { name: "a".to_owned(), rows: 1 });
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
        assert_eq!(warned(&rows(|_| 3.0)), 0);
        assert_eq!(warned(&rows(|i| if i == 17 { 0.0 } else { i as f64 })), 0);
        assert_eq!(warned(&rows(|i| (i / 60) as f64)), 0, "a step is no clock");
    }

    #[test]
    fn classes_that_differ_in_spelling_are_named() {
        let warned = |classes: &[&str]| {
            alike(&classes.iter().map(|&class| class.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(warned(&["walk", "run"]), [""; 0]);
        assert_eq!(warned(&["1", "2", "10", "-1"]), [""; 0]);
        for two in [["1", "1.0"], ["walk", "Walk"], ["stand up", "stand_up"], ["\"a\"", "a"]] {
            let found = warned(&[two[0], "other", two[1]]);
            assert_eq!(found.len(), 1, "{two:?}");
            assert!(found[0].contains(&format!("{:?}", two[0])), "{found:?}");
        }
    }
}
