//! Tables joined to another by time: their columns become channels of its rows.

use std::path::PathBuf;

use anyhow::bail;

use super::config::{DataConfig, Format};
use super::joins::{How, Join};
use super::reading::Clock;
use super::runs::{Rows, Run, Runs};

/// The tables that are joined to one data file.
#[derive(Debug, Default)]
pub(super) struct Joined {
    tables: Vec<Table>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    name: String,
    channels: Vec<String>,
    how: How,
    max_age: f64,
    rows: TableRows,
}

/// Its rows.
#[derive(Debug, Default)]
pub(super) struct TableRows {
    n_runs: usize,
    clock: Option<Clock>,
    times: Vec<f64>,
    values: Vec<f64>,
}

impl Joined {
    /// Of these tables.
    pub(super) fn new(tables: Vec<Table>) -> Self {
        Self { tables }
    }

    /// How many channels they add.
    pub(super) fn n_channels(&self) -> usize {
        self.tables.iter().map(|table| table.channels.len()).sum()
    }

    /// Adds the names of their channels to those of the file.
    pub(super) fn add_names(&self, names: &mut Vec<String>) {
        for table in &self.tables {
            for channel in &table.channels {
                let taken = names.contains(channel);
                names.push(if taken {
                    format!("{}_{channel}", table.name)
                } else {
                    channel.clone()
                });
            }
        }
    }

    /// Holds the times of the data file to those of the tables: what one counts the other must count.
    pub(super) fn check_clock(&self, clock: Clock) -> Result<(), String> {
        let other = self.tables.iter().find(|table| table.rows.clock != Some(clock));
        other.map_or(Ok(()), |table| {
            Err(format!(
                "the times are {}, but those of {}, which data.join adds, are {}; write both alike, with the \
                 unit in the column's name (t_s, t_ms)",
                noun(Some(clock)),
                table.path.display(),
                noun(table.rows.clock)
            ))
        })
    }

    /// Adds the values at a time.
    pub(super) fn push(&self, time: f64, out: &mut Vec<f64>) {
        self.tables.iter().for_each(|table| table.push(time, out));
    }
}

fn noun(clock: Option<Clock>) -> &'static str {
    match clock {
        Some(Clock::Dates) => "dates",
        Some(Clock::Seconds) => "in seconds",
        Some(Clock::Numbers) | None => "numbers in a unit that the column's name does not say",
    }
}

impl Table {
    /// How the table of a file is read that is read as `file` says.
    pub(super) fn config(join: &Join, file: &DataConfig) -> DataConfig {
        DataConfig {
            format: Format::Long,
            time: join.time.clone(),
            channels: join.channels.clone(),
            thousands: file.thousands,
            ..DataConfig::default()
        }
    }

    /// A table with the rows that were read of it.
    ///
    /// # Errors
    /// If it has no times or several series, or what is to be done with it cannot be.
    pub(super) fn new(
        join: &Join,
        path: PathBuf,
        channels: Vec<String>,
        rows: TableRows,
    ) -> anyhow::Result<Self> {
        let max_age = join.max_age_s.unwrap_or(f64::INFINITY);
        if max_age.is_nan() || max_age < 0.0 {
            bail!("max_age_s is a number of seconds, not {max_age}");
        }
        let n_rows = rows.times.len();
        if n_rows * channels.len() != rows.values.len() || n_rows == 0 {
            bail!("{}: no times; name the time column as time = in data.join", path.display());
        }
        if rows.n_runs > 1 {
            bail!(
                "{}: more than one series; only a table of one is joined, take out the columns series, node \
                 and split",
                path.display()
            );
        }
        Ok(Self { path, name: join.name(), channels, how: join.how, max_age, rows })
    }

    fn push(&self, time: f64, out: &mut Vec<f64>) {
        let (n, times) = (self.channels.len(), &self.rows.times);
        let row = |row: usize| &self.rows.values[row * n..(row + 1) * n];
        let after = times.partition_point(|&other| other <= time);
        let Some(before) = after.checked_sub(1) else {
            out.extend(std::iter::repeat_n(f64::NAN, n));
            return;
        };
        let is_exact = times[before] >= time;
        match self.how {
            _ if is_exact => out.extend(row(before)),
            How::Hold if time - times[before] <= self.max_age => out.extend(row(before)),
            How::Linear if after < times.len() && times[after] - times[before] <= self.max_age => {
                let part = (time - times[before]) / (times[after] - times[before]);
                let between = row(before).iter().zip(row(after));
                out.extend(between.map(|(from, to)| from * (1.0 - part) + to * part));
            }
            How::Hold | How::Linear => out.extend(std::iter::repeat_n(f64::NAN, n)),
        }
    }
}

impl Runs for TableRows {
    fn begin(&mut self, run: &Run<'_>) -> usize {
        self.n_runs += 1;
        self.clock = Some(run.clock);
        0
    }

    fn rows(&mut self, _: usize, rows: &Rows<'_>) {
        self.times.extend(rows.times.unwrap_or_default());
        self.values.extend(rows.values);
    }

    fn cut(&mut self, _: usize, _: usize, _: usize) {}

