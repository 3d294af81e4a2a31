//! From JSON values to types, at one place: what derives reading is compiled once for each way there is to
//! read it, and a job and a checkpoint have large types.

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value as a type; an error knows the path to what is wrong.
pub(crate) fn typed<T: DeserializeOwned>(
    value: &Value,
) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize(value)
}

/// A JSON text as a type.
///
/// # Errors
/// If it is no JSON, or no such value.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    let value = serde_json::from_str(text).context("no JSON")?;
    typed(&value).map_err(|error| anyhow!("{error}"))
}
