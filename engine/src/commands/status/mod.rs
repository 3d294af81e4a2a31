//! `edgectl status`: the rounds of a store, or the models of a node.

#[cfg(all(feature = "store", feature = "plot"))]
mod html;
#[cfg(feature = "store")]
mod rounds_of;

use std::path::Path;

use anyhow::Context;

use crate::cli::StatusArgs;
use crate::models::{Deployed, Deployment, Models};
use crate::output::{Output, shown, table};

/// `edgectl status`.
pub(super) fn run(args: &StatusArgs, output: Output) -> anyhow::Result<()> {
    #[cfg(feature = "store")]
    if let Some(url) = &args.store {
        return rounds_of::of_store(url, args, &page, output);
    }
    of_models(args.models.as_deref().context("give a folder of models")?, output)
}

#[cfg(all(feature = "store", feature = "plot"))]
use html::page;

#[cfg(all(feature = "store", not(feature = "plot")))]
fn page(_: &rounds_of::Report) -> anyhow::Result<String> {
    anyhow::bail!("--html: this edgectl was built without pictures; build it with the feature plot")
}

fn of_models(folder: &Path, output: Output) -> anyhow::Result<()> {
    let models = Models::open(folder)?;
    let deployment = models.deployment();
    output.result(deployment, &models_text(folder, deployment))
}

fn models_text(folder: &Path, deployment: &Deployment) -> String {
    let row = |what: &str, model: &Deployed| {
        let accuracy = model.accuracy.map_or("-".to_owned(), |accuracy| format!("{accuracy:.4}"));
        vec![what.to_owned(), model.round.to_string(), accuracy, model.hash.clone()]
    };
    let live_as = if deployment.canary { "live (canary)" } else { "live" };
    let live = deployment.live.iter().map(|model| row(live_as, model));
    let previous = deployment.previous.iter().map(|model| row("before", model));
    let candidate = deployment.candidate.iter().map(|model| {
        let what = format!("candidate ({})", model.state.name());
        vec![what, model.round.to_string(), "-".to_owned(), model.hash.clone()]
    });
    let rows: Vec<Vec<String>> = live.chain(previous).chain(candidate).collect();
    let mut text = shown(&folder.display().to_string()).into_owned();
    if rows.is_empty() {
        return text + ": no model is live yet";
    }
    text += &format!("\n\n{}", table(&["model", "round", "held out", "BLAKE3"], &rows));
    for refused in &deployment.refused {
        text += &format!(
            "\nrefused: {} of round {}: {}",
            refused.hash,
            refused.round,
            shown(&refused.reason)
        );
    }
    text
}
