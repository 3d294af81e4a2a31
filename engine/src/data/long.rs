//! Long tables: one row per time step, series told apart by a column.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::bail;

use super::block::{Block, Need};
use super::columns::Columns;
use super::file::File;
use super::files;
use super::join::Joined;
use super::one_series::OneSeries;
use super::reading::{Clock, Layout, TimeUnit};
use super::row_split::{RowSplit, n_before};
use super::row_time::Time;
use super::runs::{Rows, Run};
use super::split::Split;
use super::times::TimeKind;

/// A long table that is read.
///
/// Rows with the same series id (and node) are one series, in the order of the file, even where
/// rows of other series lie between them; without a series column, all rows (of a node) are one. A
/// series is cut into runs where its split changes. Runs come series by series, in the order in which
/// the series start.
pub(super) struct Long<'a> {
    columns: Columns,
    values: Vec<usize>,
    label: Option<usize>,
    time: Option<Time>,
    series: Vec<OneSeries>,
    places: HashMap<Vec<u8>, usize>,
    key: Vec<u8>,
    id: Vec<u8>,
    last: usize,
    split: RowSplit<'a>,
    joined: Joined,
    /// Rows of the block whose time runs backwards, where a description goes on.
    back: Vec<usize>,
    scratch: Scratch,
}

/// Rows as they are handed on; reused.
#[derive(Default)]
struct Scratch {
    values: Vec<f64>,
    times: Vec<f64>,
    labels: Vec<Option<u32>>,
}

impl<'a> Long<'a> {
    /// What to read of a table with these columns.
    pub(super) fn open(
        file: &mut File<'_, 'a>,
        columns: Columns,
        delimiter: Option<u8>,
    ) -> anyhow::Result<(Self, Vec<Need>)> {
        let joined = std::mem::take(&mut file.joined);
        if columns.time.is_none() && joined.n_channels() > 0 {
            bail!(
                "{}: data.join needs times; name the time column in data.time",
                file.path.display()
            );
        }
        let wanted = file.all.wanted_channels().map(|wanted| match file.all.expected {
            // What is joined are the last of a model's channels.
            Some(model) if wanted == model.channels => {
                &wanted[..wanted.len().saturating_sub(joined.n_channels())]
            }
            _ => wanted,
        });
        let values = file.all.value_columns(file.path, &file.header, wanted, &columns.rest)?;
        let mut names = values.iter().map(|&column| file.header[column].clone()).collect();
        joined.add_names(&mut names);
        file.all.agree(file.path, names)?;
        file.selection.joined = file.all.config.join.iter().map(|join| join.path.clone()).collect();
        file.note(Layout::Long, delimiter, Some(&columns));
        let needs = file.needs(&columns, &values, Need::Time);
        let time = columns.time.map(|column| Time {
            column,
            named: TimeUnit::of_name(&file.header[column]),
            kind: TimeKind::Number,
        });
        let split = RowSplit::of(file.all.config.split.as_ref(), columns.split, file.of_whole);
        if time.is_none() && matches!(split, RowSplit::Time(_)) {
            bail!(
                "{}: data.split is by time, but there is no time column; name it in data.time",
                file.path.display()
            );
        }
        let long = Self {
            label: file.label_of(&columns),
            columns,
            values,
            time,
            series: Vec::new(),
            places: HashMap::new(),
            key: Vec::new(),
            id: Vec::new(),
            last: 0,
            split,
            joined,
            back: Vec::new(),
            scratch: Scratch::default(),
        };
        Ok((long, needs))
    }

