//! The `[data]` section of a job file: which column of a table plays which part.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::recordings::{Annotations, Frames, LabelTable};

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
    /// The column that separates series; `series` if present. Without one, a long table is one
    /// series (per node).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// The time column, which is not a channel; `t` if present, else the only one called `time`,
    /// `timestamp`, `t_s`, `t_ms`, `date_time`, `datetime` or `date` if its first rows hold times that do
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
    /// The column that says `train` or `test`, in any case; `split` if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The column that splits a file into nodes; `node` if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The columns to read as values, in this order; by default every column without another part,
    /// in file order. Long tables and `.ts` files: the channels (`.ts` names them `dim_0`, `dim_1`,
    /// …). Wide tables: the value columns, laid out as `wide_channels` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    /// Wide tables: how many channels a row holds, 1 by default. A row holds one channel after the
    /// other, each in time order (`x0 x1 x2 y0 y1 y2` for two channels of three steps); the
    /// channels are called `dim_0`, `dim_1`, … as those of `.ts` files are.
    pub wide_channels: usize,
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
            wide_channels: 1,
            thousands: None,
            split_file: None,
            labels: None,
            frames: None,
            annotations: None,
        }
    }
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
wide_channels = 3
";
        let config: DataConfig = toml::from_str(text).unwrap();
        assert_eq!(config.format, Format::Long);
        assert_eq!(config.channels.as_deref(), Some(&["p40".to_owned(), "height".to_owned()][..]));
        assert_eq!(toml::to_string(&config).unwrap(), text);
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
