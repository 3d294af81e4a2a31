//! A folder that is watched: each file that is renamed into it is read once, as stdin would be.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use serde_json::json;

use super::lines::{LONGEST, Line, next_line};
use super::source::{Gate, Source};

/// How often it is looked into.
const OFTEN: Duration = Duration::from_millis(200);

/// Files that were read and could not be moved away, of which so many are remembered.
const REMEMBERED: usize = 10_000;

/// A folder whose files are read, the oldest first; each then goes to `done` in it, or `failed`.
#[derive(Debug)]
pub struct Folder {
    name: String,
    path: PathBuf,
    /// Files that could not be moved away.
    seen: HashSet<(SystemTime, PathBuf)>,
}

impl Folder {
    /// Watches this folder.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        ensure!(path.is_dir(), "{}: it is no folder", path.display());
        let name = format!("folder {}", path.display());
        Ok(Self { name, path: path.to_owned(), seen: HashSet::new() })
    }

    /// The files that are new, the oldest first. What is hidden, or called as what is still being written, is not.
    fn new_files(&self) -> std::io::Result<Vec<(SystemTime, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            if name.starts_with('.') || [".tmp", ".part"].iter().any(|end| name.ends_with(end)) {
                continue;
            }
            // One that has gone since is none.
            let Ok(meta) = fs::metadata(&path) else { continue };
            let of = (meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), path);
            if meta.is_file() && !self.seen.contains(&of) {
                found.push(of);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Hands a file's rows on; says whether it was read to its end, and how many rows and labels were taken.
    fn read(&self, path: &Path, gate: &Gate<'_>) -> anyhow::Result<(bool, u64)> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut intake = gate.intake(&self.name).of_series(&stem);
        let mut input = BufReader::with_capacity(1 << 16, File::open(path)?);
        let (mut line, mut wanted) = (Vec::new(), true);
        let read = loop {
            if !wanted || gate.is_stopping() {
                break Ok(false);
            }
            match next_line(&mut input, &mut line) {
                Ok(Line::End) => break Ok(true),
                Ok(Line::TooLong) => intake.unreadable(&format!("longer than {LONGEST} bytes")),
                Ok(Line::Whole) => match intake.line(&line, Instant::now()) {
                    Ok(more) => wanted = more,
                    Err(error) => break Err(error),
                },
                Err(error) => break Err(error.into()),
            }
        };
        intake.end();
        read.map(|is_whole| (is_whole, intake.taken()))
    }

    /// Takes a file out of the way; one of the same name that went there before stays.
    fn put_away(&mut self, file: (SystemTime, PathBuf), to: &str) -> std::io::Result<()> {
        let folder = self.path.join(to);
        let name = file.1.file_name().unwrap_or_default();
        let mut place = folder.join(name);
        if place.exists() {
            let since = file.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let mut name = name.to_owned();
            name.push(format!(".{}", since.as_nanos()));
            place = folder.join(name);
        }
        // Not the folder itself, where that has gone meanwhile.
        let made = match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        let moved = made.and_then(|()| fs::rename(&file.1, place));
        if moved.is_err() {
            if self.seen.len() >= REMEMBERED {
                // Better to stop than to read all of them again and again.
                return moved;
            }
            self.seen.insert(file);
        }
        Ok(())
    }
}

impl Source for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn ends(&self) -> bool {
        false
    }

    fn run(&mut self, gate: &Gate<'_>) -> anyhow::Result<()> {
        let mut is_lost = false;
        loop {
            let found = self.new_files();
            if found.is_err() != is_lost {
                is_lost = !is_lost;
                gate.ways.events.tell(json!({
                    "event": "source", "source": self.name,
                    "result": if is_lost { "lost" } else { "connected" },
                    "reason": found.as_ref().err().map(ToString::to_string),
                }));
            }
            // One that has gone, as a disk may, may come back.
            let files = found.unwrap_or_default();
            for file in files {
                let read = self.read(&file.1, gate);
                let name = file.1.display().to_string();
                let (to, reason) = match read {
                    // It was not read to its end, and is read again in the next run.
                    Ok((false, _)) => return Ok(()),
                    Ok((true, 0)) => ("failed", Some("there is no row in it".to_owned())),
                    Ok((true, _)) => ("done", None),
                    Err(error) => ("failed", Some(format!("{error:#}"))),
                };
                let moved = self.put_away(file, to);
                gate.ways.events.tell(json!({
                    "event": "file", "file": name, "result": to, "reason": reason,
                }));
                moved.with_context(|| format!("{name}: cannot be moved away"))?;
            }
            if !gate.pause(OFTEN) {
                return Ok(());
            }
        }
    }
}
