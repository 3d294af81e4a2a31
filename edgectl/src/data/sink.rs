//! The sink of every format: finds out what columns mean, and hands rows on as runs.

use std::path::Path;

use super::block::{Block, Need};
use super::collect::Collector;
use super::columns::{Columns, is_long, position};
use super::config::Format;
use super::dataset::Expected;
use super::file::File;
use super::files;
use super::listing::{Mark, Told};
use super::long::Long;
use super::reader::{Header, Needs, Note, Series, Sink};
use super::reading::Layout;
use super::runs::Runs;
use super::samples::Samples;
use super::time_column;
use super::wide::Wide;

/// Takes one file.
pub(super) struct FileSink<'f, 'a> {
    file: File<'f, 'a>,
    kind: Kind,
    layout: Option<Opened>,
}

/// What the rows of a format are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Those of a table, which may be time steps or whole samples.
    Table,
    /// Those of samples.
    Samples(Layout),
    /// Those of one recording.
    Recording,
}

/// The layout of the file, once its columns are known.
enum Opened {
    Long(Box<Long>),
    Wide(Wide),
    Samples(Samples),
}

impl<'f, 'a> FileSink<'f, 'a> {
    /// Of a file whose format is of a kind.
    pub(super) fn new(
        path: &'f Path,
        kind: Kind,
        told: Told,
        all: &'f mut Collector<'a>,
        runs: &'f mut dyn Runs,
    ) -> Self {
        let of_whole = match told.of_all().mark {
            Some(Mark::For(split)) => split,
            _ => files::split_of(path),
        };
        let file = File { path, unit: "line", of_whole, header: Vec::new(), told, all, runs };
        Self { file, kind, layout: None }
    }

    /// The file is read.
    pub(super) fn finish(mut self) {
        match self.layout {
            Some(Opened::Long(long)) => long.finish(&mut self.file),
            Some(Opened::Samples(samples)) => samples.finish(&mut self.file),
            Some(Opened::Wide(_)) | None => {}
        }
    }

    /// Finds the layout of a table and the parts of its columns.
    fn open_table(&mut self, header: &Header<'_>) -> anyhow::Result<Needs> {
        let (all, names) = (&*self.file.all, header.names);
        let config = all.config;
        let has_channels = |expected: Expected<'_>| {
            expected.channels.iter().all(|name| position(names, name).is_some())
        };
        let by_name = match config.format {
            Format::Auto => is_long(names, config) || all.expected.is_some_and(has_channels),
            format => format == Format::Long,
        };
        let channels = config.channels.as_deref();
        let wanted = if by_name { all.wanted_channels() } else { channels }.unwrap_or_default();
        let lenient = all.expected.is_some();
        let mut columns = Columns::find(self.file.path, names, config, wanted, lenient)?;
        let mut long = by_name;
        if columns.time.is_none() && config.time.is_none() && config.format != Format::Wide {
            let wanted = wanted.iter().filter_map(|name| position(names, name));
            let parts = [columns.series, columns.label, columns.split, columns.node];
            let taken: Vec<usize> = wanted.chain(parts.into_iter().flatten()).collect();
            let guess = header
                .sample
                .and_then(|sample| time_column::guess(names, &taken, &columns.of_series(), sample));
            if let Some(column) = guess {
                columns.take_time(column);
                let wide = config.wide_channels != 1;
                long |= !wide && !time_column::looks_wide(names, &columns.rest);
            }
        }
        let (layout, needs) = if long {
            let (long, needs) = Long::open(&mut self.file, columns, header.delimiter)?;
            (Opened::Long(Box::new(long)), needs)
        } else {
            let (wide, needs) = Wide::open(&mut self.file, columns, header.delimiter)?;
            (Opened::Wide(wide), needs)
        };
        self.layout = Some(layout);
        Ok(self.needs(needs))
    }

    fn needs(&self, columns: Vec<Need>) -> Needs {
        let all = &self.file.all;
        Needs { columns, labels: !all.classes.ignored(), thousands: all.config.thousands }
    }
}

impl Sink for FileSink<'_, '_> {
    fn columns(&mut self, header: &Header<'_>) -> anyhow::Result<Needs> {
        self.file.unit = header.unit;
        self.file.header = header.names.to_vec();
        header.classes.iter().for_each(|class| self.file.all.classes.declare(class));
        let layout = match self.kind {
            Kind::Table => return self.open_table(header),
            Kind::Samples(layout) => layout,
            Kind::Recording => Layout::Recording,
        };
        let (samples, needs) = Samples::open(&mut self.file, header, layout)?;
        self.layout = Some(Opened::Samples(samples));
        Ok(self.needs(needs))
    }

    fn begin(&mut self, series: &Series<'_>) -> anyhow::Result<()> {
        match &mut self.layout {
            Some(Opened::Samples(samples)) => samples.begin(&mut self.file, series),
            _ => Ok(()),
        }
    }

    fn rows(&mut self, block: &Block) -> anyhow::Result<()> {
        match &mut self.layout {
            Some(Opened::Long(long)) => long.rows(&mut self.file, block),
            Some(Opened::Wide(wide)) => wide.rows(&mut self.file, block),
            Some(Opened::Samples(samples)) => samples.rows(&mut self.file, block),
            None => Ok(()),
        }
    }

    fn note(&mut self, note: Note) {
        let Note::Decimal(sign) = note;
        self.file.amend(|read| read.reading.decimal = Some(sign));
    }
}
