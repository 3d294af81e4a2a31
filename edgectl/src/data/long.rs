//! Long tables: one row per time step, series told apart by a column.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use anyhow::bail;

use super::collect::Collector;
use super::columns::{Columns, split};
use super::dataset::Segment;
use super::labels::LabelRun;
use super::reading::Layout;
use super::split::Split;
use super::table::{Row, Table};
use super::{files, number};

/// Reads a long table into segments.
///
/// Rows with the same series id (and node) are one series, in the order of the file, even where
/// rows of other series lie between them; without a series column, all rows (of a node) are one. A
/// series is cut into segments where its split changes. Segments come series by series, in the
/// order in which the series start.
pub(super) fn read<R: BufRead>(
    path: &Path,
    mut table: Table<R>,
    all: &mut Collector<'_>,
) -> anyhow::Result<()> {
    let wanted = all.wanted_channels();
    let header = table.header().to_vec();
    let columns = Columns::find(
        path,
        &header,
        all.config,
        wanted.unwrap_or_default(),
        all.expected.is_some(),
    )?;
    let values = all.value_columns(path, &header, wanted, &columns.rest)?;
    all.agree(path, values.iter().map(|&column| header[column].clone()).collect())?;
    all.note_table(path, Layout::Long, table.delimiter(), (&header, &columns));

    let of_file = files::split_of(path);
    let mut grouped = Groups::default();
    while let Some(row) = table.next_row()? {
        let series = grouped.of_row(&row, &columns)?;
        series.check_time(&row, &columns)?;
        let segment = series.segment(&row, split(&row, &columns, of_file)?);
        for &column in &values {
            segment.values.push(row.value(column)?);
        }
        if let Some(column) = columns.label {
            let label = all.classes.class_of(row.cell(column));
            segment.labels.push(label.map_err(|reason| row.error(column, &reason))?);
        }
    }
    for series in grouped.series {
        for open in series.segments {
            let mut values = open.values;
            values.shrink_to_fit();
            all.segments.push(Segment {
                source: path.to_owned(),
                node: series.node.clone(),
                series: series.name.clone().unwrap_or_else(|| files::stem_of(path)),
                split: open.split,
                first_line: open.first_line,
                values,
                labels: open.labels.finish(),
            });
        }
    }
    Ok(())
}

/// The series of a table, found by their ids.
#[derive(Default)]
struct Groups {
    series: Vec<OneSeries>,
    places: HashMap<Vec<u8>, usize>,
    key: Vec<u8>,
    last: usize,
}

struct OneSeries {
    node: Option<String>,
    name: Option<String>,
    last_time: f64,
    segments: Vec<OpenSegment>,
}

struct OpenSegment {
    split: Split,
    first_line: usize,
    values: Vec<f32>,
    labels: LabelRun,
}

impl Groups {
    fn of_row(&mut self, row: &Row<'_>, columns: &Columns) -> anyhow::Result<&mut OneSeries> {
        let id = columns.series.map_or(&[][..], |column| row.cell(column));
        let node = columns.node.map_or(&[][..], |column| row.cell(column));
        if let Some(last) = self.series.get(self.last)
            && last.name.as_deref().unwrap_or_default().as_bytes() == id
            && last.node.as_deref().unwrap_or_default().as_bytes() == node
        {
            return Ok(&mut self.series[self.last]);
        }
        self.key.clear();
        self.key.extend(node.len().to_le_bytes());
        self.key.extend(node);
        self.key.extend(id);
        self.last = if let Some(&place) = self.places.get(&self.key) {
            place
        } else {
            let name = columns.series.map(|column| row.id(column)).transpose()?;
            let node = columns.node.map(|column| row.id(column)).transpose()?;
            self.series.push(OneSeries {
                node,
                name,
                last_time: f64::NEG_INFINITY,
                segments: Vec::new(),
            });
            self.places.insert(self.key.clone(), self.series.len() - 1);
            self.series.len() - 1
        };
        Ok(&mut self.series[self.last])
    }
}

impl OneSeries {
    fn check_time(&mut self, row: &Row<'_>, columns: &Columns) -> anyhow::Result<()> {
        let Some(column) = columns.time else { return Ok(()) };
        let Some(time) = number::parse_time(row.cell(column)) else { return Ok(()) };
        if time < self.last_time {
            let series =
                self.name.as_ref().map(|name| format!(" in series {name:?}")).unwrap_or_default();
            let reason = format!(
                "time runs backwards{series}, from {} to {time}; sort the rows, or name the \
                 column that separates series in data.series",
                self.last_time
            );
            bail!(row.error(column, &reason));
        }
        self.last_time = time;
        Ok(())
    }

    /// The segment that a row with this split belongs to.
    fn segment(&mut self, row: &Row<'_>, split: Split) -> &mut OpenSegment {
        if self.segments.last().is_none_or(|last| last.split != split) {
            let labels = LabelRun::default();
            self.segments.push(OpenSegment {
                split,
                first_line: row.line,
                values: Vec::new(),
                labels,
            });
        }
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }
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
    fn parts(data: &Dataset) -> Vec<(&str, &str, usize, &[f32])> {
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
        assert!(read("t,x\n0,1\n0,1\n,1\n1,1\n").is_ok());
        assert!(read("t,x\n2016-07-02,1\n2016-07-01,1\n").is_ok());
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
    type GivenRow = (u8, Option<u8>, bool, [f32; 2]);

    fn any_rows() -> impl Strategy<Value = Vec<GivenRow>> {
        let value = any::<f32>().prop_filter("finite", |value| value.is_finite());
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
