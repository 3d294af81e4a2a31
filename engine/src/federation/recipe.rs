//! What an update says that most others say as well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde::Serialize;

use crate::checkpoint::{Meta, Provenance};

/// Names of the parts of a schema.
pub(super) const SCHEMA: [&str; 5] = ["model", "classes", "channels", "window", "preprocess"];

/// What must be the same in all updates for a mean of their weights to mean something: the parts as
/// JSON; of preprocessing what nodes share, as others of its values are each node's own.
pub(super) type Schema = [String; SCHEMA.len()];

/// All that a merge takes over from an update: its metadata without values that are a node's own, without the
/// temperature of its weights, and without where it comes from, but for the round.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) meta: Meta,
    /// The same as text, by which two are equal.
    pub(super) text: String,
    pub(super) schema: Schema,
}

impl Recipe {
    /// # Errors
    /// If a number cannot be written as JSON.
    pub(super) fn schema_of(meta: &Meta) -> anyhow::Result<Schema> {
        fn json(part: &impl Serialize) -> anyhow::Result<String> {
            serde_json::to_string(part).context("the metadata")
        }
        let Meta { model, classes, channels, preprocess, run, .. } = meta;
        let window = run.window();
        Ok([
            json(model)?,
            json(classes)?,
            json(channels)?,
            json(window)?,
            json(&preprocess.shared())?,
        ])
    }
}

/// The recipes of some updates, each of them once: of thousands of nodes they take most memory.
#[derive(Debug, Default)]
pub(super) struct Recipes(Mutex<HashMap<String, Arc<Recipe>>>);

impl Recipes {
    /// Takes metadata apart: what others have as well, and where these weights come from.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub(super) fn split(&self, mut meta: Meta) -> anyhow::Result<(Arc<Recipe>, Provenance)> {
        let provenance = std::mem::take(&mut meta.provenance);
        meta.preprocess = meta.preprocess.shared();
        meta.forget_fitted();
        meta.set_provenance(Provenance { round: provenance.round, ..Provenance::default() });
        let text = serde_json::to_string(&meta.to_metadata()?).context("the metadata")?;
        // The map only ever grows by whole entries.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(recipe) = known.get(&text) {
            return Ok((Arc::clone(recipe), provenance));
        }
        let schema = Recipe::schema_of(&meta)?;
        let recipe = Arc::new(Recipe { meta, text: text.clone(), schema });
        known.insert(text, Arc::clone(&recipe));
        Ok((recipe, provenance))
    }
}
