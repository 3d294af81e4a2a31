//! The time of day, by which plans expire.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rounds::UnixMs;

use crate::interrupt::{Reason, Stop};

/// How often a signal is looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// Now.
pub fn now_ms() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Waits, or says why to stop.
pub fn pause(time: Duration, stop: Stop) -> Option<Reason> {
    // A pause without an end is one that a signal ends.
    let until = Instant::now().checked_add(time);
    loop {
        if let Some(reason) = stop.now() {
            return Some(reason);
        }
        let left = until.map_or(GLANCE, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return None;
        }
        thread::sleep(left.min(GLANCE));
    }
}
