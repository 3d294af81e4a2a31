//! From paths to a data set: every file by the reader of its format.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::collect::Collector;
use super::config::DataConfig;
use super::dataset::{Dataset, Expected};
use super::files::{self, Found};
use super::join::{Joined, Table, TableRows};
use super::joins::{self, Join};
use super::listing::{Listing, Mark, Told};
use super::readers::reader_of;
use super::reading::{FileRead, Layout};
use super::runs::Runs;
use super::segments::Segments;
use super::sink::{FileSink, Kind};
use super::source::{Source, inner_name};

impl Dataset {
    /// Reads files, and the data files of directories.
    ///
    /// A directory stands for its files in formats that are read (`*.csv`, `*.ts`, `*.parquet`, …), also
    /// packed ones (`*.csv.gz`, `*.csv.zst`), sorted by name. A file called
    /// `…_TRAIN` or `…_TEST` marks all its rows so, unless a split column does. Series of different
    /// files are different series. With `expected`, its channels are read and others passed over,
    /// its classes are the classes, and the label and split columns that `config` names may be
    /// absent.
    ///
    /// # Errors
    /// Paths that lead to no data, files that do not parse or do not fit together, and data that is
    /// not what a model expects. Every message names the file and, where there is one, the line and
    /// the column.
    pub fn read(
        paths: &[PathBuf],
        config: &DataConfig,
        expected: Option<Expected<'_>>,
    ) -> anyhow::Result<Self> {
        let mut all = Collector::new(config, expected);
        let mut segments = Segments::default();
        read_files(paths, &mut all, &mut segments)?;
        let dataset = finish(all, segments);
        if dataset.segments.is_empty()
            && let Some(file) = dataset.readings.iter().find(|file| file.not_wanted > 0)
        {
            bail!(
                "{}: no row is left: none has the cells that data.where asks for ({})",
                file.path.display(),
                file.reading.selection.only.join(", ")
            );
        }
        Ok(dataset)
    }

    /// Reads what `edgectl preprocess` wrote for a model that reads data as `config` says: the rows
    /// count as scaled.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_preprocessed(
        paths: &[PathBuf],
        config: &DataConfig,
        expected: Expected<'_>,
    ) -> anyhow::Result<Self> {
        let dataset = Self::read(paths, &config.of_written(), Some(expected))?;
        Ok(Self { preprocessed: true, ..dataset })
    }
}

/// Reads files, and the data files of directories, and hands their runs on.
pub(super) fn read_files(
    paths: &[PathBuf],
    all: &mut Collector<'_>,
    runs: &mut dyn Runs,
) -> anyhow::Result<()> {
    all.listings = Listing::of(all.config)?;
    let Found { data, beside } = files::find_all(paths, all.config.format)?;
    for path in joins::without_joined(data, &all.config.join)? {
        if !all.listings.iter().any(|listing| listing.is_at(&path)) {
            read_file(Source::open(&path)?, all, runs)?;
        }
    }
    for path in beside {
        if !all.listings.iter().any(|listing| listing.is_at(&path)) {
            all.readings.push(FileRead::beside(path));
        }
    }
    Ok(())
}

/// Reads one file in its format, and hands its runs on.
///
/// A table is unpacked by its first bytes, another file where its name says that it is packed.
pub(super) fn read_file(
    mut source: Source<'_>,
    all: &mut Collector<'_>,
    runs: &mut dyn Runs,
) -> anyhow::Result<()> {
    let (name, named_packed) = inner_name(source.path);
    let reader = reader_of(all.config.format, &name, source.head()?);
    if named_packed || reader.is_table() {
        source = source.unpacked()?;
    }
    let told = Told::of(&all.listings, source.path)?;
    if told.of_all().mark == Some(Mark::LeftOut) {
        return Ok(());
    }
    let kind = match (reader.is_table(), reader.is_recording()) {
        (true, _) => Kind::Table,
        (false, true) => Kind::Recording,
        (false, false) if reader.name() == "ts" => Kind::Samples(Layout::Ts),
        (false, false) => Kind::Samples(Layout::Samples),
    };
    let config = all.config;
    let joined = read_joined(source.path, config)?;
    let mut sink = FileSink::new(source.path, kind, told, joined, all, runs);
    reader.read(source, config, &mut sink)?;
    sink.finish();
    Ok(())
}