    /// The next rows.
    pub(super) fn rows(&mut self, file: &mut File<'_, '_>, block: &Block) -> anyhow::Result<()> {
        if let (Some(time), Some(kind)) = (&mut self.time, block.time_kind) {
            time.kind = kind;
            let unit = time.unit();
            let alike = self.joined.check_clock(time.clock());
            alike.map_err(|reason| file.error(block.place(0), time.column, &reason))?;
            file.amend(|read| read.reading.time_unit = unit);
        }
        self.scratch.labels.clear();
        let after = self.after(file, block)?;
        if let Some(run) = self.run_of_all(file, block)? {
            self.hand_on(file, block, Some(run), 0..block.n_rows());
            return Ok(());
        }
        let (mut start, mut current) = (0, None);
        for row in 0..block.n_rows() {
            if file.chooses_rows() && !file.is_wanted(block, row) {
                self.hand_on(file, block, current.take(), start..row);
                continue;
            }
            let series = self.series_of(file, block, row)?;
            self.check_time(file, block, row, series)?;
            let split = match self.split {
                RowSplit::All(split) => split,
                RowSplit::Cell(column) => file.split(block, row, column)?,
                RowSplit::Series(_) => self.series[series].by_chance,
                RowSplit::Last(_) => {
                    self.series[series].count(block.place(row));
                    Split::Train
                }
                RowSplit::Time(_) if self.time_at(block, row) >= after => Split::Test,
                RowSplit::Time(_) => Split::Train,
            };
            let run = self.run(file, block.place(row), series, split);
            if current != Some(run) {
                self.hand_on(file, block, current, start..row);
                (start, current) = (row, Some(run));
            }
            if let Some(column) = self.label {
                self.scratch.labels.push(file.class(block, row, column)?);
            }
        }
        self.hand_on(file, block, current, start..block.n_rows());
        if let Some(notes) = &mut file.all.notes {
            notes.changes(block, &file.header, &self.values, &self.back);
            self.back.clear();
        }
        Ok(())
    }

    /// The run of all rows of a block, where that is plain to see: one series of one split without labels,
    /// and times that only rise.
    fn run_of_all(
        &mut self,
        file: &mut File<'_, '_>,
        block: &Block,
    ) -> anyhow::Result<Option<usize>> {
        let RowSplit::All(split) = self.split else { return Ok(None) };
        let is_one = self.columns.series.is_empty() && self.columns.node.is_none();
        if !is_one || self.label.is_some() || file.chooses_rows() || block.n_rows() == 0 {
            return Ok(None);
        }
        let series = self.series_of(file, block, 0)?;
        if let Some(time) = self.time {
            let (times, last) = (block.numbers(time.column), &mut self.series[series].last_time);
            let rises = times.windows(2).all(|pair| pair[0] < pair[1]);
            let (Some(&first), Some(&end)) = (times.first(), times.last()) else { return Ok(None) };
            if !rises || first.is_nan() || first <= *last {
                return Ok(None);
            }
            *last = end;
        }
        Ok(Some(self.run(file, block.place(0), series, split)))
    }

    /// The time from which on rows are for the test, once a time was read; else infinite.
    fn after(&self, file: &File<'_, '_>, block: &Block) -> anyhow::Result<f64> {
        let (RowSplit::Time(moment), Some(time)) = (self.split, self.time) else {
            return Ok(f64::INFINITY);
        };
        let among = moment.among(time.kind);
        among.map_err(|reason| file.error(block.place(0), time.column, &reason))
    }

    /// The time of a row, in seconds where its unit is known.
    fn time_at(&self, block: &Block, row: usize) -> f64 {
        self.time.map_or(f64::NAN, |time| block.numbers(time.column)[row] * time.seconds())
    }

    /// No more rows.
    pub(super) fn finish(self, file: &mut File<'_, '_>) {
        if let RowSplit::Last(fraction) = self.split {
            for series in &self.series {
                let row = n_before(fraction, series.n_rows);
                for &(_, run) in &series.runs {
                    file.runs.cut(run, row, series.place(row));
                }
            }
        }
        let runs = self.series.iter().flat_map(|series| series.runs.iter().map(|&(_, run)| run));
        file.runs.end(&runs.collect::<Vec<_>>());
    }

