//! `[data] join`: which tables are joined to which files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::source::inner_name;

/// A table whose columns are added, by time, to the rows of every data file, as channels behind its own.
/// A column that is called as another channel is has the table's name before its own (`gps_speed`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The table, in the folder of the data file. `{stem}` stands for the data file's name without its
    /// extension, `{prefix}` for the same up to its last `_`. Files that are joined to others are no data.
    pub path: String,
    /// Its time column; found as that of a data file if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The columns to add, as `[data] channels` lists columns; all but the time if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    /// What stands between two of its rows.
    #[serde(default)]
    pub how: How,
    /// Values that are older (for `linear`: in a gap that is longer) are missing; without, none are. In the
    /// unit of the times where that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<f64>,
}

/// What stands between two rows of a joined table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The row before, a missing value too: never a later one.
    #[default]
    Hold,
    /// A straight line from the row before to the next, which is not known yet in live use.
    Linear,
}

impl Join {
    /// The table for a data file.
    pub(super) fn table_of(&self, file: &Path) -> PathBuf {
        let (name, _) = inner_name(file);
        let stem = name.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let prefix = stem.rsplit_once('_').map_or(&stem[..], |(prefix, _)| prefix);
        let path = self.path.replace("{stem}", &stem).replace("{prefix}", prefix);
        file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// What the table is called, whatever the data file.
    pub(super) fn name(&self) -> String {
        let path = self.path.replace("{stem}", "_").replace("{prefix}", "_");
        let (path, _) = inner_name(Path::new(&path));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = stem.trim_matches(|c: char| !c.is_alphanumeric());
        if name.is_empty() { "joined".to_owned() } else { name.to_owned() }
    }
}

/// The files that are no tables joined to others.
///
/// # Errors
/// If there is none.
pub(super) fn without_joined(files: Vec<PathBuf>, joins: &[Join]) -> anyhow::Result<Vec<PathBuf>> {
    if joins.is_empty() {
        return Ok(files);
    }
    let tables: HashSet<PathBuf> =
        files.iter().flat_map(|file| joins.iter().map(|join| join.table_of(file))).collect();
    let first = files.first().cloned();
    let data: Vec<PathBuf> = files.into_iter().filter(|file| !tables.contains(file)).collect();
    if let (Some(first), true) = (first, data.is_empty()) {
        bail!(
            "{}: every data file is a table that data.join adds to others; bring the files that they are \
             joined to",
            first.display()
        );
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_its_tables_are_called() {
        let join = |path: &str| Join {
            path: path.to_owned(),
            time: None,
            channels: None,
            how: How::Hold,
            max_age_s: None,
        };
        for (path, file, table, name) in [
            ("gps.csv", "d/a.csv", "d/gps.csv", "gps"),
            ("{stem}_gps.csv.gz", "d/a_1.csv.gz", "d/a_1_gps.csv.gz", "gps"),
            ("{prefix}_gnss.csv", "trip_1_imu.csv", "trip_1_gnss.csv", "gnss"),
            ("../gps/{stem}.csv", "d/a.csv", "d/../gps/a.csv", "joined"),
        ] {
            let join = join(path);
            assert_eq!(join.table_of(Path::new(file)), Path::new(table));
            assert_eq!(join.name(), name);
        }
        let files = ["a_imu.csv", "a_gnss.csv", "b_imu.csv", "b_gnss.csv"].map(PathBuf::from);
        let data = without_joined(files.into(), &[join("{prefix}_gnss.csv")]).unwrap();
        assert_eq!(data, ["a_imu.csv", "b_imu.csv"].map(PathBuf::from));
    }
}
