//! How urgent the threads are that answer.

use std::fmt;
use std::str::FromStr;

/// How urgent a thread is to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// As any other.
    Normal,
    /// Before all that are not as urgent (`SCHED_FIFO`), from 1 to 99.
    Fifo(u8),
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let level = text.strip_prefix("fifo:").and_then(|level| level.parse().ok());
        match (text, level) {
            ("normal", _) => Ok(Self::Normal),
            (_, Some(level)) if (1..=99).contains(&level) => Ok(Self::Fifo(level)),
            _ => Err("give normal, or fifo:LEVEL with a level from 1 to 99".to_owned()),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Fifo(level) => write!(f, "fifo:{level}"),
        }
    }
}

impl Priority {
    /// Makes the calling thread as urgent as that.
    ///
    /// # Errors
    /// If the system does not allow it; the thread is then as any other.
    pub fn apply(self) -> Result<(), String> {
        match self {
            Self::Normal => Ok(()),
            Self::Fifo(level) => fifo(level),
        }
    }
}

#[cfg(target_os = "linux")]
fn fifo(level: u8) -> Result<(), String> {
    use thread_priority::unix::{
        RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    use thread_priority::{ThreadPriority, ThreadPriorityValue};
    let priority = ThreadPriorityValue::try_from(level)?;
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
    )
    .map_err(|error| match error {
        thread_priority::Error::OS(number) => std::io::Error::from_raw_os_error(number).to_string(),
        other => other.to_string(),
    })
}

#[cfg(not(target_os = "linux"))]
fn fifo(_: u8) -> Result<(), String> {
    Err("this system is not known to have it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_read_as_they_are_shown() {
        for priority in [Priority::Normal, Priority::Fifo(1), Priority::Fifo(99)] {
            assert_eq!(priority.to_string().parse(), Ok(priority));
        }
        for text in ["", "fifo", "fifo:0", "fifo:100", "fifo:-1", "high", "FIFO:5"] {
            assert!(text.parse::<Priority>().is_err(), "{text}");
        }
        assert_eq!(Priority::Normal.apply(), Ok(()));
    }
}
