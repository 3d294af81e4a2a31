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
/// `*.csv.zst`), without those of its subdirectories and hidden ones; of a directory that has only the
/// subdirectories `train` and `test` it is theirs. Pictures in it are one series, the directory itself.
/// Where it holds recordings, tables in it are lists of them and no data.
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
    let (mut has_pictures, mut folders) = (false, Vec::new());
    for entry in directory.read_dir().with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.is_dir() {
            folders.push(path);
            continue;
        }
        let Some(reader) = reader_of(&path).filter(|_| !hidden) else { continue };
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
        let halves = halves(&folders);
        if !halves.is_empty() {
            return halves.into_iter().try_for_each(|half| in_directory(half, format, found));
        }
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

/// The folders `train` and `test`, if there is no other; the one that comes first is read first.
fn halves(folders: &[PathBuf]) -> Vec<&Path> {
    let split =
        |folder: &PathBuf| folder.file_name().and_then(|name| of_word(&name.to_string_lossy()));
    let splits: Vec<_> = folders.iter().map(split).collect();
    let both = [Some(Split::Train), Some(Split::Test)];
    let is_both = splits.len() == 2 && both.iter().all(|split| splits.contains(split));
    let mut halves: Vec<&Path> = folders.iter().filter(|_| is_both).map(PathBuf::as_path).collect();
    halves.sort();
    halves
}

/// What a file's path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named<'p> {
    /// The name without extension and without what says the split; of `train.csv` the name of its folder.
    pub(super) stem: String,
    /// What all its rows are for.
    pub(super) split: Split,
    /// What says so.
    pub(super) by: Option<&'static str>,
    /// The folder that it is in, or the one above if that says the split.
    pub(super) home: Option<&'p Path>,
}

impl<'p> Named<'p> {
    /// By a name such as `X_TRAIN.ts`, `test_x.csv` or `train.csv`, else by a folder called `train` or
    /// `test`.
    pub(super) fn of(path: &'p Path) -> Self {
        let parent = path.parent();
        let folder =
            parent.and_then(Path::file_name).and_then(|name| of_word(&name.to_string_lossy()));
        let home = if folder.is_some() { parent.and_then(Path::parent) } else { parent };
        let (name, _) = inner_name(path);
        let name = name.file_stem().unwrap_or_default().to_string_lossy();
        let by_name = Some("the names of files");
        if let Some(split) = of_word(&name) {
            let stem =
                home.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
            return Self {
                stem: stem.unwrap_or_else(|| "data".to_owned()),
                split,
                by: by_name,
                home,
            };
        }
        if let Some((stem, split)) = of_end(&name) {
            return Self { stem: stem.to_owned(), split, by: by_name, home };
        }
        let by = folder.map(|_| "the names of folders");
        Self { stem: name.into_owned(), split: folder.unwrap_or(Split::Unmarked), by, home }
    }
}

/// The split that a whole word names.
fn of_word(word: &str) -> Option<Split> {
    let all = [("train", Split::Train), ("test", Split::Test)];
    all.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, split)| split)
}

/// The split that the end of a name names, or else its beginning, and the rest of the name.
fn of_end(name: &str) -> Option<(&str, Split)> {
    const BETWEEN: [char; 4] = ['_', '-', '.', ' '];
    let last = name.rsplit_once(BETWEEN);
    let first = name.split_once(BETWEEN).map(|(word, rest)| (rest, word));
    let mut parts = [last, first].into_iter().flatten().filter(|(rest, _)| !rest.is_empty());
    parts.find_map(|(rest, word)| Some((rest, of_word(word)?)))
}

/// Whether a file that nothing marks is called as rows for the test are: `tests2.csv`,
/// `subject1_validation.csv`, `holdout/x.csv`.
pub(super) fn looks_like_test(path: &Path) -> bool {
    const WORDS: [&str; 10] = [
        "test",
        "tests",
        "testing",
        "testset",
        "testdata",
        "valid",
        "validation",
        "val",
        "holdout",
        "heldout",
    ];
    let (name, _) = inner_name(path);
    let name = name.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder =
        path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    [Some(name), folder].into_iter().flatten().any(|name| {
        let lower = name.to_lowercase();
        lower.split(|c: char| !c.is_alphabetic()).any(|word| WORDS.contains(&word))
    })
}

/// The split that a file's name or folder gives all its rows.
pub(super) fn split_of(path: &Path) -> Split {
    Named::of(path).split
}

/// The file's name without its extension and without what says the split.
pub(super) fn stem_of(path: &Path) -> String {
    Named::of(path).stem
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
            ("test_a.csv", "a", Split::Test),
            ("train-b_2.csv", "b_2", Split::Train),
            ("a.test.csv.gz", "a", Split::Test),
            ("d/train.csv", "d", Split::Train),
            ("test.csv", "data", Split::Test),
            ("d/train/x.csv", "x", Split::Train),
            ("d/Test/x.csv", "x", Split::Test),
            ("d/test/x_train.csv", "x", Split::Train),
            ("d/train/test.csv", "d", Split::Test),
            ("train/d/x.csv", "x", Split::Unmarked),
            ("_train.csv", "_train", Split::Unmarked),
            ("test_.csv", "test_", Split::Unmarked),
            ("latest.csv", "latest", Split::Unmarked),
            ("testing_a.csv", "testing_a", Split::Unmarked),
            ("subject_01.csv", "subject_01", Split::Unmarked),
            ("é_test.csv", "é", Split::Test),
            ("ééé.csv", "ééé", Split::Unmarked),
        ] {
            let named = Named::of(Path::new(name));
            assert_eq!((named.stem, named.split), (stem.to_owned(), split), "{name}");
            assert_eq!(named.by.is_some(), split != Split::Unmarked, "{name}");
        }
        for (name, home) in [("d/train/x.csv", "d"), ("d/x_test.csv", "d"), ("test/x.csv", "")] {
            assert_eq!(Named::of(Path::new(name)).home, Some(Path::new(home)), "{name}");
        }
    }

    #[test]
    fn a_directory_of_train_and_test_is_both() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        for name in ["train/b.csv", "train/a.csv", "test/a.csv"] {
            file(name);
        }
        fs::write(root.path().join("README.md"), "").unwrap();
        let paths = [root.path().to_owned()];
        let found = find(&paths, Format::Auto).unwrap();
        assert_eq!(names(&found), ["a.csv", "a.csv", "b.csv"]);
        assert_eq!(split_of(&found[0]), Split::Test);
        file("other/a.csv");
        let error = find(&paths, Format::Auto).unwrap_err().to_string();
        assert!(error.contains("no data files in this directory"), "{error}");
    }

    #[test]
    fn names_of_held_out_rows_are_seen() {
        for name in ["tests2.csv", "s1_validation.csv", "holdout/x.csv", "S1-Val.csv.gz"] {
            assert!(looks_like_test(Path::new(name)), "{name}");
        }
        for name in ["latest.csv", "contest_1.csv", "valley.csv", "x.csv"] {
            assert!(!looks_like_test(Path::new(name)), "{name}");
        }
    }
}