    /// The series of a row.
    fn series_of(
        &mut self,
        file: &File<'_, '_>,
        block: &Block,
        row: usize,
    ) -> anyhow::Result<usize> {
        if self.columns.series.is_empty() && self.columns.node.is_none() && !self.series.is_empty()
        {
            return Ok(self.last);
        }
        let cell = |column: Option<usize>| column.map_or(&[][..], |column| block.text(column, row));
        let node = cell(self.columns.node);
        let id = match &self.columns.series[..] {
            [] => &[][..],
            [one] => block.text(*one, row),
            several => {
                self.id.clear();
                for &column in several {
                    // Their lengths, as the sign between them may stand in a cell.
                    self.id.extend(block.text(column, row).len().to_le_bytes());
                    self.id.extend(block.text(column, row));
                }
                &self.id
            }
        };
        if let Some(last) = self.series.get(self.last)
            && is_same(&last.id, id)
            && is_same(last.node.as_deref().unwrap_or_default().as_bytes(), node)
        {
            return Ok(self.last);
        }
        self.key.clear();
        self.key.extend(node.len().to_le_bytes());
        self.key.extend(node);
        self.key.extend(id);
        self.last = if let Some(&place) = self.places.get(&self.key) {
            place
        } else {
            let name = |column: Option<usize>| {
                column.map(|column| file.id(block, row, column)).transpose()
            };
            let node = name(self.columns.node)?;
            let name = file.series(block, row, &self.columns.series)?;
            let stem = files::stem_of(file.path);
            let by_chance = match self.split {
                RowSplit::Series(chance) => {
                    chance.split(&stem, node.as_deref(), name.as_deref().unwrap_or_default())
                }
                _ => Split::Unmarked,
            };
            self.series.push(OneSeries::new(id, node, name, by_chance));
            self.places.insert(self.key.clone(), self.series.len() - 1);
            self.series.len() - 1
        };
        Ok(self.last)
    }

    /// Holds a row's time to the one before it in its series.
    fn check_time(
        &mut self,
        file: &mut File<'_, '_>,
        block: &Block,
        row: usize,
        series: usize,
    ) -> anyhow::Result<()> {
        let Some(Time { column, kind, .. }) = self.time else { return Ok(()) };
        let (time, series) = (block.numbers(column)[row], &mut self.series[series]);
        if time < series.last_time && file.all.notes.is_some() {
            self.back.push(row);
            file.amend(|read| {
                read.first_backwards.get_or_insert(block.place(row));
            });
            series.last_time = time;
            return Ok(());
        }
        if time < series.last_time {
            let name = series.name.as_ref();
            let of = name.map(|name| format!(" in series {name:?}")).unwrap_or_default();
            let reason = format!(
                "time runs backwards{of}, from {} to {}; sort the rows, or name the column that \
                 separates series in data.series",
                kind.shown(series.last_time),
                kind.shown(time)
            );
            bail!(file.error(block.place(row), column, &reason));
        }
        if time <= series.last_time {
            file.amend(|read| {
                read.doubled_times += 1;
                read.first_doubled.get_or_insert(block.place(row));
            });
        }
        // A text is no time: it stays NaN, and is held to nothing.
        series.last_time = time;
        Ok(())
    }

    /// The run that a row with this split belongs to.
    fn run(&mut self, file: &mut File<'_, '_>, place: usize, series: usize, split: Split) -> usize {
        let clock = self.time.map_or(Clock::Numbers, Time::clock);
        let series = &mut self.series[series];
        if let Some(&(last, run)) = series.runs.last()
            && last == split
        {
            return run;
        }
        let stem = if series.name.is_none() { files::stem_of(file.path) } else { String::new() };
        let run = file.runs.begin(&Run {
            source: file.path,
            layout: Layout::Long,
            node: series.node.as_deref(),
            series: series.name.as_deref().unwrap_or(&stem),
            split,
            first_line: place,
            label: None,
            rate_hz: None,
            clock,
        });
        series.runs.push((split, run));
        run
    }

