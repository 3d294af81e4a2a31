//! What this program does not know in a file, and carries along into whatever is written next.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::typed::typed;

/// Tables that hold the options of a rule.
const RULES: [&str; 8] =
    ["optimizer", "schedule", "reduce", "server", "privacy", "private", "task", "attention"];

/// More keys that nobody knows are taken for damage.
const MOST_UNKNOWN: usize = 256;

/// What this program does not know in a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Unknown {
    /// Other keys of the file's metadata.
    pub(super) metadata: BTreeMap<String, String>,
    /// Other keys inside ours, where they stood.
    pub(super) keys: Map<String, Value>,
}

/// Adds what `known` lacks.
pub(super) fn add(known: &mut Map<String, Value>, unknown: &Map<String, Value>) {
    for (key, value) in unknown {
        match (known.get_mut(key), value) {
            (None, _) => _ = known.insert(key.clone(), value.clone()),
            (Some(Value::Object(known)), Value::Object(unknown)) => add(known, unknown),
            // Now it is known.
            _ => {}
        }
    }
}

/// Parses what is known, and moves the keys that are not to `unknown`.
pub(super) fn known<T: for<'de> Deserialize<'de>>(
    value: &mut Value,
    unknown: &mut Map<String, Value>,
) -> anyhow::Result<T> {
    for _ in 0..=MOST_UNKNOWN {
        let error = match typed(value) {
            Ok(parsed) => return Ok(parsed),
            Err(error) => error,
        };
        let path: Option<Vec<String>> = error
            .path()
            .iter()
            .map(|segment| match segment {
                Segment::Map { key } => Some(key.clone()),
                _ => None,
            })
            .collect();
        // What an earlier merge found out is no more than told: with a rule that is new, it is carried.
        let told = ["provenance".to_owned(), "merge".to_owned()];
        if let Some(path) = &path
            && path.starts_with(&told)
            && take(value, &told[..1], &told[1], unknown).is_some()
        {
            continue;
        }
        let message = error.inner().to_string();
        let key = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        let moved = path.zip(key).and_then(|(path, key)| take(value, &path, key, unknown));
        moved.ok_or(error)?;
    }
    Err(anyhow!("more than {MOST_UNKNOWN} unknown keys"))
}

/// Moves a key from the table at `path` to the same place in `unknown`. The options of a rule stay: one
/// that is not known would change what the rule does.
fn take(
    mut value: &mut Value,
    path: &[String],
    key: &str,
    mut unknown: &mut Map<String, Value>,
) -> Option<()> {
    let path = path.strip_suffix(&[key.to_owned()]).unwrap_or(path);
    for name in path {
        value = value.get_mut(name)?;
        unknown = unknown.entry(name).or_insert_with(|| Map::new().into()).as_object_mut()?;
    }
    let table = value.as_object_mut()?;
    let is_rule = path.last().is_some_and(|name| RULES.contains(&name.as_str()));
    if is_rule && key != "merge" {
        return None;
    }
    unknown.insert(key.to_owned(), table.remove(key)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FederationConfig, TrainConfig};

    fn read_as<T: for<'de> Deserialize<'de>>(
        text: &str,
    ) -> (Result<T, String>, Map<String, Value>) {
        let mut unknown = Map::new();
        let mut value = serde_json::from_str(text).expect("JSON");
        let parsed = known(&mut value, &mut unknown).map_err(|error| format!("{error:#}"));
        (parsed, unknown)
    }

    #[test]
    fn unknown_keys_are_moved_from_wherever_they_stand() {
        let text = r#"{ "epochs": 3, "rehearse": { "share": 0.1 }, "augment": { "jitter": 0.5, "mixup": 0.2 } }"#;
        let (train, unknown) = read_as::<TrainConfig>(text);
        let train = train.expect("valid");
        assert_eq!(
            (train.epochs.in_a_round(), train.augment.jitter.to_bits()),
            (3, 0.5_f32.to_bits())
        );
        let expected = r#"{"augment":{"mixup":0.2},"rehearse":{"share":0.1}}"#;
        assert_eq!(Value::from(unknown.clone()).to_string(), expected);

        let mut written = Map::from_iter([("epochs".to_owned(), Value::from(4))]);
        written.insert("augment".to_owned(), serde_json::json!({ "jitter": 0.25 }));
        add(&mut written, &unknown);
        let expected =
            r#"{"augment":{"jitter":0.25,"mixup":0.2},"epochs":4,"rehearse":{"share":0.1}}"#;
        assert_eq!(Value::from(written).to_string(), expected);
    }

    #[test]
    fn keys_in_the_table_of_two_structs_too() {
        let (federation, unknown) =
            read_as::<FederationConfig>(r#"{ "rounds": 3, "relay": true }"#);
        assert_eq!(federation.expect("valid").rounds, 3);
        assert_eq!(Value::from(unknown).to_string(), r#"{"relay":true}"#);
    }

    #[test]
    fn options_of_a_rule_are_not_passed_over() {
        let (train, _) = read_as::<TrainConfig>(r#"{ "optimizer": { "name": "sgd", "warp": 1 } }"#);
        assert!(train.expect_err("unknown").contains("warp"));
        let (train, _) = read_as::<TrainConfig>(r#"{ "epochs": "three" }"#);
        assert!(train.expect_err("no number").contains("epochs"));
    }

    #[test]
    fn a_flood_of_unknown_keys_is_damage() {
        let keys: Vec<String> = (0..1000).map(|i| format!("\"k{i}\": 0")).collect();
        let (train, _) = read_as::<TrainConfig>(&format!("{{ {} }}", keys.join(", ")));
        assert!(train.expect_err("too many").contains("more than 256 unknown keys"));
    }
}
