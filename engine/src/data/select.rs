//! Parts of the `[data]` section that are a text or a list: accepted cells, columns that separate series.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::is_missing;

/// Cells that are accepted: `["walk", "run"]`, `[1, 2]`, or one of them. Numbers are compared as numbers,
/// so that `1` is `1.0` too; all else as text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accepted(Vec<String>);

impl Accepted {
    /// Whether a cell is one of them.
    pub(super) fn has(&self, cell: &[u8]) -> bool {
        let cell = cell.trim_ascii();
        if self.0.iter().any(|text| text.as_bytes() == cell) {
            return true;
        }
        let number = std::str::from_utf8(cell).ok().and_then(|text| text.parse().ok());
        number.is_some_and(|number| self.has_number(number))
    }

    /// Whether a number is one of them.
    pub(super) fn has_number(&self, number: f64) -> bool {
        self.0.iter().any(|text| text.parse() == Ok(number))
    }

    /// All of them.
    pub(super) fn cells(&self) -> &[String] {
        &self.0
    }

    /// All, for people.
    pub(super) fn words(&self) -> String {
        self.0.join(", ")
    }
}

impl From<&[&str]> for Accepted {
    fn from(cells: &[&str]) -> Self {
        Self(cells.iter().map(|&cell| cell.to_owned()).collect())
    }
}

impl<'de> Deserialize<'de> for Accepted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cells = deserializer.deserialize_any(Cells { nested: false })?;
        let texts: Vec<String> = cells.iter().map(|cell| cell.trim().to_owned()).collect();
        if texts.is_empty() {
            return Err(de::Error::custom("an empty list accepts no row; list some cells"));
        }
        Ok(Self(texts))
    }
}

/// Reads one cell, or a list of cells.
struct Cells {
    /// Whether this is within a list.
    nested: bool,
}

impl<'de> Visitor<'de> for Cells {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.nested {
            "a text or a number"
        } else {
            "a text, a number, or a list of them"
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(vec![number.to_string()])
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(vec![number.to_string()])
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(vec![number.to_string()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        if self.nested {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut cells = Vec::new();
        while let Some(OneCell(cell)) = list.next_element()? {
            cells.push(cell);
        }
        Ok(cells)
    }
}

/// A cell of a list.
struct OneCell(String);

impl<'de> Deserialize<'de> for OneCell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Cells { nested: true }).map(|cells| Self(cells.concat()))
    }
}

/// The columns that separate series: `"recording"`, or `["subject", "trial"]`, whose cells together are
/// the name of the series (`s1/2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesBy(Vec<String>);

impl SeriesBy {
    /// The columns' names.
    pub(super) fn columns(&self) -> &[String] {
        &self.0
    }

    /// What a column is called that holds the whole name.
    pub(super) fn joined(&self) -> String {
        self.0.join("/")
    }
}

impl From<&str> for SeriesBy {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

impl From<&[&str]> for SeriesBy {
    fn from(names: &[&str]) -> Self {
        Self(names.iter().map(|&name| name.to_owned()).collect())
    }
}

impl Serialize for SeriesBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => serializer.serialize_str(one),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SeriesBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = deserializer.deserialize_any(Cells { nested: false })?;
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                return Err(de::Error::custom(format!("the column {name:?} is listed twice")));
            }
        }
        if names.is_empty() {
            return Err(de::Error::custom("an empty list of columns; name one, or leave it out"));
        }
        Ok(Self(names))
    }
}

/// Whether a cell says nothing.
pub(super) fn is_nothing(cell: &[u8]) -> bool {
    is_missing(cell.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::super::DataConfig;
    use super::*;

    #[test]
    fn cells_are_compared_as_text_and_as_numbers() {
        let accepted = Accepted::from(&["walk", "1", "0x1"][..]);
        for cell in ["walk", " walk ", "1", "1.0", "1e0", "0x1"] {
            assert!(accepted.has(cell.as_bytes()), "{cell}");
        }
        for cell in ["Walk", "", "10", "nan", "0"] {
            assert!(!accepted.has(cell.as_bytes()), "{cell}");
        }
        assert!(accepted.has_number(1.0) && !accepted.has_number(f64::NAN));
        assert!(!Accepted::from(&["nan"][..]).has_number(f64::NAN));
    }

    #[test]
    fn lists_of_nothing_or_of_lists_are_refused() {
        for (text, says) in [
            ("series = []", "an empty list of columns"),
            ("series = [\"a\", \"a\"]", "\"a\" is listed twice"),
            ("where = { a = [[\"b\"]] }", "expected a text or a number"),
        ] {
            let error = toml::from_str::<DataConfig>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
