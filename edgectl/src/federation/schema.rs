//! What must be the same in all updates for a mean of their weights to mean something.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aggregate::Reason;
use anyhow::Context;
use serde::Serialize;

use super::update_file::UpdateFile;
use crate::checkpoint::Meta;

/// Names of the parts of a schema.
const SCHEMA: [&str; 5] = ["model", "classes", "channels", "window", "preprocess"];

/// The parts as JSON.
type Schema = [String; SCHEMA.len()];

fn schema(meta: &Meta) -> anyhow::Result<Schema> {
    fn json(part: &impl Serialize) -> anyhow::Result<String> {
        serde_json::to_string(part).context("the metadata")
    }
    let Meta { model, classes, channels, window, preprocess, .. } = meta;
    Ok([json(model)?, json(classes)?, json(channels)?, json(window)?, json(preprocess)?])
}

/// Refuses updates whose classes, channels, model, windows or preprocessing are not the base's.
///
/// Without a base they must be those of most nodes, each of which votes once for every schema it
/// sent; in a tie the first in alphabetical order counts, so that the order of the files does not
/// matter.
///
/// # Errors
/// If metadata cannot be written as JSON.
pub(super) fn refuse_other_schemas(
    files: &mut [UpdateFile],
    base: Option<&Meta>,
) -> anyhow::Result<()> {
    let found: Vec<Option<Schema>> =
        files.iter().map(|file| file.meta().map(schema).transpose()).collect::<Result<_, _>>()?;
    let expected = match base {
        Some(base) => Some(schema(base)?),
        None => most_common(files, &found).cloned(),
    };
    let Some(expected) = expected else { return Ok(()) };
    for (file, found) in files.iter_mut().zip(&found) {
        let Some(found) = found else { continue };
        let parts = SCHEMA.into_iter().zip(found.iter().zip(&expected));
        let parts: Vec<&str> = parts
            .filter(|(_, (found, expected))| found != expected)
            .map(|(name, _)| name)
            .collect();
        if !parts.is_empty() {
            let message = format!(
                "another {} than the others; train it from the same global model (edgectl train --init)",
                parts.join(", ")
            );
            file.refused = Some(Reason::Refused { message });
        }
    }
    Ok(())
}

fn most_common<'a>(files: &[UpdateFile], found: &'a [Option<Schema>]) -> Option<&'a Schema> {
    let mut votes: BTreeMap<&Schema, BTreeSet<&Path>> = BTreeMap::new();
    for (file, schema) in files.iter().zip(found) {
        if let Some(schema) = schema {
            votes.entry(schema).or_default().insert(file.voter());
        }
    }
    let most = votes.values().map(BTreeSet::len).max()?;
    votes.into_iter().find(|(_, voters)| voters.len() == most).map(|(schema, _)| schema)
}
