//! Which column of a table plays which part.

use std::path::Path;

use anyhow::bail;

use super::config::DataConfig;
use super::select::SeriesBy;
use super::split_by::SplitBy;
use super::table::listed;
use crate::nearest::nearest;

/// The columns of one table, as positions in its header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Those whose cells together name the series.
    pub(super) series: Vec<usize>,
    pub(super) time: Option<usize>,
    pub(super) label: Option<usize>,
    pub(super) split: Option<usize>,
    pub(super) node: Option<usize>,
    /// The columns without another part, in file order.
    pub(super) rest: Vec<usize>,
}

/// What a column without values is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Series,
    Time,
    Label,
    Split,
    Node,
}

/// The names that parts have by default: series, time, label, split, node.
const DEFAULTS: [&str; 5] = ["series", "t", "label", "split", "node"];

impl Columns {
    /// Finds each part's column. `values` are the names already known to hold values; a default
    /// does not take one of those, nor a column in `ignored`. With `lenient`, the label and the split column
    /// may be absent although `config` names them, as they are in the data that a trained model meets.
    pub(super) fn find(
        path: &Path,
        header: &[String],
        config: &DataConfig,
        (values, ignored): (&[String], &[usize]),
        lenient: bool,
    ) -> anyhow::Result<Self> {
        let series = config.series.iter().flat_map(SeriesBy::columns);
        let split = config.split.as_ref().and_then(SplitBy::column);
        let named = series.map(|name| ("data.series", name, Part::Series, false)).chain(
            [
                ("data.time", config.time.as_ref(), Part::Time, false),
                ("data.label", config.label.as_ref(), Part::Label, lenient),
                ("data.split", split, Part::Split, lenient),
                ("data.node", config.node.as_ref(), Part::Node, false),
            ]
            .into_iter()
            .filter_map(|(key, name, part, may_lack)| Some((key, name?, part, may_lack))),
        );
        let mut found: Vec<(Part, usize)> = Vec::new();
        for (key, name, part, may_lack) in named {
            if values.contains(name) {
                bail!(
                    "{key} names the column {name:?}, which is one of the channels; take it out \
                     of one of them"
                );
            }
            let at = match position(header, name) {
                None if may_lack => continue,
                None => require(path, header, name, &format!("{key} names it"))?,
                Some(at) => at,
            };
            if found.iter().any(|&(_, other)| other == at) {
                bail!(
                    "{key} names the column {name:?}, which another key of [data] names too; \
                     correct one"
                );
            }
            if ignored.contains(&at) {
                bail!("{key} names the column {name:?}, which data.ignore lists; correct one");
            }
            found.push((part, at));
        }
        let configured = [
            (Part::Series, config.series.is_some()),
            (Part::Time, config.time.is_some()),
            (Part::Label, config.label.is_some()),
            (Part::Split, config.split.is_some()),
            (Part::Node, config.node.is_some()),
        ];
        for (name, (part, is_configured)) in DEFAULTS.iter().zip(configured) {
            let Some(at) = position(header, name) else { continue };
            let free = !found.iter().any(|&(_, other)| other == at)
                && !values.iter().any(|value| value == name)
                && !ignored.contains(&at);
            if !is_configured && free {
                found.push((part, at));
            }
        }
        let of = |part: Part| found.iter().filter(move |(p, _)| *p == part).map(|&(_, at)| at);
        let is_taken = |column: &usize| {
            ignored.contains(column) || found.iter().any(|(_, other)| other == column)
        };
        Ok(Self {
            series: of(Part::Series).collect(),
            time: of(Part::Time).next(),
            label: of(Part::Label).next(),
            split: of(Part::Split).next(),
            node: of(Part::Node).next(),
            rest: (0..header.len()).filter(|column| !is_taken(column)).collect(),
        })
    }

    /// Takes a column without another part as the time.
    pub(super) fn take_time(&mut self, column: usize) {
        self.time = Some(column);
        self.rest.retain(|&other| other != column);
    }

    /// The columns that tell series apart.
    pub(super) fn of_series(&self) -> Vec<usize> {
        self.node.into_iter().chain(self.series.iter().copied()).collect()
    }

    /// The columns that have a part.
    pub(super) fn parts(&self) -> impl Iterator<Item = usize> {
        let others = [self.time, self.label, self.split, self.node];
        self.series.iter().copied().chain(others.into_iter().flatten())
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
        let name = |configured: Option<&String>, default: &str| {
            let name = configured.map_or(default, String::as_str);
            (!channels.iter().any(|channel| channel == name)).then(|| name.to_owned())
        };
        let [series, time, label, split, node] = DEFAULTS;
        Self {
            series: name(config.series.as_ref().map(SeriesBy::joined).as_ref(), series),
            time: name(config.time.as_ref(), time),
            label: name(config.label.as_ref(), label),
            split: name(config.split.as_ref().and_then(SplitBy::column), split),
            node: name(config.node.as_ref(), node),
        }
    }
}

/// Whether the header says that a row is a time step: by the series or the time column.
pub(super) fn is_long(header: &[String], config: &DataConfig) -> bool {
    let [series, time, ..] = DEFAULTS;
    let of_series =
        |config: &SeriesBy| config.columns().iter().any(|name| position(header, name).is_some());
    config.series.as_ref().map_or_else(|| position(header, series).is_some(), of_series)
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
        let (header, values) = (names(header), names(values));
        Columns::find(Path::new("x.csv"), &header, config, (&values, &[]), lenient)
            .map_err(|error| format!("{error:#}"))
    }

    fn named(series: &str, label: &str) -> DataConfig {
        DataConfig {
            series: Some(series.into()),
            label: Some(label.to_owned()),
            ..DataConfig::default()
        }
    }

    #[test]
    fn usual_names_need_no_configuration() {
        let columns =
            find("series t label split node ax ay", &DataConfig::default(), "", false).unwrap();
        let [time, label, split, node] = [1, 2, 3, 4].map(Some);
        let series = vec![0];
        assert_eq!(columns, Columns { series, time, label, split, node, rest: vec![5, 6] });
        let columns = find("ax ay", &DataConfig::default(), "", false).unwrap();
        assert_eq!((columns.series, columns.label, columns.rest), (vec![], None, vec![0, 1]));
    }

    #[test]
    fn configured_names_replace_the_usual_ones() {
        let columns =
            find("sample t label posture ax", &named("sample", "posture"), "", false).unwrap();
        assert_eq!((columns.series, columns.label, columns.rest), (vec![0], Some(3), vec![2, 4]));
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
    fn several_columns_name_a_series() {
        let series = ["trial", "subject"];
        let config = DataConfig { series: Some(series[..].into()), ..DataConfig::default() };
        let columns = find("subject trial series t ax", &config, "", false).unwrap();
        assert_eq!((columns.series, columns.rest), (vec![1, 0], vec![2, 4]));
        let error = find("trial ax", &config, "", true).unwrap_err();
        assert!(error.contains("no column \"subject\": data.series names it"), "{error}");
    }

    #[test]
    fn an_ignored_column_has_no_part() {
        let header = names("t label ax");
        let config = DataConfig::default();
        let columns =
            Columns::find(Path::new("x"), &header, &config, (&[], &[0, 2]), false).unwrap();
        assert_eq!((columns.time, columns.label, columns.rest), (None, Some(1), vec![]));
        let config = DataConfig { time: Some("t".to_owned()), ..config };
        let found = Columns::find(Path::new("x"), &header, &config, (&[], &[0]), false);
        assert!(found.unwrap_err().to_string().contains("\"t\", which data.ignore lists"));
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
