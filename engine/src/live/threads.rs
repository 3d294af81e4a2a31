//! Threads by their names, and how long somebody waits for their end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

/// Starts a thread by a name.
///
/// # Errors
/// If there can be none.
pub(super) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).context("cannot start a thread")
}

/// Whether a thread ends until then.
pub(super) fn ends<T>(thread: &JoinHandle<T>, until: Instant) -> bool {
    while !thread.is_finished() && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    thread.is_finished()
}

/// Sources end by themselves, unless they wait for a line: then nobody waits for them beyond that.
///
/// # Errors
/// Those of a source.
pub(super) fn end_all(
    sources: Vec<JoinHandle<anyhow::Result<()>>>,
    until: Instant,
) -> anyhow::Result<()> {
    for source in sources {
        if ends(&source, until) {
            // A reader of answers that went away also ends the run.
            source.join().map_err(|_| anyhow!("a source failed"))??;
        }
    }
    Ok(())
}

/// What a mutex holds, also when who had it panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
