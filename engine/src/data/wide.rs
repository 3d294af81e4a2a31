//! Wide tables: one row per sample, its values in time order.

use anyhow::{anyhow, bail};

use super::block::{Block, Need};
use super::columns::Columns;
use super::file::File;
use super::files;
use super::reading::{Clock, Layout};
use super::row_split::RowSplit;
use super::runs::{Rows, Run};
use super::split::Split;
use super::table::listed;
use super::wide_order::Order;

/// A wide table that is read; each row is a series of its own, called by its series column or else its
/// number.
///
/// Which value is of which channel and step is the [`Order`]'s.
pub(super) struct Wide<'a> {
    columns: Columns,
    /// The columns of a sample's values, step by step.
    values: Vec<usize>,
    n_channels: usize,
    label: Option<usize>,
    split: RowSplit<'a>,
    n_rows: usize,
}

impl<'a> Wide<'a> {
    /// What to read of a table with these columns.
    pub(super) fn open(
        file: &mut File<'_, 'a>,
        columns: Columns,
        delimiter: Option<u8>,
    ) -> anyhow::Result<(Self, Vec<Need>)> {
        let config = file.all.config;
        if !config.join.is_empty() {
            bail!(
                "{}: data.join needs times, but this was read as a wide table; name the time column in \
                 data.time",
                file.path.display()
            );
        }
        let wanted = config.channels.as_deref();
        let values = file.all.value_columns(file.path, &file.header, wanted, &columns.rest)?;
        let texts = file.texts_of(&values);
        let names: Vec<&str> = texts.iter().map(String::as_str).collect();
        let order = Order::of(config, &names, file.all.known_channels());
        let order = order.map_err(|reason| anyhow!("{}: {reason}", file.path.display()))?;
        let Order { channels, places, by, doubtful } = order;
        let n_channels = channels.len();
        file.all.agree(file.path, channels)?;
        let split = RowSplit::of(config.split.as_ref(), columns.split, file.of_whole);
        let refused = match split {
            RowSplit::Time(_) => Some("its rows have no times"),
            RowSplit::Last(_) => Some("each row is a series of its own; say by = \"series\""),
            _ => None,
        };
        if let Some(why) = refused {
            bail!(
                "{}: data.split does not fit a wide table: {why}; correct it, or data.format",
                file.path.display()
            );
        }
        let by_names = by.is_some();
        file.selection.order = by;
        file.note(Layout::Wide, delimiter, Some(&columns));
        if doubtful {
            file.amend(|read| {
                read.warnings.push(
                    "the names of the value columns look like several channels, but not all have the same \
                     numbers without a gap: the row is read as one channel; list those that belong together in \
                     data.channels, or set data.wide_channels and data.wide_order"
                        .to_owned(),
                );
            });
        }
        let said = file.selection_is_said() || by_names;
        if !said && !doubtful && do_not_count(&names) {
            let names = listed(&texts);
            file.amend(|read| {
                read.warnings.push(format!(
                    "each row is read as a sample of one channel, whose steps are the columns {names}, but their \
                     names do not count; if rows are time steps, name data.time or data.series, or set \
                     data.format = \"long\"; else set data.format = \"wide\""
                ));
            });
        }
        let needs = file.needs(&columns, &values, Need::Skip);
        let values = places.into_iter().map(|place| values[place]).collect();
        let label = file.label_of(&columns);
        Ok((Self { columns, values, n_channels, label, split, n_rows: 0 }, needs))
    }

