//! A data set as one long table that reads back as the same segments.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;

use anyhow::ensure;

use super::columns::Names;
use super::config::{DataConfig, Format};
use super::dataset::{Dataset, Segment};
use super::scaled::Scaled;
use super::split::Split;
use super::split_by::SplitBy;

impl DataConfig {
    /// How a table is read that [`Dataset::write_long`] wrote from data of this configuration: as a
    /// long one, whatever the files were that it was made of.
    #[must_use]
    pub fn of_written(&self) -> Self {
        Self {
            format: Format::Long,
            series: self.series.as_ref().map(|series| series.joined().as_str().into()),
            time: self.time.clone(),
            sample_rate_hz: self.sample_rate_hz,
            label: self.label.clone(),
            split: self.split.as_ref().and_then(SplitBy::column).map(|name| name.as_str().into()),
            node: self.node.clone(),
            ..Self::default()
        }
    }
}

impl Dataset {
    /// Writes all segments as one long table of `channels`, with what `scaled` makes of them in place of
    /// their own values and labels (NaN is an empty cell); returns the number of rows.
    ///
    /// Columns have the names that `config` gives them. Nodes are written by name, series so that no
    /// two of one node have the same, and time as the number of the row in its series: the original
    /// times are not kept. Rows that are marked neither for training nor for the test say `unmarked`.
    ///
    /// # Errors
    /// If a channel has the name of a column that is needed, or the writer fails.
    pub fn write_long<W: Write>(
        &self,
        (config, channels): (&DataConfig, &[String]),
        mut scaled: impl FnMut(&Segment) -> anyhow::Result<Scaled>,
        writer: W,
    ) -> anyhow::Result<usize> {
        let names = Names::of(config, channels);
        let (nodes, series) = (self.node_of_segments(), self.written_series());
        self.check_names(&names, &nodes, &series)?;
        let mut writer = csv::Writer::from_writer(writer);
        let parts = [&names.node, &names.series, &names.time, &names.label, &names.split];
        let header = parts.into_iter().flatten().chain(channels);
        writer.write_record(header)?;
        let mut n_rows = 0;
        let mut times: HashMap<(&str, &str), usize> = HashMap::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let Scaled { values, labels, .. } = scaled(segment)?;
            let time = times.entry((&nodes[index], &series[index])).or_default();
            for (row, values) in values.chunks_exact(channels.len()).enumerate() {
                let label = labels.at(row).map(|class| &self.classes[class as usize]);
                let cells = [
                    names.node.as_ref().map(|_| nodes[index].clone()),
                    names.series.as_ref().map(|_| series[index].clone()),
                    names.time.as_ref().map(|_| time.to_string()),
                    names.label.as_ref().map(|_| label.cloned().unwrap_or_default()),
                    names.split.as_ref().map(|_| segment.split.name().to_owned()),
                ];
                let values = values.iter().map(|v| {
                    // A missing value is an empty cell.
                    if v.is_nan() { String::new() } else { v.to_string() }
                });
                writer.write_record(cells.into_iter().flatten().chain(values))?;
                *time += 1;
                n_rows += 1;
            }
        }
        writer.flush()?;
        Ok(n_rows)
    }

    /// The name of each segment's node.
    fn node_of_segments(&self) -> Vec<String> {
        let mut names = vec![String::new(); self.segments.len()];
        for node in self.nodes() {
            for segment in node.segments {
                names[segment].clone_from(&node.name);
            }
        }
        names
    }

    /// What each segment's series is called: with the file's name where there are several files, as
    /// series of different files are different ones, and with a number where a file has two of one
    /// name that would run together.
    fn written_series(&self) -> Vec<String> {
        let sources: HashSet<&Path> = self.segments.iter().map(|s| s.source.as_path()).collect();
        let mut of_name: HashMap<_, HashSet<&Path>> = HashMap::new();
        for source in &sources {
            of_name.entry(source.file_name()).or_default().insert(source);
        }
        let name_of = |segment: &Segment| {
            let file = segment.source.file_name();
            let unique = of_name.get(&file).is_none_or(|sources| sources.len() == 1);
            match (sources.len() > 1, file) {
                (true, Some(file)) if unique => format!("{}:{}", file.display(), segment.series),
                (true, _) => format!("{}:{}", segment.source.display(), segment.series),
                (false, _) => segment.series.clone(),
            }
        };
        let mut taken: HashSet<String> = self.segments.iter().map(name_of).collect();
        let mut last: HashMap<String, (Split, String)> = HashMap::new();
        let mut names = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let name = name_of(segment);
            let (split, current) = last
                .entry(format!("{:?} {name}", segment.node))
                .and_modify(|(split, current)| {
                    // The same split again: the rows of both would run together.
                    if *split == segment.split {
                        // There are no more names than segments, twice.
                        let mut free =
                            (2..=2 * self.segments.len() + 2).map(|n| format!("{name}#{n}"));
                        let free = free.find(|n| !taken.contains(n));
                        *current = free.unwrap_or_default();
                        taken.insert(current.clone());
                    }
                })
                .or_insert((segment.split, name));
            *split = segment.split;
            names.push(current.clone());
        }
        names
    }

    /// Fails if a part that the data has can have no column.
    fn check_names(
        &self,
        names: &Names,
        nodes: &[String],
        series: &[String],
    ) -> anyhow::Result<()> {
        let several = |names: &[String]| names.iter().any(|name| *name != names[0]);
        let marked = self.segments.iter().any(|s| s.split != Split::Unmarked);
        for (part, name, needed) in [
            ("node", &names.node, several(nodes)),
            ("series", &names.series, several(series)),
            ("label", &names.label, !self.classes.is_empty()),
            ("split", &names.split, marked),
        ] {
            ensure!(
                name.is_some() || !needed,
                "the channel {part:?} has the name of the {part} column; give that column another name in the [data] section of the job"
            );
        }
        Ok(())
    }
}