    fn end(&mut self, _: &[usize]) {}
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Dataset, Expected, Understood};
    use super::*;

    const IMU: &str = "t_s,x\n0,1\n0.5,2\n1,3\n1.5,4\n9,5\n";
    const GNSS: &str = "t_ms,x,speed\n500,10,1\n1500,20,3\n2500,30,5\n";

    /// The data set of files in a folder.
    fn read(files: &[(&str, &str)], config: &str) -> Result<Dataset, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let config: DataConfig = toml::from_str(config).unwrap();
        let paths = [folder.path().to_owned()];
        let data = Dataset::read(&paths, &config, None).map_err(|error| format!("{error:#}"))?;
        assert_eq!(Understood::read(&paths, &config).unwrap(), Understood::of(&data));
        let expected = Some(Expected { channels: &data.channels, classes: &data.classes });
        let again = Dataset::read(&paths, &config, expected).unwrap();
        // As text, in which missing values are alike.
        assert_eq!(format!("{again:?}"), format!("{data:?}"), "for a model too");
        Ok(data)
    }

    /// The joined values of the one series, a row each.
    fn joined(how: &str) -> Vec<[f64; 2]> {
        let files = [("trip_1_imu.csv", IMU), ("trip_1_gnss.csv", GNSS)];
        let config = format!("join = [{{ path = \"{{prefix}}_gnss.csv\", {how} }}]");
        let data = read(&files, &config).unwrap();
        assert_eq!(data.channels, ["x", "gnss_x", "speed"]);
        assert_eq!(data.segments.len(), 1, "the joined table is no data");
        data.segments[0].values.chunks(3).map(|row| [row[1], row[2]]).collect()
    }

    #[track_caller]
    fn same(found: &[[f64; 2]], expected: &[[f64; 2]]) {
        let shown = |rows: &[[f64; 2]]| format!("{rows:?}");
        assert_eq!(shown(found), shown(expected));
    }

    const NO: [f64; 2] = [f64::NAN; 2];

    #[test]
    fn hold_takes_no_later_value_and_none_that_is_too_old() {
        same(&joined("how = \"hold\""), &[NO, [10., 1.], [10., 1.], [20., 3.], [30., 5.]]);
        same(
            &joined("how = \"hold\", max_age_s = 2.0"),
            &[NO, [10., 1.], [10., 1.], [20., 3.], NO],
        );
        same(&joined("max_age_s = 0.4"), &[NO, [10., 1.], NO, [20., 3.], NO]);
    }

    #[test]
    fn linear_lies_between_rows_that_are_near() {
        same(&joined("how = \"linear\""), &[NO, [10., 1.], [15., 2.], [20., 3.], NO]);
        let far = joined("how = \"linear\", max_age_s = 0.9");
        same(&far, &[NO, [10., 1.], NO, [20., 3.], NO]);
    }

    #[test]
    fn columns_may_be_chosen_and_each_file_has_its_table() {
        let files = [
            ("a.csv", "t_s,x\n0,1\n"),
            ("a_gps.csv", "t_s,v,w\n0,5,6\n"),
            ("b.csv", "t_s,x\n0,2\n"),
            ("b_gps.csv", "t_s,v,w\n0,7,8\n"),
        ];
        let config = "join = [{ path = \"{stem}_gps.csv\", channels = [\"w\"] }]";
        let data = read(&files, config).unwrap();
        assert_eq!(data.channels, ["x", "w"]);
        let values: Vec<_> = data.segments.iter().map(|segment| &segment.values[..]).collect();
        assert_eq!(values, [[1., 6.], [2., 8.]]);
        assert_eq!(data.readings[0].reading.selection.joined, ["{stem}_gps.csv"]);
    }

    #[test]
    fn what_cannot_be_joined_is_an_error() {
        let imu = ("imu.csv", IMU);
        for (files, config, says) in [
            (&[imu][..], "{ path = \"gps.csv\" }", "cannot open the file"),
            (
                &[imu, ("gps.csv", "x,y\n1,2\n")],
                "{ path = \"gps.csv\" }",
                "no times; name the time",
            ),
            (&[imu, ("gps.csv", "t,v\n1,2\n")], "{ path = \"gps.csv\" }", "numbers in a unit that"),
            (
                &[imu, ("gps.csv", "t_s,series,v\n1,a,2\n1,b,2\n")],
                "{ path = \"gps.csv\" }",
                "more than one series",
            ),
            (
                &[imu, ("gps.csv", "t_s,v\n1,2\n")],
                "{ path = \"gps.csv\", max_age_s = -1.0 }",
                "not -1",
            ),
            (
                &[("gps.csv", "t_s,v\n1,2\n")],
                "{ path = \"gps.csv\" }",
                "every data file is a table that data.join adds",
            ),
            (
                &[("x.csv", "p0,p1\n1,2\n"), ("gps.csv", "t_s,v\n1,2\n")],
                "{ path = \"gps.csv\" }",
                "data.join needs times",
            ),
        ] {
            let error = read(files, &format!("join = [{config}]")).unwrap_err();
            assert!(error.contains(says), "{files:?}: {error}");
        }
    }
}