    /// The next rows.
    pub(super) fn rows(&mut self, file: &mut File<'_, '_>, block: &Block) -> anyhow::Result<()> {
        let columns: Vec<&[f64]> = self.values.iter().map(|&c| block.numbers(c)).collect();
        let mut values = Vec::with_capacity(columns.len());
        let stem = files::stem_of(file.path);
        for row in 0..block.n_rows() {
            self.n_rows += 1;
            if file.chooses_rows() && !file.is_wanted(block, row) {
                continue;
            }
            values.clear();
            values.extend(columns.iter().map(|column| column[row]));
            let label = self.label.map(|column| file.class(block, row, column)).transpose()?;
            let id = |column: Option<usize>| {
                column.map(|column| file.id(block, row, column)).transpose()
            };
            let node = id(self.columns.node)?;
            let series = file.series(block, row, &self.columns.series)?;
            let series = series.unwrap_or_else(|| self.n_rows.to_string());
            let split = match self.split {
                RowSplit::Cell(column) => file.split(block, row, column)?,
                RowSplit::Series(chance) => chance.split(&stem, node.as_deref(), &series),
                RowSplit::All(split) => split,
                RowSplit::Last(_) | RowSplit::Time(_) => Split::Unmarked,
            };
            let run = file.runs.begin(&Run {
                source: file.path,
                layout: Layout::Wide,
                node: node.as_deref(),
                series: &series,
                split,
                first_line: block.place(row),
                label: label.flatten(),
                rate_hz: None,
                clock: Clock::Numbers,
            });
            let n_channels = self.n_channels;
            file.runs.rows(run, &Rows { values: &values, n_channels, times: None, labels: None });
            file.runs.end(&[run]);
        }
        Ok(())
    }
}

