//! A class that is told after the answer, and which windows it is of.

use serde::Deserialize;
use serde_json::Value;

/// A class that is told later.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The class's name.
    pub label: String,
    /// What it is true of.
    pub of: Place,
}

/// Which windows a label is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// The one with this number.
    Window(u64),
    /// Those all of whose rows have a time from the first to the second, both with.
    Span {
        /// The series' name; any where it is empty.
        series: String,
        /// The earliest time.
        from: f64,
        /// The latest time.
        to: f64,
    },
}

/// The keys of a line.
#[derive(Deserialize)]
struct Keys {
    label: Value,
    id: Option<u64>,
    series: Option<Value>,
    from: Option<f64>,
    to: Option<f64>,
}

impl Truth {
    /// Reads `{"label": "ABD", "id": 17}` or `{"label": "ABD", "series": "s1", "from": 10.0, "to": 14.0}`; nothing if
    /// the line is none of both.
    pub fn of_line(line: &[u8]) -> Option<Self> {
        let keys: Keys = serde_json::from_slice(line).ok()?;
        let of = match keys {
            Keys { id: Some(id), .. } => Place::Window(id),
            Keys { from: Some(from), to: Some(to), series, .. } => {
                let series = series.map_or(Some(String::new()), name)?;
                Place::Span { series, from, to }
            }
            _ => return None,
        };
        Some(Self { label: name(keys.label)?, of })
    }
}

/// A name, which may be a number.
fn name(value: Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_of_a_window_or_of_a_time() {
        let of = |line: &str| Truth::of_line(line.as_bytes());
        let truth = |label: &str, of| Some(Truth { label: label.to_owned(), of });
        assert_eq!(of(r#"{"label":"ABD","id":17}"#), truth("ABD", Place::Window(17)));
        let span = |series: &str| Place::Span { series: series.to_owned(), from: 10.0, to: 14.5 };
        let line = r#"{"label":2,"series":"s1","from":10.0,"to":14.5}"#;
        assert_eq!(of(line), truth("2", span("s1")));
        assert_eq!(of(r#"{"to":14.5,"from":10,"label":"a"}"#), truth("a", span("")));
        for line in [
            r#"{"label":"a"}"#,
            r#"{"label":"a","from":1}"#,
            r#"{"label":null,"id":1}"#,
            r#"{"label":"a","id":-1}"#,
            r#"{"t":1,"x":0.5}"#,
            "t,x",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
