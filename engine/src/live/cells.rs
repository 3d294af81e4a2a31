//! A line cut into cells: of a table by its delimiter, of a JSON object by their names.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::data::{Cell, StreamColumns};

/// The cells of one line; reused from line to line.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// The text of all cells, one behind the other.
    text: Vec<u8>,
    cells: Vec<Place>,
}

/// Where a cell is.
#[derive(Debug, Clone)]
enum Place {
    Absent,
    Text(Range<usize>),
    Number(f64),
}

impl Cells {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// One of them.
    pub(super) fn get(&self, at: usize) -> Cell<'_> {
        match self.cells.get(at) {
            None | Some(Place::Absent) => Cell::Absent,
            Some(Place::Text(range)) => Cell::Text(&self.text[range.clone()]),
            Some(Place::Number(number)) => Cell::Number(*number),
        }
    }

    /// Cuts a line of a table; a cell in quotes may hold the delimiter, and quotes twice.
    ///
    /// # Errors
    /// If a quote is not closed in the line.
    pub(super) fn cut(&mut self, line: &[u8], delimiter: u8) -> Result<(), String> {
        self.text.clear();
        self.cells.clear();
        let mut rest = line;
        loop {
            let start = self.text.len();
            let is_last = if let [b'"', quoted @ ..] = rest {
                rest = self.unquote(quoted, delimiter)?;
                rest.is_empty()
            } else {
                let end = memchr::memchr(delimiter, rest);
                self.text.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
                rest = &rest[end.unwrap_or(rest.len())..];
                end.is_none()
            };
            self.cells.push(Place::Text(start..self.text.len()));
            if is_last {
                return Ok(());
            }
            rest = &rest[1..];
        }
    }

    /// Takes the text up to the closing quote; what is left begins with the delimiter, or is nothing.
    fn unquote<'a>(&mut self, quoted: &'a [u8], delimiter: u8) -> Result<&'a [u8], String> {
        let mut rest = quoted;
        loop {
            let end = memchr::memchr(b'"', rest).ok_or("a quote is not closed in the line")?;
            self.text.extend_from_slice(&rest[..end]);
            match &rest[end + 1..] {
                [b'"', more @ ..] => {
                    self.text.push(b'"');
                    rest = more;
                }
                after if after.first().is_none_or(|&byte| byte == delimiter) => return Ok(after),
                _ => return Err("text stands behind a closing quote".to_owned()),
            }
        }
    }

    /// Takes the cells of a JSON object by their names: `{"t": 1.5, "ax": 0.1}`, or the channels in order as `"x"`
    /// where none of them is called so.
    ///
    /// # Errors
    /// If the line is no object, a cell is no number and no text, or it has none of the channels.
    pub(super) fn of_json(&mut self, line: &[u8], columns: &StreamColumns) -> Result<(), String> {
        self.text.clear();
        self.cells.clear();
        self.cells.resize(columns.names().len(), Place::Absent);
        let mut reader = serde_json::Deserializer::from_slice(line);
        let read = Object { cells: self, columns }.deserialize(&mut reader);
        read.and_then(|()| reader.end()).map_err(|error| {
            let text = error.to_string();
            // All is in one line, whose number the caller knows.
            text.replacen(" at line 1 column", ", at column", 1)
        })?;
        let is_absent = |&column: &usize| matches!(self.cells[column], Place::Absent);
        if columns.channels().iter().all(is_absent) {
            return Err("it has none of the channels that the model reads".to_owned());
        }
        Ok(())
    }

    fn put(&mut self, at: usize, value: Value<'_>) {
        self.cells[at] = match value {
            Value::Nothing => Place::Absent,
            Value::Number(number) => Place::Number(number),
            Value::Text(text) => {
                let start = self.text.len();
                self.text.extend_from_slice(text.as_bytes());
                Place::Text(start..self.text.len())
            }
        };
    }
}

/// A whole line.
struct Object<'a> {
    cells: &'a mut Cells,
    columns: &'a StreamColumns,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the cells of a row by their names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let names = self.columns.names();
            if let Some(at) = names.iter().position(|known| *known == name) {
                let value: Value<'_> = map.next_value()?;
                self.cells.put(at, value);
            } else if name == "x" {
                map.next_value_seed(Channels { cells: self.cells, columns: self.columns })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The channels in order.
struct Channels<'a> {
    cells: &'a mut Cells,
    columns: &'a StreamColumns,
}

impl<'de> DeserializeSeed<'de> for Channels<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Channels<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {} numbers, one a channel", self.columns.channels().len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut n = 0;
        let channels = self.columns.channels();
        while let Some(value) = list.next_element::<Value<'_>>()? {
            if let Some(&at) = channels.get(n) {
                self.cells.put(at, value);
            }
            n += 1;
        }
        if n == channels.len() {
            return Ok(());
        }
        Err(serde::de::Error::invalid_length(n, &self))
    }
}

/// A name, which is copied only where it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// What stands in a cell.
enum Value<'a> {
    Nothing,
    Number(f64),
    Text(Cow<'a, str>),
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneValue)
    }
}

struct OneValue;

impl<'de> Visitor<'de> for OneValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, text or null")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Nothing)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::DataConfig;

    fn texts(line: &str) -> Result<Vec<String>, String> {
        let mut cells = Cells::default();
        cells.cut(line.as_bytes(), b',')?;
        let text = |at| match cells.get(at) {
            Cell::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("{other:?}"),
        };
        Ok((0..cells.len()).map(text).collect())
    }

    fn columns() -> StreamColumns {
        let channels = ["a", "b"].map(str::to_owned);
        StreamColumns::of_names(&DataConfig::default(), &channels).expect("names")
    }

    #[test]
    fn lines_are_cut_at_delimiters_outside_quotes() {
        assert_eq!(texts("a,,b").expect("cells"), ["a", "", "b"]);
        assert_eq!(texts("").expect("cells"), [""]);
        assert_eq!(texts("a,").expect("cells"), ["a", ""]);
        assert_eq!(texts(r#""a,b","say ""x""",c"#).expect("cells"), ["a,b", "say \"x\"", "c"]);
        assert!(texts(r#""open"#).is_err() && texts(r#""a"b"#).is_err());
    }

    #[test]
    fn objects_name_their_cells() {
        let (columns, mut cells) = (columns(), Cells::default());
        let line = br#"{"b":2,"series":"s\u0031","t":0.5,"other":{"deep":[1]},"a":null}"#;
        cells.of_json(line, &columns).expect("a row");
        assert_eq!((cells.get(0), cells.get(1)), (Cell::Absent, Cell::Number(2.0)));
        assert_eq!((cells.get(2), cells.get(3)), (Cell::Text(b"s1"), Cell::Number(0.5)));
        cells.of_json(br#"{"x":[1,-2.5]}"#, &columns).expect("a row");
        assert_eq!((cells.get(0), cells.get(1)), (Cell::Number(1.0), Cell::Number(-2.5)));
        for (line, part) in [
            (r#"{"x":[1]}"#, "a list of 2 numbers"),
            (r#"{"x":[1,2,3]}"#, "a list of 2 numbers"),
            (r#"{"t":1}"#, "none of the channels"),
            (r#"{"a":1"#, "EOF"),
            (r#"{"a":1} 2"#, "trailing"),
            (r#"{"a":[1]}"#, "a number, text or null"),
            ("[1,2]", "an object"),
        ] {
            let error = cells.of_json(line.as_bytes(), &columns).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_return(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut cells = Cells::default();
            let _ = cells.cut(&line, b',');
            let _ = cells.of_json(&line, &columns());
        }
    }
}
