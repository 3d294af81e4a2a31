//! What is in files, found as they are read: nothing of a row is kept.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::class_count::MAX_CLASSES;
use super::collect::{Collector, OtherChannels};
use super::config::DataConfig;
use super::joins;
use super::listing::Listing;
use super::notes::Notes;
use super::read::{read_file, read_files};
use super::reading::FileRead;
use super::source::Source;
use super::survey::Survey;
use super::tally::{Excerpt, Tally};
use super::understood::Understood;

/// Most sets of files with other channels that are told apart.
const MOST_SETS: usize = 32;

/// What data is, whether or not training could use it as it stands.
#[derive(Debug)]
pub struct Described {
    /// Files with the same channels, and what was understood of them.
    pub sets: Vec<Understood>,
    /// The first rows of the first set, and the names of their channels.
    pub excerpt: Excerpt,
    /// Files that were not read, or not to their end.
    pub unread: Vec<Unread>,
    /// What is to be said of folders.
    pub remarks: Vec<String>,
}

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Its path.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// Files with the same channels.
struct Set<'a> {
    all: Collector<'a>,
    tally: Tally,
}

impl<'a> Set<'a> {
    fn new(config: &'a DataConfig, listings: &[Listing]) -> Self {
        let mut all = Collector::new(config, None);
        all.classes = all.classes.at_most(MAX_CLASSES);
        all.notes = Some(Notes::default());
        all.listings = listings.to_vec();
        Self { all, tally: Tally::default() }
    }

    fn excerpt(&mut self) -> Excerpt {
        let mut excerpt = std::mem::take(&mut self.tally.excerpt);
        excerpt.names = self.all.channels().iter().take(excerpt.n_channels).cloned().collect();
        excerpt
    }

    fn read(&mut self, path: &Path) -> anyhow::Result<()> {
        let read = read_file(Source::open(path)?, &mut self.all, &mut self.tally);
        // Rows before what stopped the reader have been counted.
        self.tally.end_all();
        read
    }
}

impl Described {
    /// Reads files and the data files of folders, and where a folder has none, those of the folders below
    /// it, in memory that does not grow with their rows. What training refuses because a job has to say
    /// more is noted, and reading goes on: columns of text, cells of a split column that say neither train
    /// nor test, times that run backwards, files with other channels. Of several files those that cannot
    /// be read are left out and told of.
    ///
    /// # Errors
    /// If no file can be read, and what is wrong with the configuration.
    pub fn read(paths: &[PathBuf], config: &DataConfig) -> anyhow::Result<Self> {
        let listings = Listing::of(config)?;
        let Survey { found, remarks, .. } = Survey::of(paths, config)?;
        let is_listing = |path: &Path| listings.iter().any(|listing| listing.is_at(path));
        let mut files = joins::without_joined(found.data, &config.join)?;
        files.retain(|path| !is_listing(path));
        let (mut sets, mut unread): (Vec<Set<'_>>, _) = (Vec::new(), Vec::new());
        for path in &files {
            let Err(error) = read_into(path, &mut sets, config, &listings) else { continue };
            if files.len() == 1 {
                return Err(error);
            }
            unread.push((path, error));
        }
        if sets.is_empty()
            && let Some((_, error)) = unread.drain(..).next()
        {
            return Err(error);
        }
        let beside = found.beside.into_iter().filter(|path| !is_listing(path));
        if let Some(first) = sets.first_mut() {
            first.all.readings.extend(beside.map(FileRead::beside));
        }
        let unread = unread.into_iter().map(|(path, error)| Unread {
            file: path.display().to_string(),
            reason: format!("{error:#}"),
        });
        let unread = unread.collect();
        let excerpt = sets.first_mut().map(Set::excerpt).unwrap_or_default();
        let sets = sets.into_iter().map(|set| understood(set.all, set.tally)).collect();
        Ok(Self { sets, excerpt, unread, remarks })
    }

    /// All that is strange.
    pub fn warnings(&self) -> Vec<String> {
        let unread = self
            .unread
            .iter()
            .map(|Unread { reason, .. }| format!("not read, or not to its end: {reason}"));
        let of_sets = self.sets.iter().flat_map(|set| set.warnings.iter().cloned());
        self.remarks.iter().cloned().chain(unread).chain(of_sets).collect()
    }

    /// A few lines for people.
    pub fn lines(&self) -> Vec<String> {
        if let [set] = &self.sets[..] {
            return set.lines();
        }
        let n = self.sets.len();
        let mut lines =
            vec![format!("{n} sets of files with different channels, which train on their own")];
        for (i, set) in self.sets.iter().enumerate() {
            lines.push(format!("set {} of {n}", i + 1));
            lines.extend(set.lines().into_iter().map(|line| format!("  {line}")));
        }
        lines
    }
}

/// Reads a file into the first set whose channels it has, else into a new one.
fn read_into<'a>(
    path: &Path,
    sets: &mut Vec<Set<'a>>,
    config: &'a DataConfig,
    listings: &[Listing],
) -> anyhow::Result<()> {
    let mut other = None;
    for set in &mut *sets {
        match set.read(path) {
            Err(error) if error.is::<OtherChannels>() => other = Some(error),
            done => return done,
        }
    }
    if let Some(error) = other.filter(|_| sets.len() >= MOST_SETS) {
        return Err(error);
    }
    let mut set = Set::new(config, listings);
    let read = set.read(path);
    if read.is_ok() || set.tally.steps > 0 {
        sets.push(set);
    }
    read
}

