//! Work in what processors have left over: only while nobody else has anything to do, and within the bounds that the
//! system sets to the process.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::system::{cpu_s, thread_cpu_s};

/// How long the use of processors is looked at as one.
const SPAN: Duration = Duration::from_millis(500);

/// The longest pause between two pieces of work.
const LONGEST: Duration = Duration::from_secs(1);

/// The least share of a processor, so that work does not stand still for ever.
const LEAST: f64 = 0.01;

/// Lets the calling thread run only while nobody else wants to.
///
/// # Errors
/// If the system does not allow it; the thread is then nice to others.
#[cfg(target_os = "linux")]
pub(super) fn idle() -> Result<(), String> {
    use thread_priority::ThreadPriority;
    use thread_priority::unix::{
        NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).map_err(
        |error| {
            // On Linux it is of the thread.
            let nice = rustix::process::setpriority_process(None, 19);
            let nice = nice.map_or("normal", |()| "nice");
            format!("{nice}: {error}")
        },
    )
}

/// The same where nothing is known of threads' priorities.
#[cfg(not(target_os = "linux"))]
pub(super) fn idle() -> Result<(), String> {
    Err("normal: this system is not known to have it".to_owned())
}

/// What the system grants to the group of processes that this one is of, and how often it held it back.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// From that of the process up to the root.
    folders: Vec<PathBuf>,
}

impl Group {
    /// That of this process; one without bounds where the system does not tell.
    pub(super) fn own() -> Self {
        let list = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let root = PathBuf::from("/sys/fs/cgroup");
        let Some(path) = list.lines().find_map(|line| line.strip_prefix("0::/")) else {
            return Self::default();
        };
        // In a container its own group may be the root that it sees, whatever it is called outside.
        let own = root.join(path);
        let folders = own.ancestors().take_while(|folder| folder.starts_with(&root));
        Self { folders: folders.map(PathBuf::from).collect() }
    }

    /// How many processors it may use at most.
    pub(super) fn quota(&self) -> Option<f64> {
        let quotas = self
            .folders
            .iter()
            .filter_map(|folder| quota_of(&std::fs::read_to_string(folder.join("cpu.max")).ok()?));
        quotas.min_by(f64::total_cmp)
    }

    /// How often it was held back, and for how many seconds.
    pub(super) fn throttled(&self) -> Option<(u64, f64)> {
        self.folders.iter().find_map(|folder| {
            throttled_of(&std::fs::read_to_string(folder.join("cpu.stat")).ok()?)
        })
    }
}

/// Processors by what `cpu.max` says: microseconds in a period of so many.
fn quota_of(text: &str) -> Option<f64> {
    let (most, period) = text.trim().split_once(' ')?;
    let (most, period): (f64, f64) = (most.parse().ok()?, period.parse().ok()?);
    (most > 0.0 && period > 0.0).then(|| most / period)
}

/// Times and seconds by what `cpu.stat` says.
fn throttled_of(text: &str) -> Option<(u64, f64)> {
    let of = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(name, _)| *name == key)?.1.trim().parse::<u64>().ok()
    };
    Some((of("nr_throttled")?, of("throttled_usec")? as f64 / 1e6))
}

/// The share of a processor that a thread may use: of its own one, and of what the others leave of the quota.
fn share(cpu: f64, quota: Option<f64>, others: f64) -> f64 {
    let left = quota.map_or(1.0, |quota| (quota - others).clamp(0.0, 1.0));
    (cpu * left).max(LEAST)
}

/// Makes pauses between pieces of work, so that the calling thread uses no more than its share.
#[derive(Debug)]
pub(super) struct Duty {
    cpu: f64,
    group: Group,
    share: f64,
    /// Since when the use of processors is looked at: then, that of the process, and that of this thread.
    since: (Instant, f64, f64),
    /// The end of the last piece, and what the thread had used by then.
    last: (Instant, f64),
}

impl Duty {
    /// With this share of what is left over, for the calling thread.
    pub(super) fn new(cpu: f64, group: Group) -> Self {
        let (now, own) = (Instant::now(), thread_cpu_s().unwrap_or(0.0));
        let share = share(cpu, group.quota(), 0.0);
        Self { cpu, group, share, since: (now, cpu_s().unwrap_or(0.0), own), last: (now, own) }
    }

    /// After a piece of work: waits as long as its share asks for.
    pub(super) fn pause(&mut self) {
        let (now, own) = (Instant::now(), thread_cpu_s().unwrap_or(0.0));
        let span = now.duration_since(self.since.0);
        if span >= SPAN {
            let all = cpu_s().unwrap_or(0.0);
            let others = (all - self.since.1 - (own - self.since.2)) / span.as_secs_f64();
            self.share = share(self.cpu, self.group.quota(), others.max(0.0));
            self.since = (now, all, own);
        }
        let (used, took) = (own - self.last.1, now.duration_since(self.last.0).as_secs_f64());
        let wait = (used / self.share - took).clamp(0.0, LONGEST.as_secs_f64());
        if wait > 0.0 {
            thread::sleep(Duration::from_secs_f64(wait));
        }
        self.last = (Instant::now(), own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_grants_is_read() {
        assert_eq!(quota_of("max 100000\n"), None);
        assert_eq!(quota_of("150000 100000\n"), Some(1.5));
        assert_eq!(quota_of("0 100000"), None);
        assert_eq!(quota_of(""), None);
        let stat = "usage_usec 5\nnr_periods 10\nnr_throttled 3\nthrottled_usec 1500000\n";
        assert_eq!(throttled_of(stat), Some((3, 1.5)));
        assert_eq!(throttled_of("usage_usec 5\n"), None);
    }

    #[test]
    fn others_come_first() {
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12);
        close(share(0.8, None, 3.0), 0.8);
        close(share(0.8, Some(4.0), 1.0), 0.8);
        close(share(0.8, Some(1.0), 0.5), 0.4);
        close(share(0.8, Some(0.5), 0.5), LEAST);
        close(share(0.8, Some(0.5), 2.0), LEAST);
    }
}
