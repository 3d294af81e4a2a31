//! Ctrl-C and time budgets: when to stop early, with what was learned saved.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static HANDLER: OnceLock<bool> = OnceLock::new();

/// Says when to stop before the work is done.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    deadline: Option<Instant>,
    watch_signals: bool,
    /// Optimizer steps of this process after which to stop.
    after_steps: Option<u64>,
}

impl Stop {
    /// Stops at Ctrl-C (or a termination signal), and after `budget` if there is one. A second
    /// Ctrl-C ends the process at once.
    pub fn new(budget: Option<Duration>) -> Self {
        let watch_signals = *HANDLER.get_or_init(|| {
            ctrlc::set_handler(|| {
                if INTERRUPTED.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
            })
            .is_ok()
        });
        Self {
            deadline: budget.and_then(|b| Instant::now().checked_add(b)),
            watch_signals,
            after_steps: None,
        }
    }

    /// Also stops after so many optimizer steps of this process: an exact place for tests.
    #[must_use]
    pub fn after_steps(self, steps: Option<u64>) -> Self {
        Self { after_steps: steps, ..self }
    }

    /// Never stops early.
    pub fn never() -> Self {
        Self { deadline: None, watch_signals: false, after_steps: None }
    }

    /// Whether to stop after `taken` optimizer steps of this process, and why.
    pub fn at_step(&self, taken: u64) -> Option<&'static str> {
        if self.after_steps.is_some_and(|steps| taken >= steps) {
            return Some("the steps asked for are done");
        }
        self.now()
    }

    /// Whether to stop now, and why.
    pub fn now(&self) -> Option<&'static str> {
        if self.watch_signals && INTERRUPTED.load(Ordering::SeqCst) {
            return Some("interrupted");
        }
        self.deadline.filter(|d| Instant::now() >= *d).map(|_| "time budget spent")
    }
}
