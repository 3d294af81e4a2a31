//! Formats whose files hold samples or recordings: the format says where one begins.

use std::ops::Range;

use super::block::{Block, Need};
use super::file::File;
use super::files;
use super::listing::{Mark, Said};
use super::reader::{Header, Series};
use super::reading::{Clock, Layout};
use super::runs::{Rows, Run};
use super::split::Split;

/// A file of samples that is read; each is a series of its own, called by its number, or by the file
/// if that is a recording.
pub(super) struct Samples {
    layout: Layout,
    values: Vec<usize>,
    /// The column of the rows' labels.
    label: Option<usize>,
    /// The column of the rows' names.
    frame: Option<usize>,
    count: usize,
    sample: Sample,
    run: Option<Open>,
    scratch: Vec<f64>,
    labels: Vec<Option<u32>>,
}

/// What holds for all rows of the sample at hand.
struct Sample {
    label: Option<u32>,
    rate_hz: Option<f64>,
    /// What its rows are for, where nothing says it of each.
    split: Split,
}

/// The run at hand, and what tells it from the next.
struct Open {
    run: usize,
    split: Split,
    node: Option<String>,
}

impl Samples {
    /// What to read of a file with these columns, of which the first ones are channels.
    pub(super) fn open(
        file: &mut File<'_, '_>,
        header: &Header<'_>,
        layout: Layout,
    ) -> anyhow::Result<(Self, Vec<Need>)> {
        let n_values = [header.label, header.frame].into_iter().flatten().min();
        file.header.truncate(n_values.unwrap_or(header.names.len()));
        let every: Vec<usize> = (0..file.header.len()).collect();
        let wanted = file.all.wanted_channels();
        let values = file.all.value_columns(file.path, &file.header, wanted, &every)?;
        let names = values.iter().map(|&column| file.header[column].clone()).collect();
        file.all.agree(file.path, names)?;
        file.note(layout, None, None);
        let mut needs = vec![Need::Skip; header.names.len()];
        for &column in &values {
            needs[column] = Need::Number;
        }
        let label = header.label.filter(|_| !file.all.classes.ignored());
        let frame = header.frame.filter(|_| file.told.names_frames());
        for column in [label, frame].into_iter().flatten() {
            needs[column] = Need::Text;
        }
        let samples = Self {
            layout,
            values,
            label,
            frame,
            count: 0,
            sample: Sample { label: None, rate_hz: None, split: Split::Unmarked },
            run: None,
            scratch: Vec::new(),
            labels: Vec::new(),
        };
        Ok((samples, needs))
    }

    /// A sample begins.
    pub(super) fn begin(
        &mut self,
        file: &mut File<'_, '_>,
        series: &Series<'_>,
    ) -> anyhow::Result<()> {
        self.end(file);
        self.count += 1;
        let Said { label: said, node, .. } = file.told.of_all();
        let class = match series.label.or(said.map(str::as_bytes)) {
            Some(label) if !file.all.classes.ignored() => file.all.classes.class_of(label),
            _ => Ok(None),
        };
        let label = class.map_err(|reason| file.error_at(series.place, &reason))?;
        let split = file.split_of_sample(node, &self.name(file));
        self.sample = Sample { label, rate_hz: series.rate_hz, split };
        if !self.differs(file) {
            let node = node.map(str::to_owned);
            self.open_run(file, series.place, split, node);
        }
        Ok(())
    }

    /// Whether rows of a sample may differ in what they are.
    fn differs(&self, file: &File<'_, '_>) -> bool {
        self.label.is_some() || file.told.names_frames()
    }

    /// What the sample is called.
    fn name(&self, file: &File<'_, '_>) -> String {
        match self.layout {
            Layout::Recording => files::stem_of(file.path),
            _ => self.count.to_string(),
        }
    }

    fn open_run(
        &mut self,
        file: &mut File<'_, '_>,
        place: usize,
        split: Split,
        node: Option<String>,
    ) {
        let name = self.name(file);
        let run = file.runs.begin(&Run {
            source: file.path,
            layout: self.layout,
            node: node.as_deref(),
            series: &name,
            split,
            first_line: place,
            label: self.sample.label,
            rate_hz: self.sample.rate_hz,
            clock: Clock::Numbers,
        });
        self.run = Some(Open { run, split, node });
    }

    /// The next rows of the sample.
    pub(super) fn rows(&mut self, file: &mut File<'_, '_>, block: &Block) -> anyhow::Result<()> {
        if !self.differs(file) {
            self.hand_on(file, block, 0..block.n_rows());
            return Ok(());
        }
        let (mut start, mut n_left_out) = (0, 0);
        for row in 0..block.n_rows() {
            let name =
                self.frame.and_then(|column| std::str::from_utf8(block.text(column, row)).ok());
            let Said { label, mark, node } = file.told.of_frame(block.place(row), name);
            let split = match mark {
                None => Some(self.sample.split),
                Some(Mark::For(split)) => Some(split),
                Some(Mark::LeftOut) => None,
            };
            let goes_on = self
                .run
                .as_ref()
                .is_some_and(|open| Some(open.split) == split && open.node.as_deref() == node);
            let own = self.label.map(|column| block.text(column, row));
            let class = match label.map(str::as_bytes).or(own) {
                Some(label) if !file.all.classes.ignored() => file.all.classes.class_of(label),
                _ => Ok(self.sample.label),
            };
            let class = class.map_err(|reason| file.error_at(block.place(row), &reason))?;
            if !goes_on {
                let node = node.map(str::to_owned);
                self.hand_on(file, block, start..row);
                start = row;
                self.end(file);
                if let Some(split) = split {
                    self.open_run(file, block.place(row), split, node);
                }
            }
            if split.is_some() {
                self.labels.push(class);
            } else {
                n_left_out += 1;
                start = row + 1;
            }
        }
        self.hand_on(file, block, start..block.n_rows());
        file.amend(|read| read.left_out += n_left_out);
        Ok(())
    }

    /// Hands rows of the run at hand on; their labels are all that were pushed.
    fn hand_on(&mut self, file: &mut File<'_, '_>, block: &Block, rows: Range<usize>) {
        let columns: Vec<&[f64]> = self.values.iter().map(|&c| block.numbers(c)).collect();
        self.scratch.clear();
        for row in rows {
            self.scratch.extend(columns.iter().map(|column| column[row]));
        }
        let differs = self.differs(file);
        if let Some(Open { run, .. }) = self.run {
            let labels = differs.then_some(&self.labels[..]);
            let n_channels = columns.len();
            let rows = Rows { values: &self.scratch, n_channels, times: None, labels };
            file.runs.rows(run, &rows);
        }
        self.labels.clear();
    }

    fn end(&mut self, file: &mut File<'_, '_>) {
        file.runs.end(self.run.take().map(|open| open.run).as_slice());
    }

    /// No more rows.
    pub(super) fn finish(mut self, file: &mut File<'_, '_>) {
        self.end(file);
    }
}
