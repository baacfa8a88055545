//! The most memory this process has had.

/// Peak resident bytes of this process since its start; `None` where the system does not say.
///
/// Linux counts anew for each program; its `getrusage` would count what the parent held when it
/// started this one, too.
pub fn peak_rss_bytes() -> Option<u64> {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| high_water_mark(&status))
        .or_else(resource_usage)
}

/// `VmHWM` of `/proc/PID/status`.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// `ru_maxrss`: bytes on macOS, kilobytes elsewhere.
#[cfg(unix)]
fn resource_usage() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let unit = if cfg!(target_vendor = "apple") {
        1
    } else {
        1024
    };
    u64::try_from(usage.max_rss()).ok()?.checked_mul(unit)
}

#[cfg(not(unix))]
fn resource_usage() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn the_peak_follows_what_was_held_and_freed() {
        let before = peak_rss_bytes().unwrap();
        let held = vec![1u8; 96 << 20];
        assert!(std::hint::black_box(&held).iter().all(|&byte| byte == 1));
        drop(held);
        let after = peak_rss_bytes().unwrap();
        assert!(after >= before + (64 << 20), "{before} to {after}");
        // What the parent held counts too, so only the unit can be told: bytes, not kilobytes, not 1024 times too many.
        let other = resource_usage().unwrap();
        assert!(
            other >= after - after / 4 && other / 256 < after,
            "{other} for {after}"
        );
    }

    #[test]
    fn the_line_is_found_among_others() {
        let status = "Name:\tresnest\nVmPeak:\t  99 kB\nVmHWM:\t   14336 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(high_water_mark(status), Some(14_336 * 1024));
        assert_eq!(high_water_mark("VmRSS:\t 1 kB\n"), None);
        assert_eq!(high_water_mark("VmHWM:\t many kB\n"), None);
    }
}
