//! Which updates are of another model or other data than the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aggregate::Reason;

use super::recipe::{Recipe, SCHEMA, Schema};
use super::update_file::UpdateFile;
use crate::checkpoint::Meta;

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
    let expected = match base {
        Some(base) => Some(Recipe::schema_of(base)?),
        None => most_common(files).cloned(),
    };
    let Some(expected) = expected else { return Ok(()) };
    for file in files {
        let Some(recipe) = file.recipe() else { continue };
        let parts = SCHEMA.into_iter().zip(recipe.schema.iter().zip(&expected));
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

fn most_common(files: &[UpdateFile]) -> Option<&Schema> {
    let mut votes: BTreeMap<&Schema, BTreeSet<&Path>> = BTreeMap::new();
    for file in files {
        if let Some(recipe) = file.recipe() {
            votes.entry(&recipe.schema).or_default().insert(file.voter());
        }
    }
    let most = votes.values().map(BTreeSet::len).max()?;
    votes.into_iter().find(|(_, voters)| voters.len() == most).map(|(schema, _)| schema)
}
