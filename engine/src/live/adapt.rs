//! Adjusts the live model in the slack: windows that came back with labels go into the replay, and when it is asked
//! for, a thread of its own learns from them. What comes of it is a candidate like any other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::answer::Label;
use super::board::Figure;
use super::observe::Observer;
use super::slack::{Duty, Group, idle};
use super::tap::Seen;
use crate::adapting::{
    Example, Learned, Lesson, OfSeries, Replay, ReplayOptions, Teaching, adapt, labelled_examples,
};
use crate::checkpoint::{Checkpoint, Meta};
use crate::data::train_segments;
use crate::job::{AdaptSettings, When};
use crate::models::{Candidate, Models, Step};
use crate::system::thread_cpu_s;

/// Windows before an alarm that may be of what it is about already.
const BEFORE_ALARM: u64 = 60;

/// Takes a figure: which, of what, and its value.
type Figures = dyn Fn(Figure, &str, f64) + Send + Sync;

/// What is told of it.
#[derive(Clone)]
pub(super) struct Told {
    /// Events.
    pub(super) event: Arc<dyn Fn(Value) + Send + Sync>,
    /// Figures.
    pub(super) figure: Arc<Figures>,
    /// How many alarms there were.
    pub(super) alarms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

/// What the thread is to learn.
#[derive(Debug)]
struct Work {
    /// BLAKE3 of the live model's file.
    base: String,
    lesson: Lesson,
    /// A number of its own.
    seed: u64,
}

/// Sees windows with their labels, and has them learned.
#[derive(Debug)]
pub(super) struct Adapter {
    settings: AdaptSettings,
    replay: Replay,
    told: Told,
    /// The model that answers.
    live: Option<Arc<Label>>,
    /// Alarms that were seen, and whether one is still to be acted on.
    alarms: u64,
    wanted: bool,
    /// The newest window.
    newest: u64,
    /// Windows of now that were there when something was learned last, which did not help.
    tried_with: usize,
    n_tried: u64,
    work: SyncSender<Work>,
    /// The hash of a candidate that came of it, if one did.
    done: Receiver<Option<String>>,
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
        let (mut replay, damaged) = Replay::open(&model.meta, options, &folder)?;
        if damaged > 0 {
            (told.event)(json!({ "event": "replay-damaged", "windows": damaged }));
        }
        if replay.n_kept() == 0 && !settings.clean.is_empty() {
            preload(&mut replay, model, &settings.clean).context("[adapt] clean")?;
        }
        let (work, to_do) = sync_channel(1);
        let (candidates, done) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let learner = Learner {
            settings: settings.clone(),
            state: state.to_owned(),
            told: told.clone(),
            stop: Arc::clone(&stop),
        };
        let started = thread::Builder::new().name("adapt".to_owned());
        started.spawn(move || learner.run(to_do, candidates)).context("cannot start a thread")?;
        Ok(Self {
            settings,
            replay,
            told,
            live: None,
            alarms: 0,
            wanted: false,
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

    /// Sees what became of the last candidate: one that answers, trial and all, is what is known from now on.
    fn look_at_trial(&mut self) {
        let Some(hash) = &self.trial else { return };
        if self.live.as_ref().is_some_and(|live| live.hash == *hash && !live.state.is_canary()) {
            self.trial = None;
            self.wanted = false;
            let settled = self.replay.settle(None);
            self.written(settled);
            self.tried_with = 0;
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

    /// Whether some model is on trial: another would take its place, and none would ever be through.
    fn is_trying(&self) -> bool {
        let is_canary = self.live.as_ref().is_some_and(|live| live.state.is_canary());
        let models = || Models::open(&self.state);
        is_canary
            || self.trial.is_some()
            || models().is_ok_and(|models| models.deployment().candidate.is_some())
    }

    /// Sees whether something was learned, and whether something is to be.
    fn look(&mut self) {
        match self.done.try_recv() {
            Ok(candidate) => {
                self.is_busy = false;
                self.trial = candidate;
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
        self.look_at_trial();
        let alarms = (self.told.alarms)();
        // What is wanted already goes on, and what answers may be another model soon.
        let is_new = alarms > self.alarms && !self.wanted && !self.is_busy && self.trial.is_none();
        if is_new && self.settings.when == When::Drift {
            let settled = self.replay.settle(Some(self.newest.saturating_sub(BEFORE_ALARM)));
            self.written(settled);
            self.tried_with = 0;
            self.wanted = true;
        }
        self.alarms = alarms;
        let is_time = self.settings.when == When::Always || self.wanted;
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
            let settled = self.replay.settle(None);
            self.written(settled);
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

/// The thread that learns.
#[derive(Debug)]
struct Learner {
    settings: AdaptSettings,
    state: PathBuf,
    told: Told,
    stop: Arc<AtomicBool>,
}

impl Learner {
    fn run(self, to_do: Receiver<Work>, done: SyncSender<Option<String>>) {
        let group = Group::own();
        // What trains does so on threads of its own, or it would be done on those of others.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let pool = match pool {
            Ok(pool) => pool,
            Err(error) => {
                (self.told.event)(
                    json!({ "event": "adapt", "result": "failed", "reason": error.to_string() }),
                );
                return;
            }
        };
        pool.install(move || {
            if let Err(reason) = idle() {
                (self.told.event)(
                    json!({ "event": "priority", "asked": "idle", "reason": reason }),
                );
            }
            while let Ok(work) = to_do.recv() {
                let candidate = match self.learn(&work, &group) {
                    Ok(candidate) => candidate,
                    Err(error) => {
                        (self.told.event)(json!({
                            "event": "adapt", "result": "failed", "reason": format!("{error:#}"),
                        }));
                        None
                    }
                };
                if self.stop.load(Ordering::Relaxed) || done.send(candidate).is_err() {
                    return;
                }
            }
        });
    }

    /// Learns, and keeps what comes of it as a candidate if it is better; gives its hash.
    fn learn(&self, work: &Work, group: &Group) -> anyhow::Result<Option<String>> {
        let file = Models::open(&self.state)?.file_of(&work.base);
        let (model, hash) = Checkpoint::read_base(&file)?;
        ensure!(
            hash == work.base,
            "{}: damaged: its bytes are not those of its name",
            file.display()
        );
        let AdaptSettings { lr, steps, batch, cpu, .. } = self.settings;
        let teaching = Teaching { lr, steps, batch, seed: work.seed, threads: 1 };
        let began = thread_cpu_s();
        let mut duty = Duty::new(cpu, group.clone());
        let mut pieces = 0_u64;
        let mut pause = || {
            duty.pause();
            pieces += 1;
            if pieces.is_multiple_of(32) {
                self.tell_use(group, began);
            }
            !self.stop.load(Ordering::Relaxed)
        };
        let learned = adapt(&model, &work.base, &work.lesson, teaching, &mut pause)?;
        self.tell_use(group, began);
        let Some(learned) = learned else { return Ok(None) };
        (self.told.figure)(Figure::AdaptSteps, "", learned.steps as f64);
        let refusal = learned.gate.refusal();
        if let Some(reason) = &refusal {
            (self.told.event)(json!({
                "event": "adapt", "result": "refused", "reason": reason, "gate": learned.gate,
            }));
            return Ok(None);
        }
        self.keep(learned).map(Some)
    }

    /// Tells what it costs.
    fn tell_use(&self, group: &Group, began: Option<f64>) {
        if let Some((began, now)) = began.zip(thread_cpu_s()) {
            (self.told.figure)(Figure::AdaptCpuSeconds, "", now - began);
        }
        if let Some((_, seconds)) = group.throttled() {
            (self.told.figure)(Figure::ThrottledSeconds, "", seconds);
        }
    }

    /// Makes it a candidate, and the node's next update if that is wished.
    fn keep(&self, learned: Learned) -> anyhow::Result<String> {
        let Learned { mut checkpoint, steps, examples, gate, tried } = learned;
        let file = checkpoint.to_file("adapted")?;
        let bytes = file.bytes_in_memory().context("it is not in memory")?.to_vec();
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let mut models = Models::open(&self.state)?;
        ensure!(models.takes(&hash), "the same model is live, or was refused before");
        let round = checkpoint.meta.provenance.round;
        // Told before it can become live.
        (self.told.event)(json!({
            "event": "adapted", "model": hash, "round": round, "steps": steps, "windows": examples,
            "gate": gate,
        }));
        let (state, tried) = (Step::Checked, Some(tried));
        models.keep(&bytes, Candidate { hash: hash.clone(), round, state, tried })?;
        if let Some(update) = &self.settings.update {
            let node = self.settings.node.clone().unwrap_or_else(|| "live".to_owned());
            checkpoint.meta.provenance.node = Some(node);
            // Values of these windows stay here.
            checkpoint.meta.forget_fitted();
            checkpoint.write(update)?;
        }
        Ok(hash)
    }
}
