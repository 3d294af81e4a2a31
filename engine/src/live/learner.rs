//! The thread that learns, in what processors have left over; what comes of it is a candidate like any other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::board::Figure;
use super::slack::{Duty, Group, idle};
use crate::adapting::{Gate, Learned, Lesson, Teaching, adapt};
use crate::checkpoint::Checkpoint;
use crate::job::AdaptSettings;
use crate::models::{Candidate, Models, Step};
use crate::system::thread_cpu_s;

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
pub(super) struct Work {
    /// BLAKE3 of the live model's file.
    pub(super) base: String,
    /// What there is.
    pub(super) lesson: Lesson,
    /// A number of its own.
    pub(super) seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A candidate, with this hash.
    Candidate(String),
    /// A better model, and another is on trial: it is to be learned again once that is over.
    HeldBack,
    /// No better model: the live one was right for all windows of now that it was tested on.
    NothingWrong,
    /// None.
    Nothing,
}

/// The thread that learns.
#[derive(Debug)]
pub(super) struct Learner {
    /// How.
    pub(super) settings: AdaptSettings,
    /// The folder of state.
    pub(super) state: PathBuf,
    /// What is told of it.
    pub(super) told: Told,
    /// Set once nothing is to be learned any more.
    pub(super) stop: Arc<AtomicBool>,
}

impl Learner {
    /// Learns whatever there is to do, until nobody asks any more.
    pub(super) fn run(self, to_do: Receiver<Work>, done: SyncSender<Outcome>) {
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
                let outcome = match self.learn(&work, &group) {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        (self.told.event)(json!({
                            "event": "adapt", "result": "failed", "reason": format!("{error:#}"),
                        }));
                        Outcome::Nothing
                    }
                };
                if self.stop.load(Ordering::Relaxed) || done.send(outcome).is_err() {
                    return;
                }
            }
        });
    }

    /// Learns, and keeps what comes of it as a candidate if it is better.
    fn learn(&self, work: &Work, group: &Group) -> anyhow::Result<Outcome> {
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
                self.tell_use(began);
            }
            !self.stop.load(Ordering::Relaxed)
        };
        let learned = adapt(&model, &work.base, &work.lesson, teaching, &mut pause)?;
        self.tell_use(began);
        let Some(learned) = learned else { return Ok(Outcome::Nothing) };
        (self.told.figure)(Figure::AdaptSteps, "", learned.steps as f64);
        let refusal = learned.gate.refusal();
        if let Some(reason) = &refusal {
            (self.told.event)(json!({
                "event": "adapt", "result": "refused", "reason": reason, "gate": learned.gate,
            }));
            let Gate { fresh_before, fresh_was_trained_on, .. } = learned.gate;
            let nothing_wrong = !fresh_was_trained_on && fresh_before.right == fresh_before.of;
            return Ok(if nothing_wrong { Outcome::NothingWrong } else { Outcome::Nothing });
        }
        Ok(self.keep(learned, &work.base)?.map_or(Outcome::HeldBack, Outcome::Candidate))
    }

    /// Tells what it costs.
    fn tell_use(&self, began: Option<f64>) {
        if let Some((began, now)) = began.zip(thread_cpu_s()) {
            (self.told.figure)(Figure::AdaptCpuSeconds, "", now - began);
        }
    }

    /// Makes it a candidate, and the node's next update if that is wished; not where another model is the candidate.
    fn keep(&self, learned: Learned, base: &str) -> anyhow::Result<Option<String>> {
        let Learned { mut checkpoint, steps, examples, gate, tried } = learned;
        let file = checkpoint.to_file("adapted")?;
        let bytes = file.bytes_in_memory().context("it is not in memory")?.to_vec();
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let mut models = Models::open(&self.state)?;
        ensure!(models.takes(&hash), "the same model is live, or was refused before");
        let round = checkpoint.meta.provenance.round;
        // Of another model than the live one they say nothing.
        let tried = models.deployment().is_live(base).then_some(tried);
        let candidate = Candidate { hash: hash.clone(), round, state: Step::Checked, tried };
        // Told before it can become live.
        let adapted = || {
            (self.told.event)(json!({
                "event": "adapted", "model": hash, "round": round, "steps": steps,
                "windows": examples, "gate": gate,
            }));
        };
        if !models.keep_alone(&bytes, candidate, adapted)? {
            (self.told.event)(json!({
                "event": "adapt", "result": "held-back", "reason": "another model is on trial",
            }));
            return Ok(None);
        }
        if let Some(update) = &self.settings.update {
            let node = self.settings.node.clone().unwrap_or_else(|| "live".to_owned());
            checkpoint.meta.provenance.node = Some(node);
            // Values of these windows stay here.
            checkpoint.meta.forget_fitted();
            // It is a candidate all the same.
            if let Err(error) = checkpoint.write(update) {
                (self.told.event)(json!({
                    "event": "update-unwritten", "model": hash, "reason": format!("{error:#}"),
                }));
            }
        }
        Ok(Some(hash))
    }
}
