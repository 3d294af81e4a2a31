//! The models of a run, as they are shown, and what is told of two.

use serde_json::{Value, json};

use super::answer::Label;
use super::board::Known;
use super::compared::Compared;
use crate::models::{Deployment, Models};

/// Refused models that are shown.
const MOST_REFUSED: usize = 10;

/// All models: those of the folder of state, if there is one, with the one that answers.
pub(super) fn known(answers: &Label, models: Option<&Models>) -> Vec<Known> {
    let known = |hash: &str, round, state, reason: Option<&str>| Known {
        hash: hash.to_owned(),
        round,
        state,
        reason: reason.map(str::to_owned),
    };
    let live = known(&answers.hash, answers.round, answers.state.name(), None);
    let Some(models) = models else { return vec![live] };
    let Deployment { previous, candidate, refused, .. } = models.deployment();
    let refused = refused[refused.len().saturating_sub(MOST_REFUSED)..].iter();
    let mut all: Vec<Known> = refused
        .map(|model| known(&model.hash, model.round, "refused", Some(&model.reason)))
        .collect();
    all.extend(previous.iter().map(|model| known(&model.hash, model.round, "previous", None)));
    all.push(live);
    let state = candidate.iter().map(|model| (model, model.state.name()));
    all.extend(state.map(|(model, state)| known(&model.hash, model.round, state, None)));
    all
}

/// The event of a world that changed for both of two models: neither is to blame.
pub(super) fn both_changed(compared: &Compared) -> Value {
    let (n, unsure, unsure_before) = compared.unsure();
    let labelled = compared.labelled();
    let (new, before) = compared.accuracies();
    let known = |accuracy| (labelled > 0).then_some(accuracy);
    json!({
        "event": "drift", "signal": "both-models", "level": "alarm", "windows": n, "unsure": unsure,
        "unsure_before": unsure_before, "labelled": labelled, "accuracy": known(new),
        "accuracy_before": known(before),
    })
}