    /// Hands on rows of one run; their labels are all that were pushed.
    fn hand_on(
        &mut self,
        file: &mut File<'_, '_>,
        block: &Block,
        run: Option<usize>,
        range: Range<usize>,
    ) {
        let Some(run) = run else { return };
        let Scratch { values, times, labels } = &mut self.scratch;
        values.clear();
        let columns = self.values.iter().map(|&column| &block.numbers(column)[range.clone()]);
        let columns: Vec<&[f64]> = columns.collect();
        let n_joined = self.joined.n_channels();
        let time = self.time.filter(|time| time.kind != TimeKind::Text);
        if n_joined == 0 {
            side_by_side(&columns, range.len(), values);
        } else {
            for (at, row) in range.clone().enumerate() {
                values.extend(columns.iter().map(|column| column[at]));
                let seconds = |time: Time| block.numbers(time.column)[row] * time.seconds();
                self.joined.push(time.map_or(f64::NAN, seconds), values);
            }
        }
        if let Some(time) = time {
            let seconds = time.seconds();
            times.clear();
            times.extend(block.numbers(time.column)[range].iter().map(|time| time * seconds));
        }
        file.runs.rows(
            run,
            &Rows {
                values,
                n_channels: columns.len() + n_joined,
                times: time.map(|_| &times[..]),
                labels: self.label.map(|_| &labels[..]),
            },
        );
        labels.clear();
    }
}

/// Makes rows of columns. A few rows at a time, so that they stay in the cache while column after column
/// is filled in.
fn side_by_side(columns: &[&[f64]], n_rows: usize, rows: &mut Vec<f64>) {
    const FEW: usize = 256;
    let n_columns = columns.len();
    rows.resize(n_rows * n_columns, 0.0);
    if n_columns == 0 {
        return;
    }
    for (at, rows) in rows.chunks_mut(FEW * n_columns).enumerate() {
        for (place, column) in columns.iter().enumerate() {
            let to = rows.iter_mut().skip(place).step_by(n_columns);
            to.zip(&column[at * FEW..]).for_each(|(to, &value)| *to = value);
        }
    }
}

