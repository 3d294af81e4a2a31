//! Tables that say of other files, or of their frames, what they are.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use super::columns::{position, require};
use super::config::DataConfig;
use super::number::quoted;
use super::recordings::LabelTable;
use super::split::Split;
use super::table::{Row, Table};

/// A table of files, of frames, or of frames of files.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    path: PathBuf,
    names_files: bool,
    names_frames: bool,
    has_split: bool,
    /// By file, and by frame; a table without files has them below the empty name.
    entries: HashMap<String, Arc<Frames>>,
}

type Frames = HashMap<Frame, Entry>;

/// Of what a row tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Frame {
    All,
    Number(u64),
    Name(String),
}

/// What a row says.
#[derive(Debug, Default)]
struct Entry {
    label: Option<String>,
    mark: Option<Mark>,
    node: Option<String>,
}

/// What rows are for, or that nothing is to be made of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    For(Split),
    LeftOut,
}

/// What all tables say of one file.
#[derive(Debug, Default)]
pub(super) struct Told {
    tables: Vec<(Option<Arc<Frames>>, Mode)>,
}

/// Of what a table tells.
#[derive(Debug, Clone, Copy)]
struct Mode {
    names_frames: bool,
    has_split: bool,
}

/// What is told of a file or a frame.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said<'t> {
    /// The class.
    pub(super) label: Option<&'t str>,
    /// What it is for.
    pub(super) mark: Option<Mark>,
    /// The node.
    pub(super) node: Option<&'t str>,
}

impl Listing {
    /// The tables that a configuration names.
    ///
    /// # Errors
    /// If one cannot be read.
    pub(super) fn of(config: &DataConfig) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::new();
        if let Some(path) = &config.split_file {
            all.push(Self::of_splits(path)?);
        }
        if let Some(labels) = &config.labels
            && let Some(path) = &labels.path
        {
            all.push(Self::read(path, labels)?);
        }
        Ok(all)
    }

    /// A table whose first column names files, and whose second says what they are for.
    fn of_splits(path: &Path) -> anyhow::Result<Self> {
        let header = open(path)?.header().to_vec();
        let [file, split, ..] = &header[..] else {
            bail!("{}: expected two columns, a file's name and train or test", path.display());
        };
        let names = LabelTable {
            file: Some(file.clone()),
            split: Some(split.clone()),
            ..LabelTable::default()
        };
        let mut listing = Self::read(path, &names)?;
        // What else it has is no one's.
        for entry in
            listing.entries.values_mut().filter_map(Arc::get_mut).flat_map(HashMap::values_mut)
        {
            (entry.label, entry.node) = (None, None);
        }
        Ok(listing)
    }

    fn read(path: &Path, names: &LabelTable) -> anyhow::Result<Self> {
        let mut table = open(path)?;
        let header = table.header().to_vec();
        let column = |key: &str, name: &Option<String>, default: &str| match name {
            Some(name) => {
                require(path, &header, name, &format!("data.labels.{key} names it")).map(Some)
            }
            None => Ok(position(&header, default)),
        };
        let file = column("file", &names.file, "file")?;
        let frame = column("frame", &names.frame, "frame")?;
        let label = column("label", &names.label, "label")?;
        let split = column("split", &names.split, "split")?;
        let node = column("node", &names.node, "node")?;
        if file.or(frame).is_none() {
            bail!(
                "{}: no column names files or frames; name one as data.labels.file or data.labels.frame",
                path.display()
            );
        }
        let mut entries: HashMap<String, Frames> = HashMap::new();
        while let Some(row) = table.next_row()? {
            let name = file.map_or(Ok(""), |column| text(&row, column))?;
            let frame_key = match frame {
                Some(column) => Frame::of(text(&row, column)?),
                None => Frame::All,
            };
            let given = |column: Option<usize>| -> anyhow::Result<Option<String>> {
                let cell = column.map_or(Ok(""), |column| text(&row, column))?;
                Ok((!cell.is_empty()).then(|| cell.to_owned()))
            };
            let mark = split.map(|column| {
                let cell = row.cell(column);
                Mark::of(cell, names.test.as_deref()).map_err(|why| row.error(column, &why))
            });
            let entry = Entry { label: given(label)?, mark: mark.transpose()?, node: given(node)? };
            let name = name.strip_prefix("./").unwrap_or(name).to_owned();
            let frames = entries.entry(name).or_default();
            if frames.insert(frame_key, entry).is_some() {
                let column = frame.or(file).unwrap_or_default();
                return Err(row.error(column, "a row above tells of the same; keep one of them"));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            names_files: file.is_some(),
            names_frames: frame.is_some(),
            has_split: split.is_some(),
            entries: entries.into_iter().map(|(name, frames)| (name, Arc::new(frames))).collect(),
        })
    }

    /// Whether a file is this table.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        path == self.path
            || path.file_name() == self.path.file_name()
                && path
                    .canonicalize()
                    .is_ok_and(|path| self.path.canonicalize().is_ok_and(|own| own == path))
    }

    /// The frames of a file; none if no row names it.
    fn of_file(&self, path: &Path) -> Option<Arc<Frames>> {
        if !self.names_files {
            return self.entries.get("").cloned();
        }
        let folder = self
            .path
            .parent()
            .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let folder = folder.and_then(|folder| folder.canonicalize().ok());
        let whole = path.canonicalize().ok();
        let inside =
            whole.as_ref().zip(folder).and_then(|(path, folder)| path.strip_prefix(folder).ok());
        let name = path.file_name().map(Path::new);
        // As a path from the table, or by name; with and without the ending.
        let spellings = [inside, name].into_iter().flatten();
        let mut spellings = spellings.flat_map(|path| [path.to_owned(), path.with_extension("")]);
        spellings.find_map(|spelling| self.entries.get(spelling.to_str()?).cloned())
    }
}

