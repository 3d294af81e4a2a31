//! Which column of a table plays which part.

use std::path::Path;

use anyhow::bail;

use super::config::DataConfig;
use super::table::listed;
use crate::nearest::nearest;

/// The columns of one table, as positions in its header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) series: Option<usize>,
    pub(super) time: Option<usize>,
    pub(super) label: Option<usize>,
    pub(super) split: Option<usize>,
    pub(super) node: Option<usize>,
    /// The columns without another part, in file order.
    pub(super) rest: Vec<usize>,
}

/// The names that parts have by default: series, time, label, split, node.
const DEFAULTS: [&str; 5] = ["series", "t", "label", "split", "node"];

impl Columns {
    /// Finds each part's column. `values` are the names already known to hold values; a default
    /// does not take one of those. With `lenient`, the label and the split column may be absent
    /// although `config` names them, as they are in the data that a trained model meets.
    pub(super) fn find(
        path: &Path,
        header: &[String],
        config: &DataConfig,
        values: &[String],
        lenient: bool,
    ) -> anyhow::Result<Self> {
        let configured = [
            ("data.series", &config.series, false),
            ("data.time", &config.time, false),
            ("data.label", &config.label, lenient),
            ("data.split", &config.split, lenient),
            ("data.node", &config.node, false),
        ];
        let mut found = [None; 5];
        for (part, (key, name, may_lack)) in configured.iter().enumerate() {
            let Some(name) = name else { continue };
            if values.contains(name) {
                bail!(
                    "{key} names the column {name:?}, which is one of the channels; take it out \
                     of one of them"
                );
            }
            let at = match position(header, name) {
                None if *may_lack => continue,
                None => require(path, header, name, &format!("{key} names it"))?,
                Some(at) => at,
            };
            if found.contains(&Some(at)) {
                bail!(
                    "{key} names the column {name:?}, which another key of [data] names too; \
                     correct one"
                );
            }
            found[part] = Some(at);
        }
        for (part, name) in DEFAULTS.iter().enumerate() {
            let at = position(header, name);
            let free = !found.contains(&at) && !values.iter().any(|value| value == name);
            if configured[part].1.is_none() && free {
                found[part] = at;
            }
        }
        let [series, time, label, split, node] = found;
        let rest = (0..header.len()).filter(|column| !found.contains(&Some(*column))).collect();
        Ok(Self { series, time, label, split, node, rest })
    }

    /// Takes a column without another part as the time.
    pub(super) fn take_time(&mut self, column: usize) {
        self.time = Some(column);
        self.rest.retain(|&other| other != column);
    }

    /// The columns that tell series apart.
    pub(super) fn of_series(&self) -> Vec<usize> {
        self.node.into_iter().chain(self.series).collect()
    }
}

/// What the columns are called that hold no values; none where a channel has that name.
pub(super) struct Names {
    pub(super) series: Option<String>,
    pub(super) time: Option<String>,
    pub(super) label: Option<String>,
    pub(super) split: Option<String>,
    pub(super) node: Option<String>,
}

impl Names {
    /// As the configuration says, else by default.
    pub(super) fn of(config: &DataConfig, channels: &[String]) -> Self {
        let name = |configured: &Option<String>, default: &str| {
            let name = configured.as_deref().unwrap_or(default);
            (!channels.iter().any(|channel| channel == name)).then(|| name.to_owned())
        };
        let [series, time, label, split, node] = DEFAULTS;
        Self {
            series: name(&config.series, series),
            time: name(&config.time, time),
            label: name(&config.label, label),
            split: name(&config.split, split),
            node: name(&config.node, node),
        }
    }
}

/// Whether the header says that a row is a time step: by the series or the time column.
pub(super) fn is_long(header: &[String], config: &DataConfig) -> bool {
    let [series, time, ..] = DEFAULTS;
    position(header, config.series.as_deref().unwrap_or(series)).is_some()
        || position(header, config.time.as_deref().unwrap_or(time)).is_some()
}

