//! What the files of one data set have in common.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::columns::require;
use super::config::DataConfig;
use super::dataset::Expected;
use super::labels::Classes;
use super::listing::Listing;
use super::notes::Notes;
use super::patterns::{self, has_pattern};
use super::reading::FileRead;
use super::table::listed;

/// A file whose channels are not those of the files before it.
#[derive(Debug)]
pub(super) struct OtherChannels(String);

impl fmt::Display for OtherChannels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OtherChannels {}

/// Holds all files to the same channels and classes, and notes how each was read.
pub(super) struct Collector<'a> {
    pub(super) config: &'a DataConfig,
    pub(super) expected: Option<Expected<'a>>,
    pub(super) classes: Classes,
    pub(super) readings: Vec<FileRead>,
    /// Tables that tell of files and frames.
    pub(super) listings: Vec<Listing>,
    /// What a description notes where training refuses; nothing where it does refuse.
    pub(super) notes: Option<Notes>,
    /// The value columns of the first file, for the files after it.
    columns: Option<(PathBuf, Vec<String>)>,
    channels: Option<(PathBuf, Vec<String>)>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(config: &'a DataConfig, expected: Option<Expected<'a>>) -> Self {
        Self {
            config,
            expected,
            classes: Classes::new(expected.map(|expected| expected.classes)),
            readings: Vec::new(),
            listings: Vec::new(),
            notes: None,
            columns: None,
            channels: None,
        }
    }

    /// What says which columns hold values where a column is a channel: the configuration, else the model;
    /// instead of patterns what the model made of them.
    pub(super) fn wanted_channels(&self) -> Option<&'a [String]> {
        let configured = self.config.channels.as_deref();
        let expected = self.expected.map(|expected| expected.channels);
        if configured.is_some_and(has_pattern) {
            expected.or(configured)
        } else {
            configured.or(expected)
        }
    }

    /// Places in `header` of the value columns: `wanted` if there are such, patterns among the `rest`; else
    /// the `rest` of the columns. What no name says must be in all files what it is in the first.
    pub(super) fn value_columns(
        &mut self,
        path: &Path,
        header: &[String],
        wanted: Option<&[String]>,
        rest: &[usize],
    ) -> anyhow::Result<Vec<usize>> {
        let found = match wanted {
            Some(wanted) => {
                if self.config.channels.as_deref() != Some(wanted) {
                    let why = "the model reads it";
                    return wanted.iter().map(|name| require(path, header, name, why)).collect();
                }
                let found = patterns::columns(path, header, ("data.channels", wanted), rest)?;
                if !has_pattern(wanted) {
                    return Ok(found);
                }
                found
            }
            None => rest.to_vec(),
        };
        if let Some(column) = found.iter().find(|&&column| header[column].is_empty()) {
            bail!(
                "{}: column {} has no name; name it in the header, or list the columns that are \
                 values in data.channels",
                path.display(),
                column + 1
            );
        }
        let Some((first, columns)) = &self.columns else {
            self.columns = Some((
                path.to_owned(),
                found.iter().map(|&column| header[column].clone()).collect(),
            ));
            return Ok(found);
        };
        let why = format!("{} has it, and all files need the same channels", first.display());
        let places = columns
            .iter()
            .map(|name| require(path, header, name, &why))
            .collect::<anyhow::Result<Vec<_>>>()
            .map_err(|error| OtherChannels(format!("{error:#}")))?;
        if let Some(&extra) = found.iter().find(|column| !places.contains(column)) {
            bail!(OtherChannels(format!(
                "{}: column {:?} is not in {}, and all files need the same channels; list the \
                 columns that are values in data.channels",
                path.display(),
                header[extra],
                first.display()
            )));
        }
        Ok(places)
    }

    /// Holds a file's channels to those of the model and of the other files.
    pub(super) fn agree(&mut self, path: &Path, channels: Vec<String>) -> anyhow::Result<()> {
        if channels.is_empty() {
            bail!("{}: no column is left for values; list some in data.channels", path.display());
        }
        if let Some(expected) = self.expected
            && channels != expected.channels
        {
            bail!(
                "{}: read as the channels {}, but the model expects {}; correct data.channels or \
                 data.format",
                path.display(),
                listed(&channels),
                listed(expected.channels)
            );
        }
        match &self.channels {
            Some((first, others)) if *others != channels => bail!(OtherChannels(format!(
                "{}: the channels are {}, but those of {} are {}; read files with other channels \
                 on their own",
                path.display(),
                listed(&channels),
                first.display(),
                listed(others)
            ))),
            Some(_) => {}
            None => self.channels = Some((path.to_owned(), channels)),
        }
        Ok(())
    }

    /// The channels that a file must have: those of the model, or of the files before it.
    pub(super) fn known_channels(&self) -> Option<&[String]> {
        let others = self.channels.as_ref().map(|(_, channels)| &channels[..]);
        self.expected.map(|expected| expected.channels).or(others)
    }

    /// The channels of all files.
    pub(super) fn channels(&self) -> &[String] {
        self.channels.as_ref().map_or(&[], |(_, channels)| channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn error<T: std::fmt::Debug>(result: anyhow::Result<T>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn later_files_follow_the_first() {
        let config = DataConfig::default();
        let mut all = Collector::new(&config, None);
        let mut columns = |name: &str, header: &str, rest: &[usize]| {
            all.value_columns(Path::new(name), &names(header), None, rest)
        };
        assert_eq!(columns("a.csv", "t ax ay", &[1, 2]).unwrap(), [1, 2]);
        assert_eq!(columns("b.csv", "ay ax t", &[0, 1]).unwrap(), [1, 0]);
        let missing = error(columns("c.csv", "t ax az", &[1, 2]));
        assert!(missing.contains("c.csv: no column \"ay\": a.csv has it"), "{missing}");
        let extra = error(columns("d.csv", "ax ay az", &[0, 1, 2]));
        assert!(extra.contains("d.csv: column \"az\" is not in a.csv"), "{extra}");
    }

    #[test]
    fn wanted_columns_come_in_their_order_and_leave_the_rest() {
        let config = DataConfig { channels: Some(names("ay ax")), ..DataConfig::default() };
        let mut all = Collector::new(&config, None);
        let wanted = all.wanted_channels();
        assert_eq!(
            all.value_columns(Path::new("a"), &names("ax note ay"), wanted, &[0, 1, 2]).unwrap(),
            [2, 0]
        );
        let missing =
            error(all.value_columns(Path::new("a.csv"), &names("ax Ay"), wanted, &[0, 1]));
        assert!(
            missing.contains("data.channels lists it") && missing.contains("mean \"Ay\""),
            "{missing}"
        );
        let config = DataConfig { channels: Some(names("ax ax")), ..DataConfig::default() };
        let mut all = Collector::new(&config, None);
        let wanted = all.wanted_channels();
        let twice = error(all.value_columns(Path::new("a"), &names("ax"), wanted, &[0]));
        assert!(twice.contains("lists \"ax\" twice"), "{twice}");
    }

    #[test]
    fn a_pattern_means_in_all_files_what_it_means_in_the_first() {
        let config = DataConfig { channels: Some(names("a*")), ..DataConfig::default() };
        let mut all = Collector::new(&config, None);
        let wanted = all.wanted_channels();
        let mut columns = |name: &str, header: &str| {
            all.value_columns(Path::new(name), &names(header), wanted, &[0, 1, 2])
        };
        assert_eq!(columns("a.csv", "ax b ay").unwrap(), [0, 2]);
        assert_eq!(columns("b.csv", "ay ax b").unwrap(), [1, 0]);
        assert!(error(columns("c.csv", "ax ay az")).contains("\"az\" is not in a.csv"));
        assert!(error(columns("d.csv", "ax b c")).contains("no column \"ay\": a.csv has it"));
        let model = names("ay ax");
        let all = Collector::new(&config, Some(Expected { channels: &model, classes: &[] }));
        assert_eq!(all.wanted_channels(), Some(&model[..]), "not what the pattern is now");
    }

    #[test]
    fn a_column_without_a_name_is_no_channel() {
        let config = DataConfig::default();
        let mut all = Collector::new(&config, None);
        let unnamed = error(all.value_columns(
            Path::new("a.csv"),
            &[String::new(), "ax".to_owned()],
            None,
            &[0, 1],
        ));
        assert!(unnamed.contains("a.csv: column 1 has no name"), "{unnamed}");
    }

    #[test]
    fn channels_agree_with_the_model_and_among_files() {
        let config = DataConfig::default();
        let (ax, dim) = (names("ax"), names("dim_0"));
        let mut all = Collector::new(&config, None);
        all.agree(Path::new("a.csv"), ax.clone()).unwrap();
        assert!(error(all.agree(Path::new("b.ts"), dim.clone())).contains("those of a.csv are ax"));
        assert!(
            error(all.agree(Path::new("b.csv"), Vec::new()))
                .contains("no column is left for values")
        );
        let mut all = Collector::new(&config, Some(Expected { channels: &ax, classes: &[] }));
        assert!(
            error(all.agree(Path::new("b.ts"), dim)).contains("dim_0, but the model expects ax")
        );
    }
}
