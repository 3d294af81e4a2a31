//! TOML as a type, with the place of what is wrong in it.

use std::ops::Range;

use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a text.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Where: the line with a mark under it, in lines; empty where it is not known.
    pub(super) place: Vec<String>,
    /// What.
    pub(super) message: String,
}

/// The type that a text stands for, as `read` reads its value; an error of that knows the path to what is wrong.
///
/// # Errors
/// If it is no TOML, or no such type.
pub(super) fn from_toml<T>(
    text: &str,
    read: impl FnOnce(&Value) -> Result<T, serde_path_to_error::Error<serde_json::Error>>,
) -> Result<T, Wrong> {
    let not_toml = |error: toml::de::Error| Wrong {
        place: error.span().map_or_else(Vec::new, |span| marked(text, span)),
        message: error.message().trim_end().to_owned(),
    };
    let value = json(text).map_err(not_toml)?;
    read(&value).map_err(|error| {
        let span = DeTable::parse(text).ok().and_then(|table| place_of(&table, error.path()));
        Wrong {
            place: span.map_or_else(Vec::new, |span| marked(text, span)),
            message: error.inner().to_string(),
        }
    })
}

/// TOML as JSON, which has no dates and no numbers that are not finite: dates and `nan` are text, `inf` is the
/// largest number.
pub(crate) fn json(text: &str) -> Result<Value, toml::de::Error> {
    Ok(Value::Object(table(toml::from_str::<toml::Table>(text)?)))
}

fn table(table: toml::Table) -> Map<String, Value> {
    table.into_iter().map(|(key, value)| (key, of(value))).collect()
}

fn of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) if number.is_finite() => number.into(),
        // More than any f32 holds, which is what such options are.
        toml::Value::Float(number) if number.is_infinite() => f64::MAX.copysign(number).into(),
        // No key takes it, and its reader says what it takes.
        toml::Value::Float(number) => number.to_string().into(),
        toml::Value::Boolean(is) => is.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(of).collect(),
        toml::Value::Table(inner) => Value::Object(table(inner)),
    }
}

/// Where in the text the value is to which the path leads, or the key that has no part there.
fn place_of(root: &Spanned<DeTable<'_>>, path: &Path) -> Option<Range<usize>> {
    let (mut table, mut span, mut array) = (Some(root.get_ref()), None, None);
    for segment in path {
        let next: &Spanned<DeValue<'_>> = match segment {
            Segment::Map { key } => {
                let found = table.and_then(|t| t.iter().find(|(name, _)| name.get_ref() == key));
                let Some((name, value)) = found else { break };
                // Of a table, its name is shown; of a value, itself.
                span = Some(if value.get_ref().is_table() { name.span() } else { value.span() });
                value
            }
            Segment::Seq { index } => {
                let Some(value) = array.and_then(|array: &toml::de::DeArray<'_>| array.get(*index))
                else {
                    break;
                };
                span = Some(value.span());
                value
            }
            _ => break,
        };
        (table, array) = match next.get_ref() {
            DeValue::Table(inner) => (Some(inner), None),
            DeValue::Array(inner) => (None, Some(inner)),
            _ => (None, None),
        };
    }
    span
}

/// The line of a place, with a mark under it.
fn marked(text: &str, span: Range<usize>) -> Vec<String> {
    let start = span.start.min(text.len());
    let start = (0..=start).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let before = &text[..start];
    let n_line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count();
    let line = text.split('\n').nth(n_line - 1).unwrap_or("").trim_end_matches('\r');
    let gutter = " ".repeat(n_line.to_string().len());
    let room = line.chars().count().saturating_sub(column).max(1);
    let marks = "^".repeat(span.len().clamp(1, room));
    vec![
        format!("line {n_line}, column {}", column + 1),
        format!("{gutter} |"),
        format!("{n_line} | {line}"),
        format!("{gutter} | {}{marks}", " ".repeat(column)),
    ]
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::typed::typed;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its type matters")]
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its type matters")]
        x: f64,
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (text, line, marked) in [
            ("list = [\n", 1, ""),
            ("[[list]]\nx = 1\n[[list]]\nx = \"é\"", 4, "\"é\""),
            ("# é\n[[list]]\ny = 1", 3, "1"),
            ("list = [{ x = 1 }, { x = nan }]", 1, "nan"),
            ("list = []\nmore = 3", 2, "3"),
        ] {
            let wrong = from_toml::<Outer>(text, typed).expect_err(text);
            let place = wrong.place.join("\n");
            assert!(place.starts_with(&format!("line {line},")), "{text}: {wrong:?}");
            if let [_, _, of_line, under] = &wrong.place[..]
                && !marked.is_empty()
            {
                let skipped = under.chars().take_while(|c| *c != '^').count();
                let from: String = of_line.chars().skip(skipped).collect();
                assert!(from.starts_with(marked), "{text}: {wrong:?}");
            }
        }
        assert!(from_toml::<Outer>("list = [{ x = 1 }, { x = 2.5 }]", typed).is_ok());
    }

    #[test]
    fn dates_are_text() {
        let value = json("a = 2018-01-01\nb = [1, 2.5, true]").expect("TOML");
        assert_eq!(value, serde_json::json!({ "a": "2018-01-01", "b": [1, 2.5, true] }));
    }
}
