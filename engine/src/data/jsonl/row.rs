//! One JSON object becomes the cells of a row.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::number::quoted;
use super::super::typed::Cell;

/// Most columns: keys that differ from line to line are no columns.
const MAX_COLUMNS: usize = 1 << 16;

/// The columns that the keys of lines make.
#[derive(Debug, Default)]
pub(super) struct Layout {
    names: Vec<String>,
    index: HashMap<String, usize>,
    /// How long each array is, and the line that says so.
    arrays: HashMap<String, (usize, usize)>,
    /// Whether no more columns are taken.
    closed: bool,
}

/// The cells of one line.
#[derive(Debug, Default)]
pub(super) struct Row {
    cells: Vec<Entry>,
    texts: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
enum Entry {
    #[default]
    Absent,
    Null,
    Number(f64),
    Whole(i128),
    Flag(bool),
    Text(Range<usize>),
}

impl Row {
    /// The cell of a column.
    pub(super) fn cell(&self, column: usize) -> Cell<'_> {
        match &self.cells[column] {
            Entry::Absent | Entry::Null => Cell::Missing,
            Entry::Number(number) => Cell::Number(*number),
            Entry::Whole(number) => Cell::Whole(*number),
            Entry::Flag(flag) => Cell::Flag(*flag),
            Entry::Text(range) => Cell::Text(&self.texts[range.clone()]),
        }
    }
}

impl Layout {
    /// The columns in the order in which they appeared.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Takes no more columns.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Reads the object that a line holds.
    ///
    /// # Errors
    /// If it holds none, or what is no cell of the columns.
    pub(super) fn read(&mut self, line: usize, text: &[u8], row: &mut Row) -> Result<(), String> {
        row.texts.clear();
        row.cells.clear();
        row.cells.resize(self.names.len(), Entry::Absent);
        let mut reader =
            Reader { layout: self, row, line, path: String::new(), next_column: 0, problem: None };
        let mut json = serde_json::Deserializer::from_slice(text);
        let read = Node(&mut reader).deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|error| {
            reader.problem.unwrap_or_else(|| {
                let text = error.to_string();
                let reason = text.split(" at line ").next().unwrap_or_default();
                format!("no JSON object: {reason} (byte {}); correct the line", error.column())
            })
        })
    }
}

/// Goes through an object.
struct Reader<'r> {
    layout: &'r mut Layout,
    row: &'r mut Row,
    line: usize,
    /// The keys to where it is.
    path: String,
    /// Lines mostly have their keys in one order.
    next_column: usize,
    problem: Option<String>,
}

impl Reader<'_> {
    fn take<E: Error>(&mut self, entry: Entry) -> Result<(), E> {
        if self.path.is_empty() {
            let reason = "expected an object ({\"name\": value, …}) on every line; correct it";
            return Err(self.fail(reason.to_owned()));
        }
        let column = self.column()?;
        self.next_column = column + 1;
        if matches!(self.row.cells[column], Entry::Absent) {
            self.row.cells[column] = entry;
            return Ok(());
        }
        let name = self.path[1..].to_owned();
        Err(self.fail(format!("column {name:?}: the line has it twice; keep one")))
    }

    /// The column of the path, whose first byte is a point.
    fn column<E: Error>(&mut self) -> Result<usize, E> {
        let name = &self.path[1..];
        let names = &self.layout.names;
        if names.get(self.next_column).is_some_and(|next| next == name) {
            return Ok(self.next_column);
        }
        if let Some(&column) = self.layout.index.get(name) {
            return Ok(column);
        }
        let name = name.to_owned();
        if self.layout.closed {
            return Err(self.fail(format!(
                "column {}: a channel that appears later; the first lines of the file do not have \
                 it, write it there too (as null where it is missing)",
                quoted(name.as_bytes())
            )));
        }
        if names.len() == MAX_COLUMNS {
            return Err(self.fail(format!(
                "the lines up to here have more than {MAX_COLUMNS} different keys; keys are the \
                 names of columns and must be the same from line to line"
            )));
        }
        let column = names.len();
        self.layout.names.push(name.clone());
        self.layout.index.insert(name, column);
        self.row.cells.push(Entry::Absent);
        Ok(column)
    }

    /// Every array has one length.
    fn end_array<E: Error>(&mut self, len: usize) -> Result<(), E> {
        if let Some(&(expected, line)) = self.layout.arrays.get(&self.path) {
            if len == expected {
                return Ok(());
            }
            let name = self.path.get(1..).unwrap_or_default();
            let reason = format!(
                "column {}: an array of {len}, but that of line {line} has {expected} elements; \
                 arrays must have one length (write null where a value is missing)",
                quoted(name.as_bytes())
            );
            return Err(self.fail(reason));
        }
        self.layout.arrays.insert(self.path.clone(), (len, self.line));
        Ok(())
    }

    fn fail<E: Error>(&mut self, reason: String) -> E {
        self.problem = Some(reason);
        E::custom("")
    }
}

/// A value somewhere in an object.
struct Node<'n, 'r>(&'n mut Reader<'r>);

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.0.take(Entry::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.0.take(Entry::Whole(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.0.take(Entry::Whole(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.0.take(Entry::Number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let start = self.0.row.texts.len();
        self.0.row.texts.extend_from_slice(text.as_bytes());
        self.0.take(Entry::Text(start..start + text.len()))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.take(Entry::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let reader = self.0;
        if reader.path.is_empty() {
            return reader.take(Entry::Null);
        }
        let (len, mut n) = (reader.path.len(), 0);
        loop {
            reader.path.push('.');
            reader.path.push_str(&n.to_string());
            let element = array.next_element_seed(Node(reader))?;
            reader.path.truncate(len);
            if element.is_none() {
                return reader.end_array(n);
            }
            n += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        let len = reader.path.len();
        while map.next_key_seed(Key(&mut reader.path))?.is_some() {
            map.next_value_seed(Node(reader))?;
            reader.path.truncate(len);
        }
        Ok(())
    }
}

/// A key, which goes to the end of a path.
struct Key<'k>(&'k mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        self.0.push('.');
        self.0.push_str(key);
        Ok(())
    }
}
