//! Adjusts the live model: windows that came back with labels go into the replay, and when it is asked for, a thread of
//! its own learns from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, ensure};
use serde_json::json;

use super::answer::Label;
use super::board::Figure;
use super::learner::{Learner, Outcome, Told, Work};
use super::observe::Observer;
use super::tap::Seen;
use crate::adapting::{Example, OfSeries, Replay, ReplayOptions, labelled_examples};
use crate::checkpoint::{Checkpoint, Meta};
use crate::data::train_segments;
use crate::job::{AdaptSettings, When};
use crate::models::Models;

/// Windows before an alarm that may be of what it is about already.
const BEFORE_ALARM: u64 = 30;

/// Windows behind an alarm after which nothing waits for more labels.
const BEHIND_ALARM: u64 = 100;

/// Labelled windows behind an alarm after which it is forgotten, if there was nothing to learn by then.
const WANTED: u32 = 300;

/// Sees windows with their labels, and has them learned.
#[derive(Debug)]
pub(super) struct Adapter {
    settings: AdaptSettings,
    replay: Replay,
    told: Told,
    /// The model that answers.
    live: Option<Arc<Label>>,
    /// Alarms that were seen, and for how many labelled windows the last is still to be acted on.
    alarms: u64,
    wanted: u32,
    /// The newest window at the first of these alarms, and labels that came since.
    since: (u64, usize),
    /// The newest window.
    newest: u64,
    /// Windows of now that were there when something was learned last, which did not help.
    tried_with: usize,
    n_tried: u64,
    work: SyncSender<Work>,
    /// What came of it.
    done: Receiver<Outcome>,
    is_busy: bool,
    /// The candidate that came of the last work, until it is known what becomes of it.
    trial: Option<String>,
    state: PathBuf,
    stop: Arc<AtomicBool>,
    cannot_write: bool,
}

impl Adapter {
    /// For a run with a folder of state, whose first model is this one.
    ///
    /// # Errors
    /// If a setting does not go with the model, or what is kept cannot be read or written.
    pub(super) fn begin(
        settings: AdaptSettings,
        model: &Checkpoint,
        state: &Path,
        told: Told,
    ) -> anyhow::Result<Self> {
        settings.check()?;
        check_update(&settings, &model.meta)?;
        let options = ReplayOptions { windows: settings.replay, bytes: settings.bytes, seed: 0 };
        let folder = state.join("replay");
        let (mut replay, lost) = Replay::open(&model.meta, options, &folder)?;
        if lost.windows > 0 || !lost.aside.is_empty() {
            (told.event)(json!({
                "event": "replay-damaged", "windows": lost.windows, "aside": lost.aside,
            }));
        }
        if lost.beyond > 0 {
            (told.event)(json!({ "event": "replay-limited", "windows": lost.beyond }));
        }
        if replay.n_kept() == 0 && !settings.clean.is_empty() {
            preload(&mut replay, model, &settings.clean).context("[adapt] clean")?;
        }
        if settings.when == When::Drift && model.meta.monitor.is_none() {
            (told.event)(json!({
                "event": "adapt", "result": "not-yet",
                "reason": "nothing is watched, so that there is no alarm: `edgectl calibrate` finds out what is usual",
            }));
        }
        let (work, to_do) = sync_channel(1);
        let (outcomes, done) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let learner = Learner {
            settings: settings.clone(),
            state: state.to_owned(),
            told: told.clone(),
            stop: Arc::clone(&stop),
        };
        let started = thread::Builder::new().name("adapt".to_owned());
        started.spawn(move || learner.run(to_do, outcomes)).context("cannot start a thread")?;
        Ok(Self {
            settings,
            replay,
            told,
            live: None,
            alarms: 0,
            wanted: 0,
            since: (0, 0),
            newest: 0,
            tried_with: 0,
            n_tried: 0,
            work,
            done,
            is_busy: false,
            trial: None,
            state: state.to_owned(),
            stop,
            cannot_write: false,
        })
    }

    /// Tells once that windows cannot be written: they are kept in memory all the same.
    fn written(&mut self, written: std::io::Result<()>) {
        if let (Err(error), false) = (written, self.cannot_write) {
            self.cannot_write = true;
            (self.told.event)(json!({ "event": "replay-unwritten", "reason": error.to_string() }));
        }
    }

    /// What is known of now is of before: all, or what is older than that.
    fn settle(&mut self, until: Option<u64>) {
        let settled = self.replay.settle(until);
        self.written(settled);
    }

    /// From which window on windows may be of what an alarm is about; with few labels all that could be learned from.
    fn recent(&self) -> u64 {
        let last = self.replay.first_of_last(self.settings.windows);
        self.newest.saturating_sub(BEFORE_ALARM).min(last)
    }

    /// Whether what an alarm is about has come back with labels.
    fn is_known(&self) -> bool {
        let (newest, labels) = self.since;
        labels >= self.settings.windows || self.newest >= newest + BEHIND_ALARM
    }

    /// Sees what became of the last candidate: what one knows that has passed its trial is known from now on.
    fn look_at_trial(&mut self) {
        let Some(hash) = &self.trial else { return };
        if self.live.as_ref().is_some_and(|live| live.hash == *hash && !live.state.is_canary()) {
            self.trial = None;
            self.settle(None);
            (self.wanted, self.tried_with) = (0, 0);
        }
    }

