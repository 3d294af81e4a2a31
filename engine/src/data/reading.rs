//! How a file was read.

use std::path::PathBuf;

use serde::Serialize;

/// How the rows of a file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// One row for each time step.
    Long,
    /// One row for each sample.
    Wide,
    /// One line for each sample, as sktime and the UEA archive write it.
    Ts,
    /// A recording: one row, sample or frame is a time step.
    Recording,
    /// A table beside recordings, which is not read.
    Beside,
    /// Samples or recordings, whose format says where each begins.
    Samples,
}

/// How a file was read: what its columns were taken for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reading {
    /// How its rows are laid out.
    pub layout: Layout,
    /// What separates the cells of a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// What stands before the decimals of its numbers, where that is no point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<char>,
    /// In what its times are, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_unit: Option<TimeUnit>,
    /// Names of the columns that hold no values.
    pub roles: Roles,
    /// What of the file was chosen.
    #[serde(flatten)]
    pub selection: Selection,
}

/// What of a file was chosen, by what.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Selection {
    /// Columns that are read as nothing although nothing says so, since they count the rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<String>,
    /// Columns that are read as nothing, as `data.ignore` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// Columns that are read as nothing in a description, since they hold text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// What rows must be to be read.
    #[serde(rename = "where", skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// What says what rows are for; nothing if nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_by: Option<String>,
    /// How the values of a sample are laid out, where that is not one channel after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Files whose columns were added by time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<String>,
}

/// In what times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TimeUnit {
    /// Numbers whose unit the column's name says.
    #[serde(rename = "s")]
    Seconds,
    /// As milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// As microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// As minutes.
    #[serde(rename = "min")]
    Minutes,
    /// As hours.
    #[serde(rename = "h")]
    Hours,
    /// Dates.
    #[serde(rename = "date")]
    Date,
    /// In a spelling that is not understood.
    #[serde(rename = "unknown")]
    Unknown,
}

/// What times are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Clock {
    /// Numbers in a unit that nobody says.
    Numbers,
    /// Seconds from a start that nobody says.
    Seconds,
    /// Seconds since 1970.
    Dates,
}

/// Names of the columns that hold no values.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Roles {
    /// Which series a row belongs to.
    pub series: Option<String>,
    /// When it was.
    pub time: Option<String>,
    /// Its class.
    pub label: Option<String>,
    /// Whether it is to train or to test.
    pub split: Option<String>,
    /// The node it belongs to.
    pub node: Option<String>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRead {
    /// Its path.
    pub path: PathBuf,
    /// How it was read.
    pub reading: Reading,
    /// How many rows have the time of the row before in their series.
    pub doubled_times: usize,
    /// The line of the first of them.
    pub first_doubled: Option<usize>,
    /// The line of the first row whose time is before that of the row before in its series.
    pub first_backwards: Option<usize>,
    /// How many rows a table that tells of them leaves out.
    pub left_out: usize,
    /// How many rows `data.where` leaves out.
    pub not_wanted: usize,
    /// What is likely not as it should be.
    pub warnings: Vec<String>,
}

impl FileRead {
    /// A file that was read so.
    pub(super) fn new(path: PathBuf, reading: Reading) -> Self {
        Self {
            path,
            reading,
            doubled_times: 0,
            first_doubled: None,
            first_backwards: None,
            left_out: 0,
            not_wanted: 0,
            warnings: Vec::new(),
        }
    }

    /// A table that is not read, since it stands beside recordings.
    pub(super) fn beside(path: PathBuf) -> Self {
        let layout = Layout::Beside;
        let (delimiter, decimal, time_unit) = (None, None, None);
        let (roles, selection) = (Roles::default(), Selection::default());
        Self::new(path, Reading { layout, delimiter, decimal, time_unit, roles, selection })
    }
}

impl TimeUnit {
    /// The unit that ends the name of a time column: `t_ms`, `time_min`.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let (_, unit) = name.rsplit_once('_').filter(|(stem, _)| !stem.is_empty())?;
        let units = [
            ("s", Self::Seconds),
            ("ms", Self::Milliseconds),
            ("us", Self::Microseconds),
            ("min", Self::Minutes),
            ("h", Self::Hours),
        ];
        units.into_iter().find(|(end, _)| unit.eq_ignore_ascii_case(end)).map(|(_, unit)| unit)
    }

    /// Its seconds; 1 for dates, which are seconds already, and what is no number.
    pub(super) fn seconds(self) -> f64 {
        match self {
            Self::Microseconds => 1e-6,
            Self::Milliseconds => 1e-3,
            Self::Seconds | Self::Date | Self::Unknown => 1.0,
            Self::Minutes => 60.0,
            Self::Hours => 3600.0,
        }
    }

    /// What times in a unit are, if it is known.
    pub(super) fn clock(unit: Option<Self>) -> Clock {
        match unit {
            None | Some(Self::Unknown) => Clock::Numbers,
            Some(Self::Date) => Clock::Dates,
            Some(_) => Clock::Seconds,
        }
    }

    /// What is said of it behind the column's name.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Seconds => " in seconds",
            Self::Milliseconds => " in milliseconds",
            Self::Microseconds => " in microseconds",
            Self::Minutes => " in minutes",
            Self::Hours => " in hours",
            Self::Date => " as dates",
            Self::Unknown => " in a spelling that is not understood",
        }
    }
}

/// Seconds of a unit of a time column's values, by its name: `t_ms` has 0.001; 1 where it says none.
pub fn seconds_of(name: &str) -> f64 {
    TimeUnit::of_name(name).map_or(1.0, TimeUnit::seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_is_the_unit() {
        for (name, unit) in [
            ("t_ms", Some(TimeUnit::Milliseconds)),
            ("T_US", Some(TimeUnit::Microseconds)),
            ("time_min", Some(TimeUnit::Minutes)),
            ("time_of_day_h", Some(TimeUnit::Hours)),
            ("t_s", Some(TimeUnit::Seconds)),
            ("t", None),
            ("times", None),
            ("_s", None),
            ("date_time", None),
        ] {
            assert_eq!(TimeUnit::of_name(name), unit, "{name}");
        }
    }
}
