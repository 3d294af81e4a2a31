//! What says which rows are for the test: `[data] split`.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::select::Accepted;
use super::times::{self, TimeKind};

/// What says which rows are for the test.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitBy {
    /// `"split"`: a column that says `train`, `test` or `unmarked`, in any case.
    Column(String),
    /// `{ column = "fold", test = ["4"], train = ["0", "1"] }`: rows with one of these cells. Without
    /// `train`, all others with a cell are trained on; with it, others are left out.
    Cells {
        /// The column.
        column: String,
        /// Cells of rows for the test.
        test: Accepted,
        /// Cells of rows to train on.
        train: Option<Accepted>,
    },
    /// `{ fraction = 0.2, by = "series", seed = 0 }`: this share of the data is for the test.
    Fraction {
        /// The share, above 0 and below 1.
        fraction: f64,
        /// Of what.
        by: ShareOf,
        /// Chooses among the series.
        seed: u64,
    },
    /// `{ after = "2018-01-01" }` or `{ after = 14400.0 }`: rows at this time or later.
    After(Moment),
}

/// Of what a share is for the test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShareOf {
    /// Of the series, each of which is chosen by a hash of its file's stem, its node, its name and the
    /// seed: more series move none of those that are there.
    #[default]
    Series,
    /// Of the rows of every series, its last ones.
    Rows,
}

/// A time: a date, or a number as the time column has it once its unit is made seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "after is a number, or a date as \"2018-01-01\"")]
pub enum Moment {
    /// Seconds where the time column's name says its unit, else as the column has it.
    Number(f64),
    /// `2018-01-01`, `2018-01-01 12:30:00`.
    Date(String),
}

impl Moment {
    /// The time, in seconds since 1970 for dates.
    ///
    /// # Errors
    /// If the column has times of the other kind.
    pub(super) fn among(&self, of_column: TimeKind) -> Result<f64, String> {
        let is_date = matches!(of_column, TimeKind::Date | TimeKind::OffsetDate);
        match self {
            Self::Number(number) if of_column == TimeKind::Number => Ok(*number),
            Self::Date(_) if is_date => Ok(self.date().unwrap_or(f64::NAN)),
            _ => Err(format!(
                "data.split takes rows from {} on, but the time is {}; write both alike",
                self.words(),
                of_column.noun()
            )),
        }
    }

    fn date(&self) -> Option<f64> {
        let Self::Date(text) = self else { return None };
        let (kind, time) = times::parse(text.as_bytes())?;
        matches!(kind, TimeKind::Date | TimeKind::OffsetDate).then_some(time)
    }

    fn words(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Date(text) => text.clone(),
        }
    }
}

impl SplitBy {
    /// The column, if it is one that says it.
    pub(super) fn column(&self) -> Option<&String> {
        match self {
            Self::Column(column) | Self::Cells { column, .. } => Some(column),
            Self::Fraction { .. } | Self::After(_) => None,
        }
    }

    /// Whether a row with this cell in the column is on one side; all are, unless both are listed.
    pub(super) fn has_side(&self, cell: &[u8]) -> bool {
        match self {
            Self::Cells { test, train: Some(train), .. } => test.has(cell) || train.has(cell),
            _ => true,
        }
    }

    /// Whether both sides are listed.
    pub(super) fn both_listed(&self) -> bool {
        matches!(self, Self::Cells { train: Some(_), .. })
    }

    /// By what, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Column(column) => format!("the column {column:?}"),
            Self::Cells { column, test, train } => {
                let train = train.as_ref().map(|train| format!("; train: {}", train.words()));
                let train = train.unwrap_or_default();
                format!("the column {column:?} (test: {}{train})", test.words())
            }
            Self::Fraction { fraction, by: ShareOf::Series, seed } => {
                format!("chance: {fraction} of the series, seed {seed}")
            }
            Self::Fraction { fraction, by: ShareOf::Rows, .. } => {
                format!("the order of rows: the last {fraction} of every series")
            }
            Self::After(moment) => format!("time: from {} on", moment.words()),
        }
    }
}

impl From<&str> for SplitBy {
    fn from(column: &str) -> Self {
        Self::Column(column.to_owned())
    }
}

/// The keys of a split that is a table.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SplitTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Accepted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    train: Option<Accepted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fraction: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<ShareOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Moment>,
}

impl TryFrom<SplitTable> for SplitBy {
    type Error = String;

