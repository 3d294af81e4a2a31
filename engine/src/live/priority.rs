//! Makes the threads urgent that answer.

use crate::job::Priority;

/// Makes the calling thread as urgent as that.
///
/// # Errors
/// If the system does not allow it; the thread is then as any other.
pub(super) fn apply(priority: Priority) -> Result<(), String> {
    match priority {
        Priority::Normal => Ok(()),
        Priority::Fifo(level) => fifo(level),
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
