//! The sink of every format: finds out what columns mean, and hands rows on as runs.

use std::path::Path;

use anyhow::bail;

use super::block::{Block, Need};
use super::collect::Collector;
use super::columns::{Columns, Names, is_long, position, require};
use super::config::Format;
use super::counters::is_counter;
use super::dataset::Expected;
use super::file::File;
use super::files;
use super::join::Joined;
use super::listing::{Mark, Told};
use super::long::Long;
use super::notes;
use super::patterns;
use super::reader::{Header, Needs, Note, Series, Sink};
use super::reading::{Layout, Selection};
use super::runs::Runs;
use super::samples::Samples;
use super::select::Accepted;
use super::split_by::{ShareOf, SplitBy};
use super::time_column;
use super::wide::Wide;

/// Takes one file.
pub(super) struct FileSink<'f, 'a> {
    file: File<'f, 'a>,
    kind: Kind,
    layout: Option<Opened<'a>>,
    /// Columns of text, which are counted in a description.
    texts: Vec<usize>,
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
enum Opened<'a> {
    Long(Box<Long<'a>>),
    Wide(Wide<'a>),
    Samples(Samples),
}

impl<'f, 'a> FileSink<'f, 'a> {
    /// Of a file whose format is of a kind.
    pub(super) fn new(
        path: &'f Path,
        kind: Kind,
        told: Told,
        joined: Joined,
        all: &'f mut Collector<'a>,
        runs: &'f mut dyn Runs,
    ) -> Self {
        let of_whole = match told.of_all().mark {
            Some(Mark::For(split)) => split,
            _ => files::split_of(path),
        };
        let file = File {
            path,
            unit: "line",
            of_whole,
            header: Vec::new(),
            told,
            joined,
            only: Vec::new(),
            sides: None,
            selection: Selection::default(),
            all,
            runs,
        };
        Self { file, kind, layout: None, texts: Vec::new() }
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
        let wanted = if by_name { all.wanted_channels() } else { channels };
        let named = patterns::named(wanted.unwrap_or_default(), names)?;
        let lenient = all.expected.is_some();
        let ignored = self.ignored(&named, lenient)?;
        let mut columns =
            Columns::find(self.file.path, names, config, (&named, &ignored), lenient)?;
        self.file.only = self.only(&columns, lenient)?;
        let both = self.file.all.config.split.as_ref().is_some_and(SplitBy::both_listed);
        self.file.sides = columns.split.filter(|_| both);
        let free = columns.rest.iter().copied();
        let conditions: Vec<usize> = self.file.only.iter().map(|&(column, _)| column).collect();
        let is_condition =
            |column: &usize| conditions.contains(column) && !named.contains(&names[*column]);
        let is_of_model = |column: usize| {
            all.expected.is_some_and(|expected| expected.channels.contains(&names[column]))
        };
        let counts = |column: usize| {
            let counts = header.sample.is_some_and(|sample| is_counter(names, column, sample));
            counts && channels.is_none() && !is_of_model(column)
        };
        let counters: Vec<usize> = free.filter(|&column| counts(column)).collect();
        columns.rest.retain(|column| !is_condition(column) && !counters.contains(column));
        let texts = |columns: &[usize]| columns.iter().map(|&c| names[c].clone()).collect();
        self.file.selection.counters = texts(&counters);
        self.file.selection.ignored = texts(&ignored);
        let condition = |&(column, cells): &(usize, &Accepted)| {
            format!("{} is {}", names[column], cells.words())
        };
        self.file.selection.only = self.file.only.iter().map(condition).collect();
        let (mut long, mut no_time) = (by_name, None);
        if columns.time.is_none() && config.time.is_none() && config.format != Format::Wide {
            let values = named.iter().filter_map(|name| position(names, name));
            let taken: Vec<usize> =
                values.chain(columns.parts()).chain(ignored.iter().copied()).collect();
            let guess = header.sample.and_then(|sample| {
                time_column::guess(names, &taken, &columns.of_series(), sample, all.notes.is_some())
            });
            no_time = time_column::only_named(names, &taken).filter(|_| guess.is_none());
            if let Some(column) = guess {
                columns.take_time(column);
                let wide = config.wide_channels != 1
                    || config.wide_order.is_some()
                    || config.picture.is_some();
                long |= !wide && !time_column::looks_wide(names, &columns.rest);
            }
        }
        self.pass_texts(header, &named, &mut columns);
        let free_names: Vec<&str> =
            columns.rest.iter().map(|&column| names[column].as_str()).collect();
        let (layout, mut needs) = if long {
            let (long, needs) = Long::open(&mut self.file, columns, header.delimiter)?;
            (Opened::Long(Box::new(long)), needs)
        } else {
            let (wide, needs) = Wide::open(&mut self.file, columns, header.delimiter)?;
            (Opened::Wide(wide), needs)
        };
        self.layout = Some(layout);
        self.texts.iter().for_each(|&column| needs[column] = Need::Text);
        if let Some(column) = no_time {
            let warning = time_column::no_time(&names[column]);
            self.file.amend(|read| read.warnings.push(warning));
        }
        if time_column::is_in_parts(&free_names) {
            self.file.amend(|read| read.warnings.push(time_column::IN_PARTS.to_owned()));
        }
        Ok(self.needs(needs))
    }

    /// In a description, takes columns of text that no name makes channels from those without a part.
    fn pass_texts(&mut self, header: &Header<'_>, named: &[String], columns: &mut Columns) {
        let (Some(sample), true) = (header.sample, self.file.all.notes.is_some()) else { return };
        let is_text = |column: &usize| {
            let is_named = named.contains(&header.names[*column]);
            !is_named && notes::is_text(sample, *column, header.delimiter)
        };
        self.texts = columns.rest.iter().copied().filter(is_text).collect();
        columns.rest.retain(|column| !self.texts.contains(column));
        self.file.selection.texts =
            self.texts.iter().map(|&column| header.names[column].clone()).collect();
    }

    /// The columns that the configuration has read as nothing; those that it names as channels are not
    /// among them, nor those of a pattern that a model's data may lack.
    fn ignored(&self, channels: &[String], lenient: bool) -> anyhow::Result<Vec<usize>> {
        let File { path, header, all, .. } = &self.file;
        let Some(entries) = &all.config.ignore else { return Ok(Vec::new()) };
        let own = patterns::named(entries, header)?;
        if all.config.channels.is_some()
            && let Some(name) = own.iter().find(|name| channels.contains(name))
        {
            bail!("data.channels and data.ignore list {name:?}; take it out of one of them");
        }
        let every: Vec<usize> = (0..header.len()).collect();
        let found = if lenient {
            let one = |entry: &String| {
                let entry = std::slice::from_ref(entry);
                patterns::columns(path, header, ("data.ignore", entry), &every).unwrap_or_default()
            };
            entries.iter().flat_map(one).collect()
        } else {
            patterns::columns(path, header, ("data.ignore", entries), &every)?
        };
        Ok(found.into_iter().filter(|&column| !channels.contains(&header[column])).collect())
    }

    /// The columns with conditions on rows. A model's data may lack the label and the split column: then
    /// a condition on it is none.
    fn only(&self, columns: &Columns, lenient: bool) -> anyhow::Result<Vec<(usize, &'a Accepted)>> {
        let File { path, header, all, .. } = &self.file;
        let config = all.config;
        let Names { label, split, .. } = Names::of(config, &[]);
        let mut found = Vec::new();
        for (name, accepted) in &config.only {
            let is_part = |part: &Option<String>, column: Option<usize>| {
                column.is_none() && part.as_ref() == Some(name)
            };
            let may_lack = is_part(&label, columns.label) || is_part(&split, columns.split);
            match position(header, name) {
                Some(column) => found.push((column, accepted)),
                None if lenient && may_lack => {}
                None => {
                    require(path, header, name, "data.where names it")?;
                }
            }
        }
        Ok(found)
    }

    /// Holds what is said of rows of tables to files that are none.
    fn check_samples(&self) -> anyhow::Result<()> {
        let config = self.file.all.config;
        let path = self.file.path.display();
        if let Some(name) = config.only.keys().next() {
            bail!("{path}: data.where chooses rows by the column {name:?}, but this is no table");
        }
        if !config.join.is_empty() {
            bail!("{path}: data.join needs times, but this is no table of time steps");
        }
        if config.picture.is_some() {
            bail!("{path}: data.picture cuts rows of wide tables, but this is no table");
        }
        if let Some(by @ (SplitBy::After(_) | SplitBy::Fraction { by: ShareOf::Rows, .. })) =
            &config.split
        {
            bail!(
                "{path}: data.split is by {}, which fits long tables only; say fraction with by = \"series\"",
                by.words()
            );
        }
        Ok(())
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
        self.check_samples()?;
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
        if let Some(notes) = &mut self.file.all.notes {
            notes.texts(block, &self.file.header, &self.texts);
        }
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
