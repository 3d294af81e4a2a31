//! What a description looks at: the files that training reads, and where a folder has none, those of the
//! folders below it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::config::{DataConfig, Format};
use super::files::{self, Found};
use super::reader::has_extension;
use super::readers::READERS;
use super::source::inner_name;

/// So many folders below each other are looked into.
const DEPTH: usize = 8;

/// So many folders are looked into at all.
const MOST_FOLDERS: usize = 10_000;

/// Endings of files that are not told of: they are for people, or parts of records.
const SILENT: [&str; 6] = ["", "md", "txt", "dat", "atr", "pdf"];

/// What was found, and what is to be said of it.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) found: Found,
    pub(super) remarks: Vec<String>,
    looked_into: usize,
}

impl Survey {
    /// Of the paths that are to be described.
    ///
    /// # Errors
    /// Paths that lead to no data, and folders that cannot be listed.
    pub(super) fn of(paths: &[PathBuf], config: &DataConfig) -> anyhow::Result<Self> {
        let mut survey = Self::default();
        let mut refused = None;
        for path in paths {
            if path.is_dir() {
                if let Err(error) = survey.folder(path, config.format, DEPTH) {
                    refused.get_or_insert(error);
                }
            } else {
                survey.add(files::find_all(std::slice::from_ref(path), config.format)?);
            }
        }
        if let Some(error) = refused {
            return Err(error);
        }
        if paths.is_empty() {
            files::find_all(paths, config.format)?;
        }
        // A link may lead to a file that is here anyway.
        let mut seen = HashSet::new();
        let key = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        survey.found.data.retain(|path| seen.insert(key(path)));
        survey.annotations(config);
        Ok(survey)
    }

    fn add(&mut self, more: Found) {
        self.found.data.extend(more.data);
        self.found.beside.extend(more.beside);
    }

    /// A folder: what training reads of it, else what is in folders below.
    fn folder(&mut self, folder: &Path, format: Format, depth: usize) -> anyhow::Result<()> {
        self.looked_into += 1;
        let below = below(folder);
        self.others(folder);
        match files::find_all(&[folder.to_owned()], format) {
            Ok(found) => {
                let is_read = |path: &PathBuf| found.data.iter().any(|file| file.starts_with(path));
                let is_data = |path: &&PathBuf| {
                    !is_read(path) && files::find_all(&[(*path).clone()], format).is_ok()
                };
                let more: Vec<String> =
                    below.iter().take(100).filter(is_data).map(|path| shown(path)).collect();
                if !more.is_empty() {
                    self.remarks.push(format!(
                        "{}: read without the folders in it that hold data: {}; name them to have them read",
                        folder.display(),
                        more.join(", ")
                    ));
                }
                self.add(found);
                Ok(())
            }
            Err(error) => {
                let before = self.found.data.len();
                for path in &below {
                    if depth > 0 && self.looked_into < MOST_FOLDERS {
                        // One without data is nothing strange where another has some.
                        let _ = self.folder(path, format, depth - 1);
                    }
                }
                if self.found.data.len() == before {
                    return Err(error);
                }
                if depth == DEPTH {
                    self.remarks.push(format!(
                        "{}: no data files in the folder itself; those of the folders below it are described, \
                         but training reads only folders and files that are named",
                        folder.display()
                    ));
                }
                Ok(())
            }
        }
    }

    /// Remarks on files in formats that are not read.
    fn others(&mut self, folder: &Path) {
        let Ok(entries) = folder.read_dir() else { return };
        let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let (name, _) = inner_name(&path);
            let ending = name.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            let is_read = READERS
                .iter()
                .flat_map(|reader| reader.extensions())
                .any(|extension| has_extension(&name, extension));
            let is_hidden = shown(&path).starts_with('.');
            if is_read || is_hidden || SILENT.contains(&&*ending) || !path.is_file() {
                continue;
            }
            counts.entry(ending).or_insert((0, shown(&path))).0 += 1;
        }
        for (ending, (n, first)) in counts {
            let more = if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
            self.remarks.push(format!(
                "{}: {first}{more} not read, as *.{ending} is no format of data that is known",
                folder.display()
            ));
        }
    }

    /// Remarks on annotations of WFDB records that nothing has read.
    fn annotations(&mut self, config: &DataConfig) {
        if config.annotations.is_some() {
            return;
        }
        let mut records = self
            .found
            .data
            .iter()
            .filter(|path| has_extension(path, "hea") && path.with_extension("atr").is_file());
        let Some(first) = records.next() else { return };
        let remark = format!(
            "{}: annotations (*.atr) beside {} records are not read; data.annotations = {{}} makes labels of them",
            first.display(),
            1 + records.count()
        );
        self.remarks.push(remark);
    }
}

/// The folders in a folder, by name, without hidden ones.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<PathBuf> =
        paths.filter(|path| path.is_dir() && !shown(path).starts_with('.')).collect();
    folders.sort();
    folders
}

/// The last part of a path.
fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
