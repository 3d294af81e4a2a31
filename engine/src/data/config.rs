//! The `[data]` section of a job file: which column of a table plays which part.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::joins::Join;
use super::recordings::{Annotations, Frames, LabelTable};
use super::select::{Accepted, SeriesBy};
use super::split_by::SplitBy;

/// The `[data]` section of a job file, also stored in the checkpoint.
///
/// Every key has a default, so that a table that uses the usual column names needs no section at
/// all. A default column that the file does not have is simply not there; a column that the section
/// names and the file does not have is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// The file or folder to read where the command line names none. In a job file it is relative to that
    /// file's folder; a checkpoint does not keep it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How the files are laid out.
    pub format: Format,
    /// The column that separates series, or several that do together; `series` if present. Without one, a
    /// long table is one series (per node).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<SeriesBy>,
    /// The time column, which is not a channel; `t` if present, else the only one called `time`,
    /// `timestamp`, `t_s`, `t_ms`, `t_us`, `t_min`, `t_h`, `date_time`, `datetime` or `date` if its first rows hold times that do
    /// not decrease. Numbers, or dates as `2016-07-01 05:30:00`; they must not decrease within a series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Rows per second. Left out: what the files declare, else the usual step of regular times in a known
    /// unit. Steps that count in Hz or seconds need one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate_hz: Option<f64>,
    /// The class label column; `label` if present. An empty cell (or `?`) is a row without a label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What says which rows are for the test: a column that says `train` or `test`, in any case (`split`
    /// if present), the cells of another column, a share of the data, or a time. Without any, the name of
    /// a file or of its folder says so for all its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitBy>,
    /// The column that splits a file into nodes; `node` if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The columns to read as values, in this order: names, ranges (`h0..h23`) and patterns (`a*`, `s?_x`);
    /// by default every column without another part, in file order. Long tables and `.ts` files: the channels (`.ts` names them `dim_0`, `dim_1`,
    /// …). Wide tables: the value columns, laid out as `wide_channels` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    /// The columns to read as nothing, in the same spellings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Vec<String>>,
    /// Columns and their cells: only rows that have one of these cells in each of the columns are read;
    /// rows on either side of one that is left out are neighbours. Such a column is no channel unless
    /// `channels` lists it.
    #[serde(rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<String, Accepted>,
    /// Wide tables: how many channels a row holds. Left out (or 1, without `wide_order`), the names of the
    /// columns say so where all are made of some stems and the same numbers (`x0 x1 y0 y1`, in any order):
    /// then the stems are the channels. Else, and where this is given, channels are called `dim_0`,
    /// `dim_1`, … as those of `.ts` files are, and lie as `wide_order` says.
    pub wide_channels: usize,
    /// Wide tables: how the channels of a row lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wide_order: Option<WideOrder>,
    /// Wide tables whose rows are pictures: how to cut them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
    /// Tables whose columns are added as channels, by time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<Join>,
    /// What stands between the thousands of numbers in tables (`","`, `"."`, `" "` or `"'"`); nothing by
    /// default. With `"."` a comma stands before decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thousands: Option<Thousands>,
    /// A table whose first column names files, and whose second says `train` or `test` of each. In a job
    /// file it is relative to that file's folder; a checkpoint does not keep it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_file: Option<PathBuf>,
    /// A table of what files or frames are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelTable>,
    /// What becomes of frames of videos and of pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Frames>,
    /// What becomes of annotations of WFDB records; without, they are not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

impl DataConfig {
    /// The paths that it names.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let labels = self.labels.as_mut().and_then(|labels| labels.path.as_mut());
        [self.path.as_mut(), self.split_file.as_mut(), labels].into_iter().flatten()
    }

    /// The tables that it names beside the data.
    pub fn tables(&self) -> impl Iterator<Item = &PathBuf> {
        let labels = self.labels.as_ref().and_then(|labels| labels.path.as_ref());
        [self.split_file.as_ref(), labels].into_iter().flatten()
    }

    /// The same without the paths, which are those of one machine.
    #[must_use]
    pub fn without_paths(mut self) -> Self {
        (self.path, self.split_file, self.labels) = (None, None, None);
        self
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            path: None,
            format: Format::Auto,
            series: None,
            time: None,
            sample_rate_hz: None,
            label: None,
            split: None,
            node: None,
            channels: None,
            ignore: None,
            only: BTreeMap::new(),
            wide_channels: 1,
            wide_order: None,
            picture: None,
            join: Vec::new(),
            thousands: None,
            split_file: None,
            labels: None,
            frames: None,
            annotations: None,
        }
    }
}

