//! Which model answers: another that is put in place is checked, answers beside the live one, then as the canary with
//! the one before beside it, and is live in the end; one that is worse is taken back.
//!
//! ```text
//! --model ─► checked ─► shadow ─► canary ─► live ─► before
//!               └► refused ◄┘        └► taken back, and refused
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::answer::Label;
use super::board::Figure;
use super::compared::Past;
use super::counters::{Counters, add};
use super::events::Events;
use super::hand_over::HandOver;
use super::incoming::{Checks, Incoming, Stamp};
use super::judged::Verdict;
use super::known::{both_changed, known};
use super::ready::{ModelFile, Ready};
use super::shadow::{Found, Role, Shadow};
use crate::models::{BY_HAND, Candidate, Denied, Models, Step};

/// How often to look whether a model was taken that was handed over.
const SOON: Duration = Duration::from_millis(10);

/// What it works with.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    /// The way to the thread that answers.
    pub place: &'a HandOver<Ready>,
    /// The model beside.
    pub shadow: &'a Shadow,
    /// What is told.
    pub events: &'a Events,
    /// What is counted.
    pub counters: &'a Counters,
}

/// Looks whether another model is to answer.
#[derive(Debug)]
pub struct Watcher {
    pub(super) incoming: Option<Incoming>,
    pub(super) checks: Checks,
    /// The folder of state, and how its truth was when it was last looked at.
    pub(super) models: Option<Models>,
    pub(super) truth: Option<Stamp>,
    /// What answers.
    pub(super) answers: Arc<Label>,
    /// What is handed over and not yet taken.
    pub(super) offered: Option<Arc<Label>>,
    /// A candidate, until it can answer beside the live one.
    pub(super) waiting: Option<Box<Ready>>,
    /// The last candidate of all.
    pub(super) candidate: Option<String>,
    /// What is known of it and the live model, where it was made.
    pub(super) past: Past,
    /// The same of the canary, before it answered.
    pub(super) shown: Option<Past>,
    pub(super) has_begun: bool,
    /// A model that should go, and there is none to go back to.
    pub(super) stuck: Option<String>,
}

impl Watcher {
    /// For a run that began with this model. Other models come from the path.
    pub fn new(
        path: Option<&Path>,
        models: Option<Models>,
        (model, answers): (&ModelFile, Arc<Label>),
        width: usize,
        deadline: Option<Duration>,
    ) -> Self {
        Self {
            incoming: path.map(|path| Incoming::of(path, &answers)),
            checks: Checks::of(model, width, deadline),
            models,
            truth: None,
            answers,
            offered: None,
            waiting: None,
            candidate: None,
            past: Past::default(),
            shown: None,
            has_begun: false,
            stuck: None,
        }
    }

    /// The hash and the round of the model that answers.
    pub fn live(&self) -> (String, u32) {
        let Label { hash, round, .. } = &*self.answers;
        (hash.clone(), *round)
    }

    /// When to look again, if every so often.
    pub fn pause(&self, watch: Duration) -> Duration {
        if self.offered.is_some() { watch.min(SOON) } else { watch }
    }

    /// Looks once. What is wrong with a model is told in an event; whatever is there, nothing ends.
    pub fn look(&mut self, with: &Means<'_>) {
        if !std::mem::replace(&mut self.has_begun, true) && self.answers.state.is_canary() {
            // The run before ended while it was on trial.
            self.try_out(None, with);
            self.tell_live(with);
        }
        self.taken(with);
        if let Some(found) = with.shadow.found() {
            self.act(found, with);
        }
        if let Some(compared) = with.shadow.world() {
            with.events.tell(both_changed(&compared));
        }
        self.follow_there(with);
        self.follow(with);
        self.see(with);
        self.begin_shadow(with);
        with.counters.board.set_models(known(&self.answers, self.models.as_ref()));
    }