impl Told {
    /// What tables say of a file.
    ///
    /// # Errors
    /// If one that names files does not name this one.
    pub(super) fn of(listings: &[Listing], path: &Path) -> anyhow::Result<Self> {
        let told = |listing: &Listing| {
            let frames = listing.of_file(path);
            if frames.is_none() && listing.names_files {
                bail!(
                    "{}: no row of {} tells of this file; add one, or take the file out of the data",
                    path.display(),
                    listing.path.display()
                );
            }
            let Listing { names_frames, has_split, .. } = *listing;
            Ok((frames, Mode { names_frames, has_split }))
        };
        Ok(Self { tables: listings.iter().map(told).collect::<anyhow::Result<_>>()? })
    }

    /// Whether something is said of single frames.
    pub(super) fn names_frames(&self) -> bool {
        self.tables.iter().any(|(_, mode)| mode.names_frames)
    }

    /// What is said of the whole file.
    pub(super) fn of_all(&self) -> Said<'_> {
        let mut said = Said::default();
        for (frames, mode) in &self.tables {
            if !mode.names_frames {
                said.add(frames.as_ref().and_then(|frames| frames.get(&Frame::All)), *mode);
            }
        }
        said
    }

    /// What is said of a frame, by its name or else by its number.
    pub(super) fn of_frame(&self, number: usize, name: Option<&str>) -> Said<'_> {
        let keys = match name {
            None => [None, Some(Frame::Number(number as u64))],
            Some(name) => {
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                [Some(Frame::Name(name.to_owned())), Some(Frame::of(stem))]
            }
        };
        let mut said = self.of_all();
        for (frames, mode) in &self.tables {
            if mode.names_frames {
                let entry = |key| frames.as_ref()?.get(key);
                said.add(keys.iter().flatten().find_map(entry), *mode);
            }
        }
        said
    }
}

impl<'t> Said<'t> {
    /// Adds what a table says, where none before it said something else.
    fn add(&mut self, entry: Option<&'t Entry>, mode: Mode) {
        // A table of splits says of what it does not name that it has no use.
        let unlisted = mode.has_split.then_some(Mark::LeftOut);
        let mark = entry.map_or(unlisted, |entry| entry.mark);
        self.label = self.label.or(entry.and_then(|entry| entry.label.as_deref()));
        self.node = self.node.or(entry.and_then(|entry| entry.node.as_deref()));
        self.mark = if mark == Some(Mark::LeftOut) { mark } else { self.mark.or(mark) };
    }
}

impl Frame {
    fn of(cell: &str) -> Self {
        cell.parse().map_or_else(|_| Self::Name(cell.to_owned()), Self::Number)
    }
}

