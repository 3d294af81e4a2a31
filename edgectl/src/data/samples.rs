//! Formats whose files hold samples or recordings: the format says where one begins.

use super::block::{Block, Need};
use super::file::File;
use super::reader::Series;
use super::reading::{Clock, Layout};
use super::runs::{Rows, Run};

/// A file of samples that is read; each is a series of its own, called by its number.
pub(super) struct Samples {
    layout: Layout,
    values: Vec<usize>,
    count: usize,
    run: Option<usize>,
    scratch: Vec<f64>,
}

impl Samples {
    /// What to read of a file with these columns, all of which are channels.
    pub(super) fn open(
        file: &mut File<'_, '_>,
        layout: Layout,
    ) -> anyhow::Result<(Self, Vec<Need>)> {
        let every: Vec<usize> = (0..file.header.len()).collect();
        let wanted = file.all.wanted_channels();
        let values = file.all.value_columns(file.path, &file.header, wanted, &every)?;
        let names = values.iter().map(|&column| file.header[column].clone()).collect();
        file.all.agree(file.path, names)?;
        file.note(layout, None, None);
        let mut needs = vec![Need::Skip; every.len()];
        for &column in &values {
            needs[column] = Need::Number;
        }
        Ok((Self { layout, values, count: 0, run: None, scratch: Vec::new() }, needs))
    }

    /// A sample begins.
    pub(super) fn begin(
        &mut self,
        file: &mut File<'_, '_>,
        series: &Series<'_>,
    ) -> anyhow::Result<()> {
        file.runs.end(self.run.take().as_slice());
        let label = match series.label {
            Some(label) => file.all.classes.class_of(label),
            None => Ok(None),
        };
        let label = label.map_err(|reason| file.error_at(series.place, &reason))?;
        self.count += 1;
        self.run = Some(file.runs.begin(&Run {
            source: file.path,
            layout: self.layout,
            node: None,
            series: &self.count.to_string(),
            split: file.of_name,
            first_line: series.place,
            label,
            rate_hz: series.rate_hz,
            clock: Clock::Numbers,
        }));
        Ok(())
    }

    /// The next rows of the sample.
    pub(super) fn rows(&mut self, file: &mut File<'_, '_>, block: &Block) {
        let columns: Vec<&[f64]> = self.values.iter().map(|&c| block.numbers(c)).collect();
        self.scratch.clear();
        for row in 0..block.n_rows() {
            self.scratch.extend(columns.iter().map(|column| column[row]));
        }
        if let Some(run) = self.run {
            let n_channels = columns.len();
            let rows = Rows { values: &self.scratch, n_channels, times: None, labels: None };
            file.runs.rows(run, &rows);
        }
    }

    /// No more rows.
    pub(super) fn finish(self, file: &mut File<'_, '_>) {
        file.runs.end(self.run.as_slice());
    }
}
