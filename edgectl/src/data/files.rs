//! From the paths a user gives to the files to read, and what a file's name says.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::config::Format;
use super::reader::{Reader, has_extension};
use super::readers::admitted;
use super::source::inner_name;
use super::split::Split;

/// The files behind `paths`: a file is itself; a directory is its data files sorted by name
/// (`*.csv`, `*.ts`, `*.parquet`, …, those that `format` can read, also packed as `*.csv.gz` or
/// `*.csv.zst`), without those of its subdirectories and hidden ones. Pictures in it are one series, the directory itself. Where it holds recordings, tables
/// in it are lists of them and no data.
///
/// # Errors
/// No path at all, a path that does not exist, a directory that cannot be listed or has no data
/// files, and a file that is reached twice.
pub fn find(paths: &[PathBuf], format: Format) -> anyhow::Result<Vec<PathBuf>> {
    Ok(find_all(paths, format)?.data)
}

/// Files that were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those to read, and folders of pictures.
    pub(super) data: Vec<PathBuf>,
    /// Tables beside recordings.
    pub(super) beside: Vec<PathBuf>,
}

/// [`find`], and the tables that are no data.
pub(super) fn find_all(paths: &[PathBuf], format: Format) -> anyhow::Result<Found> {
    if paths.is_empty() {
        bail!("no data given; name a file or a directory of data files");
    }
    let mut found = Found::default();
    for path in paths {
        let metadata = path
            .metadata()
            .with_context(|| format!("{}: cannot read the data; check the path", path.display()))?;
        if metadata.is_dir() {
            in_directory(path, format, &mut found)?;
        } else {
            found.data.push(path.clone());
        }
    }
    let mut seen = HashSet::new();
    for file in &found.data {
        if !seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
            bail!(
                "{}: given twice, its rows would count double; name each file once",
                file.display()
            );
        }
    }
    Ok(found)
}

fn in_directory(directory: &Path, format: Format, found: &mut Found) -> anyhow::Result<()> {
    let wanted: Vec<&str> = admitted(format).flat_map(Reader::extensions).copied().collect();
    let reader_of = |path: &Path| {
        let (name, _) = inner_name(path);
        let is_its = |reader: &&dyn Reader| {
            reader.extensions().iter().any(|extension| has_extension(&name, extension))
        };
        admitted(format).find(is_its)
    };
    let unreadable = || format!("{}: cannot list the directory", directory.display());
    let (mut files, mut tables, mut recordings) = (Vec::new(), Vec::new(), Vec::new());
    let mut has_pictures = false;
    for entry in directory.read_dir().with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let Some(reader) = reader_of(&path).filter(|_| !hidden && !path.is_dir()) else { continue };
        // A pipe would wait for its writer; a link that leads nowhere is an error when it is read.
        if path.exists() && !path.is_file() {
            bail!("{}: it is no plain file; move it out of the folder", path.display());
        }
        if reader.reads_folders() {
            has_pictures = true;
        } else if reader.is_recording() {
            recordings.push(path);
        } else if reader.is_table() {
            tables.push(path);
        } else {
            files.push(path);
        }
    }
    let has_recordings = has_pictures || !recordings.is_empty();
    if has_recordings {
        tables.sort();
        found.beside.append(&mut tables);
    }
    files.append(&mut recordings);
    files.append(&mut tables);
    if has_pictures {
        // A folder has a name, which `.` has not.
        let named = directory.file_name().is_none();
        files.push(if named { directory.canonicalize()? } else { directory.to_owned() });
    }
    if files.is_empty() {
        bail!(
            "{}: no data files in this directory (looked for *.{}, not in its subdirectories); \
             name a directory that holds some, or the files themselves",
            directory.display(),
            wanted.join(", *.")
        );
    }
    files.sort();
    found.data.append(&mut files);
    Ok(())
}

/// The split that a file's name gives all its rows: `X_TRAIN.ts`, `x_test.csv`.
pub(super) fn split_of(path: &Path) -> Split {
    stem_and_split(path).1
}

/// The file's name without its extension and without `_TRAIN` or `_TEST`.
pub(super) fn stem_of(path: &Path) -> String {
    stem_and_split(path).0
}

fn stem_and_split(path: &Path) -> (String, Split) {
    let (name, _) = inner_name(path);
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    for (suffix, split) in [("_train", Split::Train), ("_test", Split::Test)] {
        if let Some((start, end)) =
            stem.len().checked_sub(suffix.len()).and_then(|at| stem.split_at_checked(at))
            && !start.is_empty()
            && end.eq_ignore_ascii_case(suffix)
        {
            return (start.to_owned(), split);
        }
    }
    (stem.into_owned(), Split::Unmarked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(files: &[PathBuf]) -> Vec<String> {
        files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn directory(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(directory.path().join(name), "").unwrap();
        }
        directory
    }

    #[test]
    fn a_directory_is_its_data_files_by_name() {
        let directory = directory(&[
            "b.csv",
            "a.CSV",
            "c.tsv",
            "d.ts",
            "README.md",
            ".hidden.csv",
            "notes.txt",
        ]);
        fs::create_dir(directory.path().join("sub.csv")).unwrap();
        let paths = [directory.path().to_owned()];
        assert_eq!(
            names(&find(&paths, Format::Auto).unwrap()),
            ["a.CSV", "b.csv", "c.tsv", "d.ts"]
        );
        assert_eq!(names(&find(&paths, Format::Long).unwrap()), ["a.CSV", "b.csv", "c.tsv"]);
        assert_eq!(names(&find(&paths, Format::Ts).unwrap()), ["d.ts"]);
    }

    #[test]
    fn files_keep_the_order_given() {
        let directory = directory(&["b.csv", "a.csv"]);
        let paths = ["b.csv", "a.csv"].map(|name| directory.path().join(name));
        assert_eq!(names(&find(&paths, Format::Auto).unwrap()), ["b.csv", "a.csv"]);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let directory = directory(&["README.md"]);
        let error = |paths: &[PathBuf]| format!("{:#}", find(paths, Format::Auto).unwrap_err());
        assert!(error(&[]).contains("no data given"));
        let missing = error(&[directory.path().join("nope.csv")]);
        assert!(missing.contains("nope.csv") && missing.contains("check the path"), "{missing}");
        let empty = error(&[directory.path().to_owned()]);
        assert!(
            empty.contains("no data files in this directory")
                && empty.contains("*.csv, *.tsv, *.ts"),
            "{empty}"
        );
    }

    #[test]
    fn a_file_reached_twice_is_an_error() {
        let directory = directory(&["a.csv"]);
        let paths = [directory.path().to_owned(), directory.path().join("a.csv")];
        assert!(find(&paths, Format::Auto).unwrap_err().to_string().contains("a.csv: given twice"));
    }

    #[test]
    fn names_give_stem_and_split() {
        for (name, stem, split) in [
            ("d/GunPoint_TRAIN.ts", "GunPoint", Split::Train),
            ("GunPoint_TEST.ts", "GunPoint", Split::Test),
            ("ecg_test.csv", "ecg", Split::Test),
            ("ecg_Train.csv", "ecg", Split::Train),
            ("_train.csv", "_train", Split::Unmarked),
            ("latest.csv", "latest", Split::Unmarked),
            ("subject_01.csv", "subject_01", Split::Unmarked),
            ("é_test.csv", "é", Split::Test),
            ("ééé.csv", "ééé", Split::Unmarked),
        ] {
            assert_eq!(
                (stem_of(Path::new(name)), split_of(Path::new(name))),
                (stem.to_owned(), split),
                "{name}"
            );
        }
    }
}