impl Mark {
    fn of(cell: &[u8], test: Option<&[String]>) -> Result<Self, String> {
        let left_out = [&b""[..], b"gap", b"none"];
        if left_out.iter().any(|word| cell.eq_ignore_ascii_case(word)) {
            return Ok(Self::LeftOut);
        }
        match (test, Split::of_cell(cell)) {
            (Some(test), _) => {
                let is_test = test.iter().any(|word| word.as_bytes() == cell);
                Ok(Self::For(if is_test { Split::Test } else { Split::Train }))
            }
            (None, Some(split)) => Ok(Self::For(split)),
            (None, None) => Err(format!(
                "expected train, test, or gap for what is left out, found {}; correct the cell, or list \
                 the cells that mean the test as data.labels.test",
                quoted(cell)
            )),
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Table<BufReader<File>>> {
    let cannot = || format!("{}: cannot open the table, which [data] names", path.display());
    let meta = path.metadata().with_context(cannot)?;
    // A pipe would wait for its writer.
    if !meta.is_file() {
        bail!("{}: it is no plain file", path.display());
    }
    Table::open(path, BufReader::new(File::open(path).with_context(cannot)?))
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> anyhow::Result<&'r str> {
    let cell = row.cell(column);
    std::str::from_utf8(cell).map_err(|_| {
        row.error(column, &format!("{} is not UTF-8 text; convert the file to UTF-8", quoted(cell)))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn listing(text: &str, names: LabelTable) -> Result<(tempfile::TempDir, Listing), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        fs::write(&path, text).unwrap();
        let names = LabelTable { path: Some(path), ..names };
        let config = DataConfig { labels: Some(names), ..DataConfig::default() };
        let mut all = Listing::of(&config).map_err(|error| format!("{error:#}"))?;
        Ok((folder, all.remove(0)))
    }

    fn said(label: &str, mark: Mark) -> Said<'_> {
        Said { label: (!label.is_empty()).then_some(label), mark: Some(mark), node: None }
    }

    const TRAIN: Mark = Mark::For(Split::Train);
    const TEST: Mark = Mark::For(Split::Test);

    #[test]
    fn files_are_found_by_path_and_by_name() {
        let text = "file,label,fold\nclips/a.mp4,fight,0\nb.mp4,normal,4\nc,normal,\n";
        let names = LabelTable {
            split: Some("fold".to_owned()),
            test: Some(vec!["4".to_owned()]),
            ..LabelTable::default()
        };
        let (folder, listing) = listing(text, names).unwrap();
        fs::create_dir(folder.path().join("clips")).unwrap();
        for (name, expected) in [
            ("clips/a.mp4", said("fight", TRAIN)),
            ("clips/b.mp4", said("normal", TEST)),
            ("c.hea", said("normal", Mark::LeftOut)),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            let told = Told::of(std::slice::from_ref(&listing), &path).unwrap();
            assert_eq!((told.of_all(), told.names_frames()), (expected, false), "{name}");
        }
        assert!(listing.is_at(&folder.path().join("clips/../labels.csv")));
        assert!(!listing.is_at(&folder.path().join("clips/b.mp4")));
        let error = Told::of(&[listing], &folder.path().join("d.mp4")).unwrap_err().to_string();
        assert!(
            error.contains("d.mp4: no row of ") && error.contains("tells of this file"),
            "{error}"
        );
    }

    #[test]
    fn frames_are_found_by_number_and_by_name() {
        let text = "frame,label,split\n0,a,train\n7,b,gap\nx7.png,c,test\n9,,train\n";
        let (_folder, listing) = listing(text, LabelTable::default()).unwrap();
        let told = Told::of(&[listing], Path::new("camera.y4m")).unwrap();
        assert!(told.names_frames());
        assert_eq!(told.of_all(), Said::default());
        assert_eq!(told.of_frame(0, None), said("a", TRAIN));
        assert_eq!(told.of_frame(3, Some("000007.jpg")), said("b", Mark::LeftOut));
        assert_eq!(told.of_frame(7, Some("x7.png")), said("c", TEST));
        assert_eq!(told.of_frame(9, None), said("", TRAIN));
        assert_eq!(told.of_frame(1, None), said("", Mark::LeftOut), "no row tells of it");
    }

    #[test]
    fn a_table_of_splits_has_two_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.csv");
        let of = |text: &str| {
            fs::write(&path, text).unwrap();
            let config = DataConfig { split_file: Some(path.clone()), ..DataConfig::default() };
            let all = Listing::of(&config).map_err(|error| format!("{error:#}"))?;
            Told::of(&all, Path::new("r1.hea")).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(of("record,use,label\nr1,TEST,x\n").unwrap().of_all(), said("", TEST));
        assert!(of("record\nr1\n").unwrap_err().contains("expected two columns"));
        let error = of("record,use\nr1,tset\n").unwrap_err();
        assert!(error.contains("line 2, column \"use\": expected train, test"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_table_is_named() {
        let error = |text: &str| listing(text, LabelTable::default()).map(|_| ()).unwrap_err();
        assert!(error("a,b\n1,2\n").contains("no column names files or frames"));
        assert!(error("file\na\na\n").contains("line 3, column \"file\": a row above"));
        assert!(error("").contains("the file is empty"));
        let names = LabelTable { node: Some("nod".to_owned()), ..LabelTable::default() };
        assert!(
            listing("file,node\na,b\n", names)
                .map(|_| ())
                .unwrap_err()
                .contains("data.labels.node")
        );
        let missing =
            DataConfig { split_file: Some("/nowhere/s.csv".into()), ..DataConfig::default() };
        let error = format!("{:#}", Listing::of(&missing).unwrap_err());
        assert!(error.contains("s.csv: cannot open the table, which [data] names"), "{error}");
    }
}
