//! What the operating system says of this process.

use std::time::Duration;

/// What the process uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Bytes of memory in use.
    pub(crate) resident: u64,
    /// CPU time so far, of all threads.
    pub(crate) cpu: Duration,
}

/// From Linux' `/proc`, whose pages are 4 KiB and whose ticks are hundredths of a second on all that it runs on here;
/// nothing elsewhere.
#[cfg(target_os = "linux")]
pub(crate) fn usage() -> Option<Usage> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident: u64 = resident.trim().trim_end_matches("kB").trim().parse().ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Usage {
        resident: resident * 1024,
        cpu: Duration::from_millis((user + system) * 10),
    })
}

/// Nothing is known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn usage() -> Option<Usage> {
    None
}