/// The place of a name in the header.
pub(super) fn position(header: &[String], name: &str) -> Option<usize> {
    header.iter().position(|column| column == name)
}

/// The place of a name in the header.
///
/// # Errors
/// If the header lacks it; the message says `why` it must be there, what is there, and the nearest
/// spelling.
pub(super) fn require(
    path: &Path,
    header: &[String],
    name: &str,
    why: &str,
) -> anyhow::Result<usize> {
    if let Some(at) = position(header, name) {
        return Ok(at);
    }
    let nearest = nearest(name, header.iter().map(String::as_str));
    let hint = nearest.map_or(String::new(), |column| format!("; did you mean {column:?}?"));
    bail!(
        "{}: no column {name:?}: {why}; the columns here are {}{hint}",
        path.display(),
        listed(header)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn find(
        header: &str,
        config: &DataConfig,
        values: &str,
        lenient: bool,
    ) -> Result<Columns, String> {
        Columns::find(Path::new("x.csv"), &names(header), config, &names(values), lenient)
            .map_err(|error| format!("{error:#}"))
    }

    fn named(series: &str, label: &str) -> DataConfig {
        DataConfig {
            series: Some(series.to_owned()),
            label: Some(label.to_owned()),
            ..DataConfig::default()
        }
    }

    #[test]
    fn usual_names_need_no_configuration() {
        let columns =
            find("series t label split node ax ay", &DataConfig::default(), "", false).unwrap();
        let [series, time, label, split, node] = [0, 1, 2, 3, 4].map(Some);
        assert_eq!(columns, Columns { series, time, label, split, node, rest: vec![5, 6] });
        let columns = find("ax ay", &DataConfig::default(), "", false).unwrap();
        assert_eq!((columns.series, columns.label, columns.rest), (None, None, vec![0, 1]));
    }

    #[test]
    fn configured_names_replace_the_usual_ones() {
        let columns =
            find("sample t label posture ax", &named("sample", "posture"), "", false).unwrap();
        assert_eq!((columns.series, columns.label, columns.rest), (Some(0), Some(3), vec![2, 4]));
    }

    #[test]
    fn a_channel_is_not_taken_for_a_default_part() {
        let columns = find("t label node", &DataConfig::default(), "label node", false).unwrap();
        assert_eq!((columns.time, columns.label, columns.node), (Some(0), None, None));
        let error = find("a posture", &named("a", "posture"), "posture", false).unwrap_err();
        assert!(
            error.contains("data.label names the column \"posture\", which is one of the channels"),
            "{error}"
        );
    }

    #[test]
    fn a_column_has_one_part() {
        assert!(
            find("a b", &named("a", "a"), "", false)
                .unwrap_err()
                .contains("which another key of [data] names")
        );
        let columns = find("node b", &named("b", "node"), "", false).unwrap();
        assert_eq!((columns.label, columns.node), (Some(0), None));
    }

    #[test]
    fn a_named_column_must_be_there() {
        let error = find("sample t ax", &named("smaple", "label"), "", false).unwrap_err();
        assert_eq!(
            error,
            "x.csv: no column \"smaple\": data.series names it; the columns here are sample, t, \
             ax; did you mean \"sample\"?"
        );
        let error = find("a ax", &named("a", "zzz"), "", false).unwrap_err();
        assert!(
            error.contains("data.label names it") && !error.contains("did you mean"),
            "{error}"
        );
    }

    #[test]
    fn data_for_a_trained_model_may_lack_labels() {
        assert_eq!(find("a ax", &named("a", "zzz"), "", true).unwrap().label, None);
        assert!(find("b ax", &named("a", "zzz"), "", true).is_err());
    }

    #[test]
    fn a_series_or_time_column_makes_a_table_long() {
        let long = |header: &str, config: &DataConfig| is_long(&names(header), config);
        assert!(long("t ax", &DataConfig::default()) && long("series ax", &DataConfig::default()));
        assert!(!long("label p0 p1", &DataConfig::default()));
        assert!(
            long("sample ax", &named("sample", "label"))
                && !long("series ax", &named("sample", "label"))
        );
    }
}