/// What was counted.
fn understood(all: Collector<'_>, tally: Tally) -> Understood {
    let channels = all.channels().to_vec();
    let said_hz = all.config.sample_rate_hz;
    let Collector { classes, readings, notes, .. } = all;
    let overflown = classes.overflown();
    let (names, places) = classes.finish();
    let found = Understood::new(tally, &readings, &channels, (&names, &places));
    let mut found = found.at_rate(said_hz);
    if overflown {
        found.warnings.push(format!(
            "there are more than {MAX_CLASSES} different labels, others are not counted: that is no \
             class; name a column of classes as data.label"
        ));
    }
    if let Some(notes) = notes {
        found.add(&notes, &readings);
    }
    found
}

impl Understood {
    /// What [`Understood::of`] says of the files, read as [`Dataset::read`](super::Dataset::read) does, in
    /// memory that does not grow with their rows: a little is kept of each series that a long table holds,
    /// and at most 10,000 names of classes.
    ///
    /// # Errors
    /// As [`Dataset::read`](super::Dataset::read).
    pub fn read(paths: &[PathBuf], config: &DataConfig) -> anyhow::Result<Self> {
        let mut all = Collector::new(config, None);
        all.classes = all.classes.at_most(MAX_CLASSES);
        let mut tally = Tally::default();
        read_files(paths, &mut all, &mut tally)?;
        Ok(understood(all, tally))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Dataset;
    use super::*;

    #[test]
    fn what_is_counted_in_passing_is_what_is_in_the_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let mut rows = String::from("series,t_s,label,split,x,y\n");
        // Series by turns, several blocks, a gap, doubled times, missing values and labels.
        for i in 0..200_000_u32 {
            let (t, label) =
                (i / 3 + 5 * u32::from(i > 90_000), ["b", "a", ""][i as usize / 7 % 3]);
            let split = if i % 1000 < 900 { "train" } else { "test" };
            let y = if i % 11 == 0 { String::new() } else { (i % 17).to_string() };
            rows += &format!("{},{t},{label},{split},{i},{y}\n", i % 2);
        }
        write("a.csv", &rows);
        write("b_TEST.csv", "y,x,t_s\n1,2,0\n3,4,1\n");
        let paths = [folder.path().to_owned()];
        let config = DataConfig::default();
        let found = Understood::read(&paths, &config).unwrap();
        assert_eq!(found, Understood::of(&Dataset::read(&paths, &config, None).unwrap()));
        assert_eq!((found.steps, found.classes.len(), found.rate_hz), (200_002, 2, Some(1.0)));
        assert!(found.gaps > 0 && found.doubled_times > 0, "{found:?}");
        assert!(found.warnings.iter().any(|warning| warning.contains("channel \"x\" only grows")));
        fs::remove_file(folder.path().join("a.csv")).unwrap();

        for (name, text) in [
            ("w.csv", "label,node,p0,p1\n1,a,1,2\n2,b,3,\n1,b,5,6\n"),
            ("w.ts", "@classLabel true 1 2 3\n@data\n1,2:2\n3:1\n"),
        ] {
            let paths = [folder.path().join(name)];
            write(name, text);
            let found = Understood::read(&paths, &config).unwrap();
            assert_eq!(found, Understood::of(&Dataset::read(&paths, &config, None).unwrap()));
            assert!(found.series >= 2 && found.classes.len() >= 2, "{found:?}");
        }
    }

    #[test]
    fn labels_without_end_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        let rows = (0..MAX_CLASSES + 5).map(|i| format!("{i},{i}.5,1\n"));
        fs::write(&path, format!("t,label,x\n{}", rows.collect::<String>())).unwrap();
        let found = Understood::read(&[path], &DataConfig::default()).unwrap();
        assert_eq!(found.classes.len(), MAX_CLASSES);
        assert!(found.warnings[0].contains("more than 10000 different labels"), "{found:?}");
    }
}