    fn try_from(table: SplitTable) -> Result<Self, String> {
        match table {
            SplitTable {
                column: Some(column),
                test: None,
                train: None,
                fraction: None,
                by: None,
                seed: None,
                after: None,
            } => Ok(Self::Column(column)),
            SplitTable {
                column: Some(column),
                test: Some(test),
                train,
                fraction: None,
                by: None,
                seed: None,
                after: None,
            } => {
                let both = |train: &Accepted| {
                    test.cells().iter().find(|cell| train.has(cell.as_bytes())).cloned()
                };
                if let Some(cell) = train.as_ref().and_then(both) {
                    return Err(format!("split lists {cell:?} for the test and to train on"));
                }
                Ok(Self::Cells { column, test, train })
            }
            SplitTable {
                fraction: Some(fraction),
                by,
                seed,
                column: None,
                test: None,
                train: None,
                after: None,
            } => {
                if !(fraction > 0.0 && fraction < 1.0) {
                    return Err(format!("split: fraction is above 0 and below 1, not {fraction}"));
                }
                let by = by.unwrap_or_default();
                if by == ShareOf::Rows && seed.is_some() {
                    return Err(
                        "split: by = \"rows\" takes the last rows, and has no seed".to_owned()
                    );
                }
                Ok(Self::Fraction { fraction, by, seed: seed.unwrap_or(0) })
            }
            SplitTable {
                after: Some(after),
                column: None,
                test: None,
                train: None,
                fraction: None,
                by: None,
                seed: None,
            } => {
                let is_time = match &after {
                    Moment::Number(number) => number.is_finite(),
                    Moment::Date(_) => after.date().is_some(),
                };
                if !is_time {
                    return Err(format!(
                        "split: after is a number, or a date as \"2018-01-01\", not {:?}",
                        after.words()
                    ));
                }
                Ok(Self::After(after))
            }
            _ => Err(
                "split is the name of a column, or a table with column (and test, train), with \
                      fraction (and by, seed), or with after"
                    .to_owned(),
            ),
        }
    }
}

impl Serialize for SplitBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let table = match self.clone() {
            Self::Column(column) => return serializer.serialize_str(&column),
            Self::Cells { column, test, train } => SplitTable {
                column: Some(column),
                test: Some(test),
                train,
                ..SplitTable::default()
            },
            Self::Fraction { fraction, by, seed } => SplitTable {
                fraction: Some(fraction),
                by: Some(by),
                seed: (by == ShareOf::Series).then_some(seed),
                ..SplitTable::default()
            },
            Self::After(after) => SplitTable { after: Some(after), ..SplitTable::default() },
        };
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SplitBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SplitVisitor)
    }
}

struct SplitVisitor;

impl<'de> Visitor<'de> for SplitVisitor {
    type Value = SplitBy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column, or a table that says what is for the test")
    }

    fn visit_str<E: de::Error>(self, column: &str) -> Result<SplitBy, E> {
        Ok(SplitBy::Column(column.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SplitBy, A::Error> {
        let table = SplitTable::deserialize(MapAccessDeserializer::new(map))?;
        SplitBy::try_from(table).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::DataConfig;
    use super::*;

    fn read(text: &str) -> Result<DataConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn splits_are_read_and_written() {
        for text in [
            "split = \"part\"",
            "split = { column = \"fold\", test = [\"4\"] }",
            "split = { column = \"fold\", test = [\"4\"], train = [\"0\", \"1\"] }",
            "split = { fraction = 0.25, by = \"series\", seed = 3 }",
            "split = { fraction = 0.25, by = \"rows\" }",
            "split = { after = \"2018-01-01\" }",
            "split = { after = 14400.0 }",
        ] {
            let config = read(text).unwrap();
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<DataConfig>(&json).unwrap(), config, "{json}");
            assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
        }
        assert_eq!(
            read("split = { fraction = 0.25 }").unwrap().split,
            Some(SplitBy::Fraction { fraction: 0.25, by: ShareOf::Series, seed: 0 })
        );
        assert_eq!(
            read("split = { column = \"f\", test = 4 }").unwrap(),
            read("split = { column = \"f\", test = [\"4\"] }").unwrap()
        );
    }

    #[test]
    fn splits_that_say_two_things_or_nothing_are_refused() {
        for (text, says) in [
            ("split = {}", "split is the name of a column, or a table"),
            ("split = { column = \"a\", fraction = 0.5 }", "split is the name of a column"),
            ("split = { test = [\"a\"] }", "split is the name of a column"),
            ("split = { fraction = 1.0 }", "above 0 and below 1, not 1"),
            ("split = { fraction = nan }", "above 0 and below 1"),
            ("split = { fraction = 0.5, by = \"rows\", seed = 1 }", "has no seed"),
            ("split = { fraction = 0.5, by = \"row\" }", "unknown variant `row`"),
            ("split = { after = \"noon\" }", "a date as \"2018-01-01\", not \"noon\""),
            ("split = { after = true }", "after is a number, or a date"),
            (
                "split = { column = \"a\", test = [\"1\"], train = [\"1.0\"] }",
                "\"1\" for the test and",
            ),
            ("split = { column = \"a\", test = [] }", "an empty list accepts no row"),
            ("split = { colum = \"a\" }", "unknown field `colum`"),
            ("split = 3", "the name of a column"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_moment_is_of_the_kind_of_the_times() {
        let date = Moment::Date("1970-01-02".to_owned());
        assert_eq!(date.among(TimeKind::Date), Ok(86_400.0));
        assert!(date.among(TimeKind::Number).unwrap_err().contains("but the time is a number"));
        assert_eq!(Moment::Number(3.0).among(TimeKind::Number), Ok(3.0));
        assert!(Moment::Number(3.0).among(TimeKind::Text).is_err());
    }
}