/// How the channels of a row of a wide table lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WideOrder {
    /// One channel after the other: `x0 x1 x2 y0 y1 y2`.
    ChannelsSteps,
    /// One step after the other: `x0 y0 x1 y1 x2 y2`.
    StepsChannels,
}

/// How rows of pixels are cut: a picture of `width · height` pixels, row by row, into patches, each of
/// which is a time step of `w · h` channels (`px_0`, `px_1`, …). Patches come row by row too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Pixels of a row of the picture.
    pub width: usize,
    /// Rows of the picture.
    pub height: usize,
    /// Width and height of a patch, which divide those of the picture.
    pub patch: [usize; 2],
}

/// What stands between the thousands of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Thousands {
    /// `1,234.5`
    #[serde(rename = ",")]
    Comma,
    /// `1.234,5`
    #[serde(rename = ".")]
    Point,
    /// `1 234.5`
    #[serde(rename = " ")]
    Blank,
    /// `1'234.5`
    #[serde(rename = "'")]
    Apostrophe,
}

impl Thousands {
    /// The sign itself.
    pub(super) fn sign(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Point => b'.',
            Self::Blank => b' ',
            Self::Apostrophe => b'\'',
        }
    }
}

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// By looking at each file: `ts` if its name ends in `.ts`; else `long` if its header has the
    /// series or the time column, or every channel that the model expects; else `wide`. A table with a time
    /// column whose other columns are mostly numbered in order (`p0, p1, p2, …`) is wide, if that column is
    /// not called `t` and not named in the section.
    #[default]
    Auto,
    /// CSV with one row per time step.
    Long,
    /// CSV with one row per sample.
    Wide,
    /// The sktime / UEA archive format.
    Ts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_is_the_default() {
        assert_eq!(toml::from_str::<DataConfig>("").unwrap(), DataConfig::default());
        assert_eq!(DataConfig::default().wide_channels, 1);
    }

    #[test]
    fn every_key_is_read_and_written() {
        let text = "\
format = \"long\"
series = \"sequence\"
time = \"frame\"
label = \"posture\"
split = \"part\"
node = \"room\"
channels = [\"p40\", \"height\"]
ignore = [\"note*\"]
wide_channels = 3
wide_order = \"steps-channels\"

[where]
label = [\"walk\", \"1\"]

[picture]
width = 14
height = 12
patch = [7, 2]

[[join]]
path = \"{prefix}_gnss.csv\"
time = \"t_s\"
how = \"hold\"
max_age_s = 2.0
";
        let config: DataConfig = toml::from_str(text).unwrap();
        assert_eq!(config.format, Format::Long);
        assert_eq!(config.channels.as_deref(), Some(&["p40".to_owned(), "height".to_owned()][..]));
        // An array of one line, as another may be written.
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<DataConfig>(&written).unwrap(), config, "{written}");
        let keys = |text: &str| {
            let mut lines: Vec<String> = text
                .lines()
                .map(|line| line.split('=').next().unwrap_or_default().trim().to_owned())
                .collect();
            lines.retain(|line| line.chars().next().is_some_and(|c| c.is_ascii_lowercase()));
            lines
        };
        assert_eq!(keys(&written), keys(text));
    }

    #[test]
    fn the_default_section_survives_a_round_trip() {
        let text = toml::to_string(&DataConfig::default()).unwrap();
        assert_eq!(text, "format = \"auto\"\nwide_channels = 1\n");
        assert_eq!(toml::from_str::<DataConfig>(&text).unwrap(), DataConfig::default());
    }

    #[test]
    fn an_unknown_key_or_format_is_an_error() {
        let error = toml::from_str::<DataConfig>("serie = \"a\"").unwrap_err().to_string();
        assert!(error.contains("unknown field `serie`"), "{error}");
        let error = toml::from_str::<DataConfig>("format = \"tall\"").unwrap_err().to_string();
        assert!(error.contains("unknown variant `tall`"), "{error}");
    }
}