    /// Sees whether the last candidate was refused, or another took its place: then the change is still to be learned.
    fn look_for_refusal(&mut self) {
        let Some(hash) = &self.trial else { return };
        let Ok(models) = Models::open(&self.state) else { return };
        let deployment = models.deployment();
        let is_candidate = deployment.candidate.as_ref().is_some_and(|found| found.hash == *hash);
        if !is_candidate && !deployment.is_live(hash) {
            self.trial = None;
        }
    }

    /// Whether a model is on trial: its place is its own until it is known what becomes of it, also if it came of
    /// fewer windows.
    fn is_trying(&self) -> bool {
        let is_canary = self.live.as_ref().is_some_and(|live| live.state.is_canary());
        // One that was promoted is told of by windows only once it answers.
        let is_tried = |models: Models| {
            let deployment = models.deployment();
            deployment.canary || deployment.candidate.is_some()
        };
        is_canary || Models::open(&self.state).is_ok_and(is_tried)
    }

    /// Sees whether something was learned, and whether something is to be.
    fn look(&mut self) {
        if let Ok(outcome) = self.done.try_recv() {
            self.is_busy = false;
            match outcome {
                Outcome::Candidate(hash) => self.trial = Some(hash),
                Outcome::NothingWrong => {
                    self.settle(Some(self.recent()));
                    self.tried_with = self.replay.n_fresh();
                }
                Outcome::HeldBack => self.tried_with = 0,
                Outcome::Nothing => {}
            }
        }
        self.look_at_trial();
        let alarms = (self.told.alarms)();
        if alarms > self.alarms && self.settings.when == When::Drift {
            if self.wanted == 0 && self.trial.is_none() && !self.is_busy {
                self.settle(Some(self.recent()));
                self.tried_with = 0;
                self.since = (self.newest, 0);
            }
            self.wanted = WANTED;
        }
        self.alarms = alarms;
        let is_time = self.settings.when == When::Always || self.wanted > 0 && self.is_known();
        // What did not help is tried again once there is half as much more to learn from.
        let enough = self.settings.windows.max(self.tried_with + self.tried_with / 2);
        if is_time && !self.is_busy && self.replay.n_fresh() >= enough && !self.is_trying() {
            self.begin_work();
        }
    }

    fn begin_work(&mut self) {
        let Some(live) = &self.live else { return };
        let lesson = self.replay.lesson();
        if lesson.replay_probe.is_empty() {
            // Nothing tells what would be forgotten: what comes first is what was before.
            let windows = self.replay.n_fresh();
            self.settle(None);
            (self.told.event)(json!({
                "event": "adapt", "result": "not-yet", "windows": windows,
                "reason": "nothing is known of before; these windows are kept as that ([adapt] clean names rows of before)",
            }));
            return;
        }
        self.tried_with = self.replay.n_fresh();
        self.n_tried += 1;
        let event = json!({
            "event": "adapt", "result": "begun", "model": live.hash, "windows": lesson.fresh.len(),
            "replay": lesson.replay.len(),
        });
        let work = Work { base: live.hash.clone(), lesson, seed: self.n_tried };
        if self.work.try_send(work).is_ok() {
            self.is_busy = true;
            (self.told.event)(event);
        }
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Observer for Adapter {
    fn answered(&mut self, seen: &Seen) {
        self.newest = seen.id;
        if let Some(model) = &seen.model
            && !self.live.as_ref().is_some_and(|live| Arc::ptr_eq(live, model))
        {
            self.live = Some(Arc::clone(model));
        }
    }

    fn labelled(&mut self, seen: &Seen, class: u32) {
        if !seen.values.iter().all(|value| value.is_finite()) {
            return;
        }
        let values = seen.values.clone();
        let example = Example { values, class, group: 0, id: seen.id };
        self.wanted = self.wanted.saturating_sub(1);
        self.since.1 += 1;
        let added = self.replay.add(seen.track as u64, seen.is_fresh, example);
        self.written(added);
        (self.told.figure)(
            Figure::ReplayWindows,
            "",
            (self.replay.n_kept() + self.replay.n_fresh()) as f64,
        );
        self.look();
    }

    fn tick(&mut self) {
        self.look_for_refusal();
        self.look();
    }

    fn wants_values(&self) -> bool {
        true
    }
}

/// Fails where an update may not be made in this way.
fn check_update(settings: &AdaptSettings, meta: &Meta) -> anyhow::Result<()> {
    ensure!(
        settings.update.is_none() || meta.run.train().private.is_none(),
        "[adapt] update: the model's job has [train.private], and adapting is not private; leave it out"
    );
    Ok(())
}

/// Puts rows as they were before into the replay.
fn preload(replay: &mut Replay, model: &Checkpoint, paths: &[PathBuf]) -> anyhow::Result<()> {
    let dataset = model.meta.read_data(paths, false)?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let segments = train_segments(&dataset, &all)?;
    for OfSeries { series, is_apart, example } in labelled_examples(model, &dataset, &segments)? {
        // No series of the run has such a number.
        replay.add_before(!series, is_apart, example)?;
    }
    Ok(())
}
