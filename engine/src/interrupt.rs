//! Signals and time budgets: when to stop early, with what was learned saved, and when at once.

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::system::hangup_is_ignored;

/// The number of the signal that came, 0 before.
static CAME: AtomicI32 = AtomicI32::new(0);
/// Whether a loop asks [`Stop`] whether to go on, and so ends by itself after a signal.
static ASKED: AtomicBool = AtomicBool::new(false);
static WATCHED: OnceLock<bool> = OnceLock::new();

/// Signals that follow the first one sooner are the same wish: a shell sends one to the whole group
/// of processes, and a program that started this one may pass its own on.
const ONE_WISH: Duration = Duration::from_millis(250);

/// `SIGHUP`, which not every system has.
const HANGUP: i32 = 1;

/// `SIGXFSZ`, by its number on Linux, macOS and the BSDs.
#[cfg(unix)]
const FILE_TOO_LARGE: i32 = 25;

/// A signal that asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGHUP`: the terminal is gone.
    Hangup,
    /// `SIGINT`: Ctrl-C.
    Interrupt,
    /// `SIGTERM`.
    Terminate,
}

impl Signal {
    fn of(number: i32) -> Option<Self> {
        match number {
            HANGUP => Some(Self::Hangup),
            SIGINT => Some(Self::Interrupt),
            SIGTERM => Some(Self::Terminate),
            _ => None,
        }
    }

    /// What a process ends with after it: 128 and its number, as shells have it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Why work stopped before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A signal came.
    Signal(Signal),
    /// The time that was given is over.
    TimeBudget,
    /// What was asked for is done.
    Steps,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal(_) => "interrupted",
            Self::TimeBudget => "time budget spent",
            Self::Steps => "the steps asked for are done",
        })
    }
}

impl std::error::Error for Reason {}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From now on a signal ends the process with [`Signal::exit_code`] and without the temporary files
/// of what it was writing. While a loop asks a [`Stop`], the first one is left to that loop, and the
/// second one ends the process.
pub fn watch_signals() -> bool {
    *WATCHED.get_or_init(|| listen().is_ok())
}

#[cfg(unix)]
fn listen() -> io::Result<()> {
    let mut numbers = vec![SIGINT, SIGTERM];
    // Under nohup the process shall outlive its terminal.
    if !hangup_is_ignored() {
        numbers.push(HANGUP);
    }
    // Else a file that grows beyond what is allowed would end the process without a word; so the write
    // fails, with a name.
    numbers.push(FILE_TOO_LARGE);
    let mut signals = signal_hook::iterator::Signals::new(numbers)?;
    let mut first = None;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || signals.forever().for_each(|number| came(number, &mut first)))?;
    Ok(())
}

#[cfg(not(unix))]
fn listen() -> io::Result<()> {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    let flag = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM] {
        signal_hook::flag::register_usize(number, Arc::clone(&flag), number as usize)?;
    }
    let mut first = None;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(20));
            match flag.swap(0, Ordering::SeqCst) {
                0 => {}
                number => came(number as i32, &mut first),
            }
        }
    })?;
    Ok(())
}

/// Notes a signal, or ends the process.
fn came(number: i32, first: &mut Option<Instant>) {
    let Some(signal) = Signal::of(number) else { return };
    let now = Instant::now();
    let is_second = first.is_some_and(|first| now.duration_since(first) > ONE_WISH);
    if is_second || !ASKED.load(Ordering::SeqCst) {
        let _kept = aggregate::abandon_pending();
        std::process::exit(signal.exit_code().into());
    }
    if first.is_none() {
        *first = Some(now);
        CAME.store(number, Ordering::SeqCst);
    }
}

/// Says when to stop before the work is done.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    deadline: Option<Instant>,
    watch_signals: bool,
    /// Optimizer steps of this process after which to stop.
    after_steps: Option<u64>,
    /// Set once all is done that was asked for.
    done: Option<&'static AtomicBool>,
}

impl Stop {
    /// Stops at a signal, and after `budget` if there is one. What comes before the first question
    /// has nothing to save: a signal then ends the process at once.
    pub fn new(budget: Option<Duration>) -> Self {
        Self {
            deadline: budget.and_then(|b| Instant::now().checked_add(b)),
            watch_signals: watch_signals(),
            after_steps: None,
            done: None,
        }
    }

    /// Also stops after so many optimizer steps of this process: an exact place for tests.
    #[must_use]
    pub fn after_steps(self, steps: Option<u64>) -> Self {
        Self { after_steps: steps, ..self }
    }

    /// Also stops once this is set.
    #[must_use]
    pub fn once(self, done: &'static AtomicBool) -> Self {
        Self { done: Some(done), ..self }
    }

    /// Never stops early.
    pub fn never() -> Self {
        Self { deadline: None, watch_signals: false, after_steps: None, done: None }
    }

    /// Whether to stop after `taken` optimizer steps of this process, and why.
    pub fn at_step(&self, taken: u64) -> Option<Reason> {
        if self.after_steps.is_some_and(|steps| taken >= steps) {
            return Some(Reason::Steps);
        }
        self.now()
    }

    /// Whether to stop now, and why.
    pub fn now(&self) -> Option<Reason> {
        if self.watch_signals {
            ASKED.store(true, Ordering::SeqCst);
            if let Some(signal) = Signal::of(CAME.load(Ordering::SeqCst)) {
                return Some(Reason::Signal(signal));
            }
        }
        if self.done.is_some_and(|done| done.load(Ordering::SeqCst)) {
            return Some(Reason::Steps);
        }
        self.deadline.filter(|d| Instant::now() >= *d).map(|_| Reason::TimeBudget)
    }
}