/// Reads the tables that are joined to a file.
fn read_joined(file: &Path, config: &DataConfig) -> anyhow::Result<Joined> {
    let read = |join: &Join| -> anyhow::Result<Table> {
        let path = join.table_of(file);
        let own = Table::config(join, config);
        let mut all = Collector::new(&own, None);
        let mut rows = TableRows::default();
        read_file(Source::open(&path)?, &mut all, &mut rows)?;
        Table::new(join, path, all.channels().to_vec(), rows)
    };
    let read = |join: &Join| {
        read(join).with_context(|| {
            format!("{}: joining {:?} as data.join says", file.display(), join.path)
        })
    };
    Ok(Joined::new(config.join.iter().map(read).collect::<anyhow::Result<_>>()?))
}

/// The data set, with its classes in their final order.
fn finish(all: Collector<'_>, segments: Segments) -> Dataset {
    let channels = all.channels().to_vec();
    let readings = all.readings;
    let (classes, places) = all.classes.finish();
    let mut segments = segments.finish();
    for segment in &mut segments {
        segment.labels.renumber(&places);
    }
    Dataset { channels, classes, segments, readings, preprocessed: false }
}

/// Reads inline files, in the given order: what the tests of the readers share.
#[cfg(test)]
pub(super) fn read_inline(
    files: &[(&str, &[u8])],
    config: &DataConfig,
    expected: Option<Expected<'_>>,
) -> Result<Dataset, String> {
    let mut all = Collector::new(config, expected);
    let mut segments = Segments::default();
    for (path, text) in files {
        read_file(Source::new(Path::new(path), *text), &mut all, &mut segments)
            .map_err(|error| format!("{error:#}"))?;
    }
    Ok(finish(all, segments))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::config::Format;
    use super::super::labels::Labels;
    use super::*;

    #[test]
    fn a_directory_reads_as_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("README.md", "not data");
        write("b.csv", "\u{feff}series,label,ay,ax\r\n1,run,2,1\r\n");
        write("a.csv", "series,label,ax,ay\n1,walk,3,4\n");
        let read = || Dataset::read(&[directory.path().to_owned()], &DataConfig::default(), None);
        let data = read().unwrap();
        assert_eq!(
            (&data.channels[..], &data.classes[..]),
            (&["ax".to_owned(), "ay".to_owned()][..], &["run".to_owned(), "walk".to_owned()][..])
        );
        assert_eq!(
            (&data.segments[0].values[..], &data.segments[1].values[..]),
            (&[3., 4.][..], &[1., 2.][..])
        );
        assert_eq!(
            (data.segments[0].labels.clone(), data.segments[1].labels.clone()),
            (Labels::One(1), Labels::One(0))
        );
        assert_eq!(data.nodes().into_iter().map(|node| node.name).collect::<Vec<_>>(), ["a", "b"]);

        write("c.csv", "");
        let error = format!("{:#}", read().unwrap_err());
        assert!(error.contains("c.csv: the file is empty"), "{error}");
    }

    #[test]
    fn the_header_tells_long_from_wide() {
        let n_segments = |text: &[u8], config: &DataConfig| {
            read_inline(&[("x.csv", text)], config, None).unwrap().segments.len()
        };
        let with = |format| DataConfig { format, ..DataConfig::default() };
        assert_eq!(n_segments(b"t,x\n0,1\n1,2\n", &with(Format::Auto)), 1);
        assert_eq!(n_segments(b"x,y\n0,1\n1,2\n", &with(Format::Auto)), 2);
        assert_eq!(n_segments(b"x,y\n0,1\n1,2\n", &with(Format::Long)), 1);
        assert_eq!(n_segments(b"t,x\n0,1\n1,2\n", &with(Format::Wide)), 2);
        let config = DataConfig { time: Some("x".to_owned()), ..DataConfig::default() };
        assert_eq!(n_segments(b"x,y\n0,1\n1,2\n", &config), 1);
    }

    #[test]
    fn long_and_wide_files_do_not_go_together() {
        let files: [(&str, &[u8]); 2] = [("a.csv", b"x,y\n1,2\n"), ("b.csv", b"t,x,y\n0,1,2\n")];
        let error = read_inline(&files, &DataConfig::default(), None).unwrap_err();
        assert!(
            error.contains("b.csv: the channels are x, y, but those of a.csv are dim_0"),
            "{error}"
        );
    }
}
