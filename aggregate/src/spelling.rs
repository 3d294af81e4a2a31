//! Rules as text: a name, or a name with options.

use serde::{Deserialize, Deserializer};

/// Parses `name` or `name:key=value,key=value` as the table it stands for.
pub(crate) fn parse_options<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let (name, options) = text.split_once(':').unwrap_or((text, ""));
    let mut table = serde_json::Map::new();
    table.insert("name".into(), name.into());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let Some((key, value)) = option.split_once('=') else {
            return Err(format!("{option:?} in {text:?} is not of the form key=value"));
        };
        // What is no number and no boolean is a word.
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        if key == "name" || table.insert(key.into(), value).is_some() {
            return Err(format!("{key} stands twice in {text:?}"));
        }
    }
    serde_json::from_value(table.into()).map_err(|e| format!("{text:?}: {e}"))
}

/// What is read of a rule without options: serde would take any keys beside the tag.
pub(crate) fn no_options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(deserializer).map(|_| ())
}
