//! What the operating system says about this process.

/// Most memory the process has held, in bytes; `None` where the system does not tell.
pub fn peak_rss_bytes() -> Option<u64> {
    let kib: u64 = status("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Seconds that processors have worked for this process; `None` where the system does not tell.
pub fn cpu_s() -> Option<f64> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
    #[cfg(not(unix))]
    None
}

/// Seconds that processors have worked for the calling thread; `None` where the system does not tell.
pub fn thread_cpu_s() -> Option<f64> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
    #[cfg(not(unix))]
    None
}

/// Whether the process was started so that it outlives its terminal, as by `nohup`; also where the
/// system does not tell.
pub fn hangup_is_ignored() -> bool {
    let mask = status("SigIgn:").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    // A bit for each signal, of which it is the first.
    mask.is_none_or(|mask| mask & 1 == 1)
}

/// A line of what Linux says about the process.
fn status(key: &str) -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(value.trim().to_owned())
}