    /// The old model comes back once a new one answers; it ends here, where nobody waits for an answer, or goes on
    /// beside it.
    pub(super) fn taken(&mut self, with: &Means<'_>) {
        let Some(old) = with.place.old() else { return };
        let Some(label) = self.offered.take() else { return };
        add(&with.counters.reloads, 1);
        self.answers = label;
        if let Some(candidate) = with.shadow.clear(Role::Candidate) {
            // It begins again beside the one that answers now.
            self.waiting.get_or_insert(candidate);
        }
        if self.answers.state.is_canary() {
            self.try_out(Some(old), with);
        } else {
            drop(with.shadow.clear(Role::Before));
        }
        self.tell_live(with);
    }

    /// Tells which model answers, and as what.
    fn tell_live(&self, with: &Means<'_>) {
        let Label { hash, round, state, .. } = &*self.answers;
        with.events.tell(json!({
            "event": "reload", "result": state.name(), "model": hash, "round": round,
        }));
    }

    /// Lets the model before answer beside the canary: the one that just answered, if it is that one.
    fn try_out(&mut self, old: Option<Box<Ready>>, with: &Means<'_>) {
        let previous = self.models.as_ref().and_then(|models| models.deployment().previous.clone());
        let Some(previous) = previous else { return self.answers.state.set_canary(false) };
        let warm = old.filter(|old| old.label.hash == previous.hash);
        let before = warm.or_else(|| Some(with.shadow.take(&previous.hash)?.ready));
        match before.map_or_else(|| self.checks.of_state(self.models.as_ref(), &previous.hash), Ok)
        {
            Ok(before) => {
                let answers = Arc::clone(&self.answers);
                let past = self.shown.take().unwrap_or_else(|| std::mem::take(&mut self.past));
                let known = past.usual.1.or_else(|| with.shadow.usual(&previous.hash));
                let past = Past { usual: (past.usual.0, known), ..past };
                drop(with.shadow.put((before, Role::Before), answers, &past));
            }
            // There is nothing to go back to.
            Err(error) => {
                self.settle(with);
                with.events.tell(json!({ "event": "state", "reason": format!("{error:#}") }));
            }
        }
    }

    /// The trial is over, and passed.
    fn settle(&mut self, with: &Means<'_>) {
        self.answers.state.set_canary(false);
        let hash = self.answers.hash.clone();
        self.note(with, |models| models.try_out(&hash, false));
    }

    /// What follows of what two models said of the same windows.
    fn act(&mut self, found: Found, with: &Means<'_>) {
        let Found { ready, role, compared, verdict } = found;
        let Label { hash, round, .. } = &*Arc::clone(&ready.label);
        match (role, verdict) {
            (_, Verdict::Open) => {}
            (Role::Candidate, Verdict::Bad(reason)) => self.refuse(hash, &reason, with),
            (Role::Candidate, Verdict::Good) => {
                let (accuracies, labelled) = (compared.accuracies_here(), compared.labelled_here());
                self.shown = Some(Past {
                    tried: Some(compared.paired()),
                    accuracy: compared.accuracy_before(),
                    usual: compared.usual(),
                });
                if self.note(with, |models| models.promote(Some(hash), true).map(drop)) {
                    ready.label.state.set_canary(true);
                    // It is in its place before anybody hears of it.
                    self.offer(ready, with);
                    with.events.tell(json!({
                        "event": "promote", "model": hash, "round": round, "by": "shadow",
                        "windows": compared.windows(), "agreement": compared.agreement(),
                        "labelled": labelled, "accuracy": accuracies.map(|(new, _)| new),
                        "accuracy_before": accuracies.map(|(_, old)| old),
                        "gate_labelled": compared.labelled() - labelled,
                    }));
                }
            }
            (Role::Before, Verdict::Good) => {
                self.settle(with);
                self.tell_live(with);
            }
            (Role::Before, Verdict::Bad(reason)) => {
                let bad = Arc::clone(&self.answers);
                ready.label.state.set_canary(false);
                // The pointer first, the file after it: a killed run begins with the trial again.
                self.offer(ready, with);
                self.note(with, |models| models.roll_back(Some(&bad.hash), &reason).map(drop));
                self.taken_back(&bad, &reason, with);
            }
        }
    }

