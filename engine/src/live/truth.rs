//! A class that is told after the answer, and which windows it is of.

use serde_json::{Map, Value};

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

/// Bytes of the longest name of a class or a series.
const LONGEST_NAME: usize = 1024;

impl Truth {
    /// Reads `{"label": "ABD", "id": 17}` or `{"label": "ABD", "series": "s1", "from": 10.0, "to": 14.0}`; nothing if
    /// the line is none of both, or a row: it has a cell that makes it one.
    ///
    /// # Errors
    /// If a name is too long.
    pub fn of_line(line: &[u8], is_of_row: impl Fn(&str) -> bool) -> Option<Result<Self, String>> {
        // The key must be there: most lines are rows.
        let line = line.trim_ascii_start();
        if line.first() != Some(&b'{') || memchr::memmem::find(line, b"\"label\"").is_none() {
            return None;
        }
        let mut keys: Map<String, Value> = serde_json::from_slice(line).ok()?;
        if keys.keys().any(|key| is_of_row(key)) {
            return None;
        }
        let number = |key: &str| keys.get(key).and_then(Value::as_f64);
        let of = match (keys.get("id").and_then(Value::as_u64), number("from"), number("to")) {
            (Some(id), ..) => Place::Window(id),
            (None, Some(from), Some(to)) => {
                let series = keys.remove("series").filter(|series| !series.is_null());
                let series = series.map_or(Some(String::new()), name)?;
                Place::Span { series, from, to }
            }
            _ => return None,
        };
        let truth = Self { label: keys.remove("label").and_then(name)?, of };
        let longest = match &truth.of {
            Place::Span { series, .. } => series.len().max(truth.label.len()),
            Place::Window(_) => truth.label.len(),
        };
        if longest > LONGEST_NAME {
            let why = format!("a name of {longest} bytes; at most {LONGEST_NAME} are taken");
            return Some(Err(why));
        }
        Some(Ok(truth))
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
        let of = |line: &str| Truth::of_line(line.as_bytes(), |name| name == "ax");
        let truth = |label: &str, of| Some(Ok(Truth { label: label.to_owned(), of }));
        assert_eq!(of(r#"{"label":"ABD","id":17}"#), truth("ABD", Place::Window(17)));
        let span = |series: &str| Place::Span { series: series.to_owned(), from: 10.0, to: 14.5 };
        let line = r#"{"label":2,"series":"s1","from":10.0,"to":14.5}"#;
        assert_eq!(of(line), truth("2", span("s1")));
        assert_eq!(of(r#"{"to":14.5,"from":10,"label":"a"}"#), truth("a", span("")));
        for line in [
            r#"{"label":"a"}"#,
            r#"{"label":"a","id":1,"ax":0.5}"#,
            r#"{"label":"a","from":1}"#,
            r#"{"label":null,"id":1}"#,
            r#"{"label":"a","id":-1}"#,
            r#"{"t":1,"x":0.5}"#,
            "t,x",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
        assert_eq!(of(r#"  {"label":"a","id":1,"by":"me"}"#), truth("a", Place::Window(1)));
        let long = format!(r#"{{"label":"{}","id":1}}"#, "a".repeat(LONGEST_NAME + 1));
        assert!(of(&long).is_some_and(|found| found.is_err_and(|why| why.contains("1025 bytes"))));
    }
}
