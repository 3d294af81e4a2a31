//! What is in files, found as they are read: nothing of a row is kept.

use std::path::PathBuf;

use super::class_count::MAX_CLASSES;
use super::collect::Collector;
use super::config::DataConfig;
use super::files;
use super::read::read_file;
use super::source::Source;
use super::tally::Tally;
use super::understood::Understood;

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
        for path in files::find(paths, config.format)? {
            read_file(Source::open(&path)?, &mut all, &mut tally)?;
        }
        let channels = all.channels().to_vec();
        let Collector { classes, readings, .. } = all;
        let overflown = classes.overflown();
        let (names, places) = classes.finish();
        let mut found = Self::new(tally, &readings, &channels, (&names, &places));
        if overflown {
            found.warnings.push(format!(
                "there are more than {MAX_CLASSES} different labels, others are not counted: that is no \
                 class; name a column of classes as data.label"
            ));
        }
        Ok(found)
    }
}