    pub(super) fn taken_back(&self, bad: &Label, reason: &str, with: &Means<'_>) {
        add(&with.counters.rollbacks, 1);
        let by = if reason == BY_HAND { "hand" } else { "trial" };
        with.counters.board.add(Figure::Rollbacks, by, 1.0);
        let to = self.offered.as_ref().unwrap_or(&self.answers);
        with.events.tell(json!({
            "event": "rollback", "model": bad.hash, "round": bad.round, "to": to.hash, "reason": reason,
        }));
    }

    /// Sees whether another model was put in place.
    fn see(&mut self, with: &Means<'_>) {
        let Some(incoming) = &mut self.incoming else { return };
        match incoming.see(&self.checks, self.models.as_ref()) {
            Ok(None) => {}
            Ok(Some((Some(ready), file))) => self.take(ready, &file, with),
            Ok(Some((None, file))) => {
                self.note(with, |models| models.came(&file.hash));
            }
            Err(error) => {
                add(&with.counters.refused, 1);
                with.events.tell(json!({
                    "event": "reload", "result": "refused", "reason": format!("{error:#}"),
                }));
            }
        }
    }

    /// Keeps a model that was checked as the candidate.
    fn take(&mut self, ready: Box<Ready>, file: &ModelFile, with: &Means<'_>) {
        let (hash, round) = (ready.label.hash.clone(), ready.label.round);
        let candidate = Candidate { hash, round, state: Step::Checked, tried: None };
        let keep = |models: &mut Models| {
            models.keep(&file.bytes, candidate)?;
            models.came(&file.hash)
        };
        if self.note(with, keep) {
            self.past = Past::default();
            self.candidate_is(ready, with);
        }
    }

    /// Lets a candidate wait for its trial, or answer at once.
    pub(super) fn candidate_is(&mut self, ready: Box<Ready>, with: &Means<'_>) {
        let label = Arc::clone(&ready.label);
        self.candidate = Some(label.hash.clone());
        if with.shadow.terms().windows > 0 {
            drop(with.shadow.clear(Role::Candidate));
            self.waiting = Some(ready);
        } else if self.note(with, |models| models.promote(Some(&label.hash), false).map(drop)) {
            // It is in its place before anybody hears of it.
            self.offer(ready, with);
        } else {
            return;
        }
        with.events.tell(json!({
            "event": "reload", "result": "checked", "model": label.hash, "round": label.round,
        }));
    }

    /// Lets the candidate answer beside the live model, once that is no canary.
    fn begin_shadow(&mut self, with: &Means<'_>) {
        let is_busy = self.offered.is_some() || self.answers.state.is_canary();
        if is_busy || with.shadow.holds().is_some() {
            return;
        }
        if let Some(ready) = self.waiting.take() {
            let hash = ready.label.hash.clone();
            let answers = Arc::clone(&self.answers);
            let usual = (None, with.shadow.usual(&answers.hash));
            let past = Past { usual, tried: self.past.tried, accuracy: None };
            drop(with.shadow.put((ready, Role::Candidate), answers, &past));
            self.note(with, |models| models.step(&hash, Step::Shadow));
        }
    }

    pub(super) fn refuse(&mut self, hash: &str, reason: &str, with: &Means<'_>) {
        add(&with.counters.refused, 1);
        let round = self.models.as_ref().and_then(|models| models.deployment().candidate.clone());
        let round = round.map_or(0, |candidate| candidate.round);
        let denied = Denied { hash: hash.to_owned(), round, reason: reason.to_owned() };
        self.note(with, |models| models.refuse(denied));
        with.events.tell(json!({
            "event": "reload", "result": "refused", "model": hash, "round": round, "reason": reason,
        }));
    }

    /// Hands a model over.
    pub(super) fn offer(&mut self, ready: Box<Ready>, with: &Means<'_>) {
        self.offered = Some(Arc::clone(&ready.label));
        drop(with.place.offer(ready));
    }

    /// Writes to the folder of state, if there is one; what goes wrong is told. Says whether it went well.
    pub(super) fn note(
        &mut self,
        with: &Means<'_>,
        write: impl FnOnce(&mut Models) -> anyhow::Result<()>,
    ) -> bool {
        let Some(models) = &mut self.models else { return true };
        let written = write(models);
        if let Err(error) = &written {
            with.events.tell(json!({ "event": "state", "reason": format!("{error:#}") }));
        }
        written.is_ok()
    }
}