/// Whether a name is what a cell says. Nothing is not compared with nothing: that is a slow call.
fn is_same(name: &[u8], cell: &[u8]) -> bool {
    name.len() == cell.len() && (cell.is_empty() || name == cell)
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, Dataset, Expected, Format, Labels, read_inline};
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Dataset, String> {
        read_with(text, &DataConfig::default())
    }

    fn read_with(text: &str, config: &DataConfig) -> Result<Dataset, String> {
        read_inline(&[("x.csv", text.as_bytes())], config, None)
    }

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Node, series, first line and values of every segment.
    fn parts(data: &Dataset) -> Vec<(&str, &str, usize, &[f64])> {
        data.segments
            .iter()
            .map(|s| {
                (s.node.as_deref().unwrap_or("-"), s.series.as_str(), s.first_line, &s.values[..])
            })
            .collect()
    }

    #[test]
    fn series_are_cut_where_the_split_changes() {
        let data = read(
            "series,t,label,split,ax,ay\n\
             3,0,run,train,1,2\n3,1,run,Train,3,4\n3,2,run,TEST,5,6\n4,0,walk,train,7,8\n",
        )
        .unwrap();
        assert_eq!((data.channels, data.classes), (names("ax ay"), names("run walk")));
        let data = &data.segments;
        assert_eq!(data.len(), 3);
        assert_eq!(
            (data[0].split, data[0].first_line, &data[0].values[..]),
            (Split::Train, 2, &[1., 2., 3., 4.][..])
        );
        assert_eq!((data[1].split, data[1].first_line, &data[1].series[..]), (Split::Test, 4, "3"));
        assert_eq!((data[2].labels.clone(), &data[2].series[..]), (Labels::One(1), "4"));
    }

    #[test]
    fn interleaved_series_are_gathered_in_the_order_of_the_file() {
        let data = read("series,t,x\nb,0,1\na,0,10\nb,1,2\na,1,20\nb,1,3\n").unwrap();
        assert_eq!(
            parts(&data),
            [("-", "b", 2, &[1., 2., 3.][..]), ("-", "a", 3, &[10., 20.][..])]
        );
    }

    #[test]
    fn the_same_series_of_two_nodes_or_files_is_two() {
        let data = read("node,series,x\n0,s,1\n1,s,2\n0,s,3\n").unwrap();
        assert_eq!(parts(&data), [("0", "s", 2, &[1., 3.][..]), ("1", "s", 3, &[2.][..])]);
        let text = b"series,x\ns,1\n";
        let data =
            read_inline(&[("a.csv", text), ("b.csv", text)], &DataConfig::default(), None).unwrap();
        assert_eq!(data.segments.len(), 2);
    }

    #[test]
    fn without_a_series_column_the_file_is_one_series() {
        let data = read("t,x\n0,1\n1,?\n").unwrap();
        assert_eq!((data.segments.len(), &data.segments[0].series[..]), (1, "x"));
        assert!(data.segments[0].values[1].is_nan());
        assert_eq!((data.segments[0].labels.clone(), data.classes.len()), (Labels::None, 0));
    }

    #[test]
    fn labels_may_change_and_be_absent() {
        let data = read("t,label,x\n0,b,1\n1,,2\n2, a ,3\n").unwrap();
        assert_eq!(data.classes, ["a", "b"]);
        assert_eq!(data.segments[0].labels, Labels::PerRow(vec![Some(1), None, Some(0)]));
        assert_eq!(data.segments[0].labels.at(1), None);
    }

    #[test]
    fn channels_are_those_configured() {
        let config = DataConfig {
            time: Some("t_s".to_owned()),
            label: Some("event".to_owned()),
            channels: Some(names("y x")),
            ..DataConfig::default()
        };
        let data =
            read_with("t_s,x,note,y,event\n0,1,hello,2,a\n1,3,world,4,a\n", &config).unwrap();
        assert_eq!(
            (data.channels, &data.segments[0].values[..]),
            (names("y x"), &[2., 1., 4., 3.][..])
        );
    }

    #[test]
    fn bad_cells_name_line_and_column() {
        let error = read("series,t,ax\n1,0,1\n1,1,abc\n").unwrap_err();
        assert!(
            error.starts_with("x.csv: line 3, column \"ax\": expected a number, found \"abc\""),
            "{error}"
        );
        assert!(
            read("t,ax\r\n0,1\r\n\r\n1,inf\r\n")
                .unwrap_err()
                .contains("line 4, column \"ax\": expected a finite")
        );
        let error = read("t,split,ax\n0,val,1\n").unwrap_err();
        assert!(
            error.contains(
                "line 2, column \"split\": expected \"train\", \"test\" or \"unmarked\", found \"val\""
            ),
            "{error}"
        );
        assert!(
            read("series,ax\n,1\n")
                .unwrap_err()
                .contains("line 2, column \"series\": the cell is empty")
        );
    }

    #[test]
    fn time_must_not_run_backwards_within_a_series() {
        let error = read("series,t,x\n7,0,1\n7,2,1\n8,0,1\n7,1.5,1\n").unwrap_err();
        assert!(
            error.contains(
                "line 5, column \"t\": time runs backwards in series \"7\", from 2 to 1.5"
            ),
            "{error}"
        );
        let error = read("t,x\n2016-07-02,1\n2016-07-01 12:00,1\n").unwrap_err();
        assert!(
            error.contains("line 3, column \"t\": time runs backwards, from 2016-07-02T00:00:00 to 2016-07-01T12:00:00; "),
            "{error}"
        );
        assert!(read("t,x\n02.07.2016,1\n01.07.2016,1\n").is_ok(), "not understood: a warning");
    }

    #[test]
    fn times_are_written_alike() {
        for (text, reason) in [
            ("t,x\n0,1\n,1\n", "line 3, column \"t\": the cell is empty; every row needs a time"),
            (
                "t,x\n0,1\n2016-07-01,1\n",
                "line 3, column \"t\": the time is a date, but that of line 2 is a number",
            ),
            (
                "t,x\n2016-07-01,1\n\n2016-07-02Z,1\n",
                "line 4, column \"t\": the time is text that is no time, but",
            ),
            (
                "t,x\n2016-07-01 1:00Z,1\n2016-07-01 2:00,1\n",
                "line 3, column \"t\": the time is a date, but that of line 2 is a date with an offset",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn times_are_kept_in_seconds() {
        let times = |text: &str| read(text).unwrap().segments[0].times.clone();
        assert_eq!(times("t,x\n0,1\n7,1\n"), Some(vec![0.0, 7.0]));
        assert_eq!(times("t_ms,x\n0,1\n500,1\n"), Some(vec![0.0, 0.5]));
        assert_eq!(times("date,x\n1970-01-01 00:01,1\n1970-01-02,1\n"), Some(vec![60.0, 86_400.0]));
        assert_eq!(times("t,x\nnoon,1\nnight,1\n"), None);
        assert_eq!(times("series,x\n0,1\n"), None);
        let data = read("series,t,x\na,1,0\nb,5,0\na,2,0\nb,6,0\n").unwrap();
        let all: Vec<_> = data.segments.iter().map(|s| s.times.clone().unwrap()).collect();
        assert_eq!(all, [[1.0, 2.0], [5.0, 6.0]]);
    }

    #[test]
    fn a_usual_name_of_a_time_column_makes_a_table_long() {
        let roles = |text: &str| {
            let reading = read(text).unwrap().readings.swap_remove(0).reading;
            (reading.layout, reading.roles.time)
        };
        let long = |name: &str| (Layout::Long, Some(name.to_owned()));
        assert_eq!(
            roles("timestamp,value\n2015-02-26 21:42:53,35\n2015-02-26 21:47:53,41\n"),
            long("timestamp")
        );
        assert_eq!(roles("time,x,y\n0,1,2\n1,1,2\n"), long("time"));
        assert_eq!(roles("time,t,x\n0,1,2\n1,2,2\n"), long("t"), "t comes first");
        assert_eq!(roles("time,x,y\n1,1,2\n0,1,2\n"), (Layout::Wide, None), "backwards");
        assert_eq!(roles("time,date,y\n0,1,2\n1,1,2\n"), (Layout::Wide, None), "two of them");
        assert_eq!(roles("clock,x,y\n0,1,2\n1,1,2\n"), (Layout::Wide, None));
        let steps = (0..24).fold(String::new(), |names, i| format!("{names},h{i}"));
        let values = ",1".repeat(24);
        let text = format!("date{steps}\n2016-07-01{values}\n2016-07-02{values}\n");
        assert_eq!(roles(&text), (Layout::Wide, Some("date".to_owned())));
        assert_eq!(read(&text).unwrap().segments[1].values.len(), 24);
    }

    #[test]
    fn a_file_name_marks_the_split_unless_a_column_does() {
        let config = DataConfig::default();
        let splits = |name: &str, text: &str| {
            let data = read_inline(&[(name, text.as_bytes())], &config, None).unwrap();
            data.segments.iter().map(|segment| segment.split).collect::<Vec<_>>()
        };
        assert_eq!(splits("ecg_test.csv", "t,x\n0,1\n"), [Split::Test]);
        assert_eq!(splits("ecg_test.csv", "t,split,x\n0,train,1\n"), [Split::Train]);
        assert_eq!(splits("ecg.csv", "t,x\n0,1\n"), [Split::Unmarked]);
    }

    #[test]
    fn a_model_gets_its_channels_and_classes() {
        let (channels, classes) = (names("ay ax"), names("walk run"));
        let expected = Some(Expected { channels: &channels, classes: &classes });
        let config = DataConfig { label: Some("what".to_owned()), ..DataConfig::default() };
        let read = |text: &str| read_inline(&[("x.csv", text.as_bytes())], &config, expected);
        let data = read("t,ax,note,ay,what\n0,1,hi,2,run\n").unwrap();
        assert_eq!(
            (&data.channels, &data.classes, &data.segments[0].values[..]),
            (&channels, &classes, &[2., 1.][..])
        );
        assert_eq!(data.segments[0].labels, Labels::One(1));
        assert_eq!(read("ax,ay\n1,2\n3,4\n").unwrap().segments[0].values, [2., 1., 4., 3.]);
        let error = read("t,ax,ay,what\n0,1,2,fly\n").unwrap_err();
        assert!(
            error.contains("line 2, column \"what\": unknown label \"fly\"")
                && error.contains("walk, run")
        );
        let error = read("t,ax,a_y\n0,1,2\n").unwrap_err();
        assert!(
            error.contains("no column \"ay\": the model reads it; the columns here are t, ax, a_y"),
            "{error}"
        );
        assert!(error.contains("did you mean \"a_y\"?"), "{error}");
    }

    #[test]
    fn a_model_without_classes_passes_labels_over() {
        let channels = names("x");
        let expected = Some(Expected { channels: &channels, classes: &[] });
        let data =
            read_inline(&[("x.csv", b"t,label,x\n0,a,1\n")], &DataConfig::default(), expected)
                .unwrap();
        assert_eq!((data.classes.len(), data.segments[0].labels.clone()), (0, Labels::None));
    }

    /// The series, label, test mark and values of a row.
    type GivenRow = (u8, Option<u8>, bool, [f64; 2]);

    fn any_rows() -> impl Strategy<Value = Vec<GivenRow>> {
        let value =
            any::<f32>().prop_filter("finite", |value| value.is_finite()).prop_map(f64::from);
        let label = prop::option::of(0..3_u8);
        let row = (0..3_u8, label, any::<bool>(), [value.clone(), value]);
        prop::collection::vec(row, 1..30)
    }

    /// The delimiter and the line end of a table.
    fn any_dialect() -> impl Strategy<Value = (&'static str, &'static str)> {
        let delimiter = prop::sample::select(&[",", ";", "\t"][..]);
        (delimiter, prop::sample::select(&["\n", "\r\n"][..]))
    }

    fn written(rows: &[GivenRow], (delimiter, end): (&str, &str)) -> String {
        let mut text = ["series", "label", "split", "x", "y"].join(delimiter) + end;
        for (series, label, test, [x, y]) in rows {
            let label = label.map(|label| format!("c{label}")).unwrap_or_default();
            let split = if *test { "test" } else { "train" };
            let cells = [series.to_string(), label, split.to_owned(), x.to_string(), y.to_string()];
            text += &(cells.join(delimiter) + end);
        }
        text
    }

    /// The rows of one series, in order.
    fn read_back(data: &Dataset, series: u8) -> Vec<GivenRow> {
        let mut rows = Vec::new();
        for segment in data.segments.iter().filter(|segment| segment.series == series.to_string()) {
            for (row, values) in segment.values.chunks(2).enumerate() {
                let label = segment.labels.at(row).map(|class| &data.classes[class as usize]);
                let label = label.map(|name| name.trim_start_matches('c').parse().unwrap());
                rows.push((series, label, segment.split == Split::Test, [values[0], values[1]]));
            }
        }
        rows
    }

    fn almost_table() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b"01.,\"\r\n a"[..]), 0..80)
    }

    proptest! {
        #[test]
        fn a_table_gives_back_every_row(rows in any_rows(), dialect in any_dialect()) {
            let data = read(&written(&rows, dialect)).unwrap();
            for series in 0..3 {
                let given: Vec<_> = rows.iter().filter(|row| row.0 == series).copied().collect();
                prop_assert_eq!(read_back(&data, series), given);
            }
        }

        #[test]
        fn any_bytes_return(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let config = DataConfig { format: Format::Long, ..DataConfig::default() };
            let _ = read_inline(&[("x.csv", &text)], &config, None);
        }

        #[test]
        fn any_almost_table_returns(text in almost_table()) {
            let text = [&b"series,t,label,x\n"[..], &text].concat();
            let _ = read_inline(&[("x.csv", &text)], &DataConfig::default(), None);
        }
    }
}
