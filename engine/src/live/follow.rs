//! What people decide in folders of models, a run follows: in its own, and in the one that its models come from.

use std::sync::Arc;

use serde_json::json;

use super::compared::Past;
use super::counters::add;
use super::incoming::Stamp;
use super::watcher::{Means, Watcher};
use crate::models::{Candidate, Denied, Deployed};

impl Watcher {
    /// Goes back where what answers, or may soon, was refused in the folder that models come from, and refuses it here,
    /// too.
    pub(super) fn follow_there(&mut self, with: &Means<'_>) {
        let Some(incoming) = &mut self.incoming else { return };
        incoming.look_there();
        let candidate = self.models.as_ref().and_then(|it| it.deployment().candidate.as_ref());
        let refused = candidate.and_then(|candidate| {
            Some((candidate.hash.clone(), incoming.refused_there(&candidate.hash)?.to_owned()))
        });
        let target = Arc::clone(self.offered.as_ref().unwrap_or(&self.answers));
        let reason = incoming.refused_there(&target.hash).map(str::to_owned);
        if let Some((hash, reason)) = refused {
            drop(self.waiting.take_if(|waiting| waiting.label.hash == hash));
            drop(with.shadow.take(&hash));
            self.refuse(&hash, &reason, with);
        }
        let Some(reason) = reason.filter(|_| self.stuck.as_ref() != Some(&target.hash)) else {
            return;
        };
        let before = self.models.as_ref().and_then(|models| models.deployment().previous.clone());
        let is_good = |before: &Deployed| {
            let incoming = self.incoming.as_ref();
            incoming.is_none_or(|incoming| incoming.refused_there(&before.hash).is_none())
        };
        if before.as_ref().is_some_and(is_good) {
            // What is written here is followed as if somebody had done so by hand.
            self.note(with, |models| models.roll_back(Some(&target.hash), &reason).map(drop));
            return;
        }
        let checks = &self.checks;
        let there = self.incoming.as_mut().map(|incoming| incoming.live_there(checks));
        match there {
            Some(Ok((ready, file))) if self.models.is_some() => {
                let (hash, round) = (file.hash.clone(), ready.label.round);
                let (bad, bad_round) = (target.hash.clone(), target.round);
                self.note(with, |models| {
                    models.install(&file.bytes, Deployed { hash, round, accuracy: None })?;
                    models.refuse(Denied { hash: bad, round: bad_round, reason })
                });
            }
            Some(Ok((ready, _))) => {
                self.offer(ready, with);
                self.taken_back(&target, &reason, with);
            }
            Some(Err(error)) => {
                self.stuck = Some(target.hash.clone());
                with.events.tell(json!({
                    "event": "rollback", "model": target.hash, "result": "failed",
                    "reason": format!("{reason}; there is none to go back to: {error:#}"),
                }));
            }
            None => {}
        }
    }

    /// Does as the folder of state says, in which somebody may have changed what is live.
    pub(super) fn follow(&mut self, with: &Means<'_>) {
        let Some(models) = &mut self.models else { return };
        let stamp = Stamp::of(&models.truth());
        if stamp == self.truth || stamp.is_none() {
            return;
        }
        self.truth = stamp;
        if let Err(error) = models.reload() {
            with.events.tell(json!({ "event": "state", "reason": format!("{error:#}") }));
            return;
        }
        self.follow_live(with);
        let Some(models) = &self.models else { return };
        let candidate = models.deployment().candidate.clone();
        let is_known = |found: &Candidate| self.candidate.as_ref() == Some(&found.hash);
        if let Some(Candidate { hash, tried, .. }) = candidate.filter(|found| !is_known(found)) {
            // Somebody has put it there, or the run before has left it.
            match self.checks.of_state(self.models.as_ref(), &hash) {
                Ok(ready) => {
                    self.past = Past { tried, ..Past::default() };
                    self.candidate_is(ready, with);
                }
                Err(error) => self.refuse(&hash, &format!("{error:#}"), with),
            }
        }
    }

    /// Lets the model answer that somebody made live.
    fn follow_live(&mut self, with: &Means<'_>) {
        let Some(models) = &self.models else { return };
        let Some(live) = models.deployment().live.clone() else { return };
        let target = Arc::clone(self.offered.as_ref().unwrap_or(&self.answers));
        if live.hash == target.hash {
            return;
        }
        let refusal = models.deployment().refusal(&target.hash).map(str::to_owned);
        let has_before = models.deployment().previous.is_some();
        let canary = refusal.is_none() && has_before && with.shadow.terms().windows > 0;
        if models.deployment().canary != canary {
            self.note(with, |models| models.try_out(&live.hash, canary));
        }
        self.go_to(&live.hash, canary, with);
        if refusal.is_none() {
            with.events.tell(json!({
                "event": "promote", "model": live.hash, "round": live.round, "by": "hand",
            }));
        }
        if let Some(reason) = refusal {
            self.taken_back(&target, &reason, with);
        }
    }

    /// Lets a model of the folder answer.
    fn go_to(&mut self, hash: &str, canary: bool, with: &Means<'_>) {
        if self.offered.is_some() {
            if with.place.withdraw().is_some() {
                self.offered = None;
            } else {
                self.taken(with);
            }
        }
        if self.answers.hash == hash {
            return;
        }
        let waits = self.waiting.take_if(|waiting| waiting.label.hash == hash);
        let warm = waits.or_else(|| {
            let found = with.shadow.take(hash)?;
            // How sure it was while nobody heard it is what is usual of it.
            let (tried, usual) = (self.past.tried, found.compared.usual());
            self.shown = Some(Past { tried, usual, accuracy: None });
            Some(found.ready)
        });
        match warm.map_or_else(|| self.checks.of_state(self.models.as_ref(), hash), Ok) {
            Ok(ready) => {
                ready.label.state.set_canary(canary);
                self.offer(ready, with);
            }
            Err(error) => {
                let reason = format!("{error:#}");
                add(&with.counters.refused, 1);
                self.note(with, |models| models.roll_back(Some(hash), &reason).map(drop));
                with.events.tell(json!({
                    "event": "reload", "result": "refused", "model": hash, "reason": reason,
                }));
            }
        }
    }
}
