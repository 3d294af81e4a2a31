//! The models of a run, as they are shown.

use super::answer::Label;
use super::board::Known;
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
