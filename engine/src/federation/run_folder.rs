//! The folder of a simulation, where only what an earlier one wrote is replaced.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use aggregate::{Targets, atomic_write};
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// Who wrote a report, by its own word.
const MARK: &str = "edgectl simulate";
/// How the names of files end that a simulation writes.
const ENDINGS: [&str; 3] = [".safetensors", ".safetensors.server", ".safetensors.variate"];

/// What every report says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    written_by: String,
    /// All that the run may have written, relative to the folder.
    files: Vec<String>,
}

/// A record with the report of a run that is over.
#[derive(Serialize)]
struct Finished<'a, R> {
    #[serde(flatten)]
    report: &'a R,
    #[serde(flatten)]
    record: Record,
}

/// The folder of a run, and which of its files are the run's to replace: those that the report there
/// lists, which an earlier run wrote.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    report: PathBuf,
    listed: HashSet<String>,
    files: Vec<String>,
    targets: Targets,
}

impl RunFolder {
    /// Reads the list of an earlier run, if there was one. Nothing is changed.
    ///
    /// # Errors
    /// If a file has the report's name that is not the report of a simulation.
    pub fn open(path: &Path, report: &str) -> anyhow::Result<Self> {
        let report = path.join(report);
        let mut targets = Targets::default();
        let listed =
            if targets.add(&report)?.exists() { read_list(&report)? } else { HashSet::new() };
        Ok(Self { path: path.to_owned(), report, listed, files: Vec::new(), targets })
    }

    /// Takes in files that the run will write, relative to the folder.
    ///
    /// # Errors
    /// If one is there that no earlier run wrote, or that is no plain file.
    pub fn take(&mut self, files: Vec<String>) -> anyhow::Result<()> {
        for file in &files {
            let path = self.path.join(file);
            self.check_is_below(&path)?;
            let there = path.symlink_metadata().map_err(|error| error.kind());
            if there.as_ref().is_err_and(|&kind| kind == ErrorKind::NotFound) {
                continue;
            }
            ensure!(
                there.as_ref().err() != Some(&ErrorKind::NotADirectory),
                "{}: cannot prepare the folder: there is a file of its name",
                path.parent().unwrap_or(&path).display()
            );
            ensure!(
                self.listed.contains(file),
                "{}: it is there already, and {} does not list it as a file of an earlier \
                 simulation; name another folder with --out, or move it away",
                path.display(),
                self.report.display()
            );
            self.targets.add(&path)?;
        }
        self.files.extend(files);
        Ok(())
    }

    /// Fails if a link lies between the folder and a file: it could lead to somebody else's.
    fn check_is_below(&self, path: &Path) -> anyhow::Result<()> {
        let between = path.ancestors().skip(1).take_while(|folder| *folder != self.path);
        for folder in between {
            ensure!(
                !folder.is_symlink(),
                "{}: it is a link, and a simulation writes into folders of its own only; move it away",
                folder.display()
            );
        }
        Ok(())
    }

    /// The files that would be replaced, to hold them against what is read.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Writes the list, so that whatever becomes of the run its files are known, and removes those
    /// of the earlier run that this one will not write.
    ///
    /// # Errors
    /// If a file cannot be written or removed.
    pub fn begin(&self) -> anyhow::Result<()> {
        self.write(&self.record())?;
        let kept: HashSet<&String> = self.files.iter().collect();
        for file in self.listed.iter().filter(|file| !kept.contains(file)) {
            self.check_is_below(&self.path.join(file))?;
            remove(&self.path.join(file))?;
        }
        Ok(())
    }

    /// Writes the report, with the list.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&self, report: &impl Serialize) -> anyhow::Result<()> {
        self.write(&Finished { report, record: self.record() })
    }

    fn record(&self) -> Record {
        Record { written_by: MARK.to_owned(), files: self.files.clone() }
    }

    fn write(&self, content: &impl Serialize) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(content).context("the report")?;
        atomic_write(&self.report, &json)?;
        Ok(())
    }
}

/// The files that a report lists; a name that no simulation gives makes it none.
fn read_list(report: &Path) -> anyhow::Result<HashSet<String>> {
    let bytes = fs::read(report).with_context(|| format!("{}: cannot read", report.display()))?;
    let record = serde_json::from_slice::<Record>(&bytes).ok();
    let record = record.filter(|r| r.written_by == MARK && r.files.iter().all(|f| is_own_name(f)));
    let record = record.with_context(|| {
        format!(
            "{}: it is not the report of a simulation with the list of its files, and would be \
             replaced; name another folder with --out, or move it away",
            report.display()
        )
    })?;
    Ok(record.files.into_iter().collect())
}

fn is_own_name(file: &str) -> bool {
    let inside = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    inside && ENDINGS.iter().any(|ending| file.ends_with(ending))
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot remove", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_files_are_replaced_or_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let file = |name: &str| format!("{name}.safetensors");
        let mut first = RunFolder::open(folder.path(), "report.json").unwrap();
        first.take(vec![file("a"), file("b")]).unwrap();
        first.begin().unwrap();
        for name in ["a", "b", "mine"] {
            fs::write(at(&file(name)), name).unwrap();
        }
        let mut second = RunFolder::open(folder.path(), "report.json").unwrap();
        second.take(vec![file("a")]).unwrap();
        let error = second.take(vec![file("mine")]).unwrap_err().to_string();
        assert!(error.contains("mine.safetensors: it is there already"), "{error}");
        second.begin().unwrap();
        second.finish(&serde_json::json!({ "rounds": 3 })).unwrap();
        assert!(at(&file("a")).exists() && at(&file("mine")).exists());
        assert!(!at(&file("b")).exists());
        let mut third = RunFolder::open(folder.path(), "report.json").unwrap();
        assert!(third.take(vec![file("a")]).is_ok());
    }

    #[test]
    fn a_report_of_somebody_else_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let listing = |file: &str| format!(r#"{{"written_by":"{MARK}","files":["{file}"]}}"#);
        for text in [
            "{}",
            "",
            r#"{"files":[]}"#,
            &listing("../x.safetensors"),
            &listing("/x.safetensors"),
            &listing("notes.txt"),
        ] {
            fs::write(&path, text).unwrap();
            assert!(RunFolder::open(folder.path(), "report.json").is_err(), "{text}");
        }
        fs::write(&path, listing("nodes/x.safetensors")).unwrap();
        assert!(RunFolder::open(folder.path(), "report.json").is_ok());
    }
}
