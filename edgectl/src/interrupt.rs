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
        Self { deadline: budget.and_then(|b| Instant::now().checked_add(b)), watch_signals }
    }

    /// Never stops early.
    pub fn never() -> Self {
        Self { deadline: None, watch_signals: false }
    }

    /// Whether to stop now, and why.
    pub fn now(&self) -> Option<&'static str> {
        if self.watch_signals && INTERRUPTED.load(Ordering::SeqCst) {
            return Some("interrupted");
        }
        self.deadline.filter(|d| Instant::now() >= *d).map(|_| "time budget spent")
    }
}