/// Whether most of the names, of several, are no numbers and do not end in one.
fn do_not_count(names: &[&str]) -> bool {
    let counts = |name: &&&str| name.ends_with(|c: char| c.is_ascii_digit());
    names.len() > 1 && 2 * names.iter().filter(counts).count() < names.len()
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, Dataset, Expected, Format, Labels, Split, read_inline};
    use proptest::prelude::*;

    fn read_with(text: &str, config: &DataConfig) -> Result<Dataset, String> {
        read_inline(&[("x.csv", text.as_bytes())], config, None)
    }

    fn read(text: &str) -> Result<Dataset, String> {
        read_with(text, &DataConfig::default())
    }

    #[test]
    fn each_row_is_a_series() {
        let data = read("node,split,label,p0,p1,p2\n0,train,7,1,2,3\n-1,test,10,4,,6\n").unwrap();
        assert_eq!(
            (&data.channels[..], &data.classes[..]),
            (&["dim_0".to_owned()][..], &["7".to_owned(), "10".to_owned()][..])
        );
        let [first, second] = &data.segments[..] else { panic!("{data:?}") };
        assert_eq!(
            (first.node.as_deref(), &first.series[..], first.split),
            (Some("0"), "1", Split::Train)
        );
        assert_eq!(
            (first.first_line, &first.values[..], first.labels.clone()),
            (2, &[1., 2., 3.][..], Labels::One(0))
        );
        assert_eq!(
            (second.node.as_deref(), &second.series[..], second.split),
            (Some("-1"), "2", Split::Test)
        );
        assert!(second.first_line == 3 && second.values[1].is_nan() && second.n_rows(1) == 3);
    }

    #[test]
    fn channels_lie_one_after_the_other() {
        let config = DataConfig { wide_channels: 2, ..DataConfig::default() };
        let data = read_with("x0,x1,x2,y0,y1,y2\n1,2,3,10,20,30\n", &config).unwrap();
        assert_eq!(data.channels, ["dim_0", "dim_1"]);
        assert_eq!(data.segments[0].values, [1., 10., 2., 20., 3., 30.]);
        let data = read("x0,x1,x2,y0,y1,y2\n1,2,3,10,20,30\n").unwrap();
        assert_eq!(data.channels, ["x", "y"], "by their names");
        assert_eq!(data.segments[0].values, [1., 10., 2., 20., 3., 30.]);
        let error = read_with("x0,x1,x2\n1,2,3\n", &config).unwrap_err();
        assert!(
            error.contains("x.csv: 3 value columns do not divide into data.wide_channels = 2"),
            "{error}"
        );
        let config = DataConfig { wide_channels: 0, ..DataConfig::default() };
        assert!(read_with("x0\n1\n", &config).unwrap_err().contains("data.wide_channels = 0"));
    }

    #[test]
    fn value_columns_are_those_configured_in_that_order() {
        let channels = Some(vec!["p1".to_owned(), "p0".to_owned()]);
        let config = DataConfig {
            channels,
            series: Some("id".into()),
            format: Format::Wide,
            ..DataConfig::default()
        };
        let data = read_with("id,note,p0,p1\nabc,hello,1,2\n", &config).unwrap();
        assert_eq!(
            (&data.segments[0].series[..], &data.segments[0].values[..]),
            ("abc", &[2., 1.][..])
        );
    }

    #[test]
    fn bad_rows_name_line_and_column() {
        assert!(
            read("label,p0\na,1\nb,x\n")
                .unwrap_err()
                .contains("x.csv: line 3, column \"p0\": expected a number")
        );
        assert!(read("label,p0\na,1,2\n").unwrap_err().contains("line 2: expected 2 fields"));
        assert!(
            read("label,split\na,train\n").unwrap_err().contains("no column is left for values")
        );
        assert!(read("node,p0\n,1\n").unwrap_err().contains("column \"node\": the cell is empty"));
    }

    #[test]
    fn a_label_may_be_absent() {
        let data = read("label,p0\n,1\na,2\n").unwrap();
        assert_eq!(
            (data.segments[0].labels.clone(), data.segments[1].labels.clone()),
            (Labels::None, Labels::One(0))
        );
    }

    #[test]
    fn all_files_need_the_same_value_columns() {
        let files: [(&str, &[u8]); 2] =
            [("a.csv", b"p0,p1\n1,2\n"), ("b.csv", b"p0,p1,p2\n1,2,3\n")];
        let error = read_inline(&files, &DataConfig::default(), None).unwrap_err();
        assert!(error.contains("b.csv: column \"p2\" is not in a.csv"), "{error}");
    }

    #[test]
    fn a_model_for_other_channels_is_an_error() {
        let channels = ["ax".to_owned(), "ay".to_owned()];
        let expected = Some(Expected { channels: &channels, classes: &[] });
        let error = read_inline(&[("x.csv", b"p0,p1\n1,2\n")], &DataConfig::default(), expected)
            .unwrap_err();
        assert!(
            error.contains("read as the channels dim_0, but the model expects ax, ay"),
            "{error}"
        );
    }

    fn any_rows() -> impl Strategy<Value = Vec<[i16; 4]>> {
        prop::collection::vec(any::<[i16; 4]>(), 1..10)
    }

    proptest! {
        #[test]
        fn a_table_gives_back_every_value(
            rows in any_rows(),
            n_channels in prop::sample::select(&[1_usize, 2, 4][..]),
        ) {
            let mut text = "a,b,c,d\n".to_owned();
            for row in &rows {
                text += &(row.map(|value| value.to_string()).join(",") + "\n");
            }
            let config = DataConfig { wide_channels: n_channels, ..DataConfig::default() };
            let data = read_with(&text, &config).unwrap();
            prop_assert_eq!(rows.len(), data.segments.len());
            for (row, segment) in rows.iter().zip(&data.segments) {
                let n_steps = 4 / n_channels;
                let places = (0..n_steps)
                    .flat_map(|step| (0..n_channels).map(move |channel| channel * n_steps + step));
                let given: Vec<f64> = places.map(|place| f64::from(row[place])).collect();
                prop_assert_eq!(&segment.values, &given);
            }
        }

        #[test]
        fn any_bytes_return(
            text in prop::collection::vec(any::<u8>(), 0..300),
            wide_channels in 0..5_usize,
        ) {
            let format = Format::Wide;
            let config = DataConfig { format, wide_channels, ..DataConfig::default() };
            let _ = read_inline(&[("x.csv", &text)], &config, None);
        }
    }
}
