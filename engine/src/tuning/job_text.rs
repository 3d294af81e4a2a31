//! A job file in text, with remarks.

use serde_json::{Map, Value};

/// What is to be said of a key, in front of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Remark {
    /// The key with its sections, as `train.lr`.
    pub path: String,
    /// What, in one line.
    pub text: String,
}

/// Sections in the order in which people read them.
const SECTIONS: [&str; 6] = ["data", "window", "preprocess", "model", "train", "federation"];

/// A job as TOML, with a head of comments and remarks in front of the keys that they are of.
pub fn job_text(job: &Value, head: &[String], remarks: &[Remark]) -> String {
    let mut text = Text { lines: head.iter().map(|line| comment(line)).collect(), remarks };
    let empty = Map::new();
    let all = job.as_object().unwrap_or(&empty);
    let is_section = |value: &Value| value.is_object() || is_tables(value);
    for (key, value) in all.iter().filter(|(_, value)| !is_section(value)) {
        text.key(key, key, value);
    }
    let rest = all.keys().map(String::as_str).filter(|key| !SECTIONS.contains(key));
    for section in SECTIONS.into_iter().chain(rest) {
        match all.get(section) {
            Some(Value::Object(table)) => text.section(section, table),
            Some(value @ Value::Array(tables)) if is_tables(value) => text.tables(section, tables),
            _ => {}
        }
    }
    text.lines.join("\n") + "\n"
}

/// Whether it is written as `[[key]]`.
fn is_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(Value::is_object))
}

/// Whether a table has a section of its own: one that a name tells what it is stands in a line.
fn has_section(value: &Value) -> bool {
    value.as_object().is_some_and(|table| !table.contains_key("name"))
}

struct Text<'a> {
    lines: Vec<String>,
    remarks: &'a [Remark],
}

impl Text<'_> {
    fn section(&mut self, path: &str, table: &Map<String, Value>) {
        let (inner, plain): (Vec<_>, Vec<_>) = table.iter().partition(|(_, v)| has_section(v));
        if !plain.is_empty() || inner.is_empty() {
            self.gap();
            self.lines.push(format!("[{}]", quoted_path(path)));
            for (key, value) in plain {
                self.key(&format!("{path}.{key}"), key, value);
            }
        }
        for (key, value) in inner {
            if let Some(table) = value.as_object() {
                self.section(&format!("{path}.{key}"), table);
            }
        }
    }

    fn tables(&mut self, path: &str, tables: &[Value]) {
        for (number, table) in tables.iter().filter_map(Value::as_object).enumerate() {
            self.gap();
            if number == 0 {
                self.remarks_of(|remark| remark == path);
            }
            self.lines.push(format!("[[{}]]", quoted(path)));
            for (key, value) in table {
                self.key("", key, value);
            }
        }
    }

    /// An empty line, but for the first one.
    fn gap(&mut self) {
        if !self.lines.is_empty() {
            self.lines.push(String::new());
        }
    }

    fn key(&mut self, path: &str, key: &str, value: &Value) {
        self.remarks_of(|of| of == path);
        if let Some(value) = toml_value(value) {
            self.lines.push(format!("{} = {value}", quoted(key)));
        }
    }

    fn remarks_of(&mut self, is: impl Fn(&str) -> bool) {
        let own = self.remarks.iter().filter(|remark| is(&remark.path));
        self.lines.extend(own.map(|remark| comment(&remark.text)));
    }
}

/// A comment of one line.
fn comment(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("# {plain}").trim_end().to_owned()
}

/// A value in one line; none for null.
fn toml_value(value: &Value) -> Option<String> {
    // TOML has no null, also not inside of others.
    let value = without_nulls(value)?;
    toml::Value::try_from(value).ok().map(|value| value.to_string())
}

fn without_nulls(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(all) => Some(all.iter().filter_map(without_nulls).collect()),
        Value::Object(table) => {
            let kept = table.iter().filter_map(|(k, v)| Some((k.clone(), without_nulls(v)?)));
            Some(Value::Object(kept.collect()))
        }
        plain => Some(plain.clone()),
    }
}

/// A key, quoted where it has to be.
fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        return key.to_owned();
    }
    // The escapes of JSON are those of TOML; of control characters it leaves one as it is.
    Value::from(key).to_string().replace('\u{7f}', "\\u007f")
}

fn quoted_path(path: &str) -> String {
    path.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::json_of;

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        for job in [
            json!({}),
            json!({ "preprocess": [], "data": { "path": "a b/é\"x\"", "classes": ["a\n", "\u{7f}"] } }),
            json!({ "preprocess": [{ "step": "z-score", "channels": ["x", "y"] }, { "step": "impute" }] }),
            json!({ "train": { "lr": 1e-5, "optimizer": { "name": "adamw", "weight_decay": 0.0 },
                "augment": { "jitter": 0.25 }, "groups": [{ "params": ["*.bias"] }] } }),
            json!({ "train": { "augment": { "shift": 3 } }, "data": { "labels": { "path": "x", "a b": 2 } } }),
            json!({ "data": { "where": { "a\nb \"\u{7f}": "x" } } }),
        ] {
            let remarks = [
                Remark { path: "train.augment.jitter".to_owned(), text: "more\nnoise".to_owned() },
                Remark { path: "preprocess".to_owned(), text: "scaled".to_owned() },
            ];
            let text = job_text(&job, &["made".to_owned(), String::new()], &remarks);
            assert_eq!(json_of(&text).expect(&text), job, "{text}");
            assert_eq!(text.contains("# more noise\njitter"), text.contains("jitter"), "{text}");
        }
    }
}
