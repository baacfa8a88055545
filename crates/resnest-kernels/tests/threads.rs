//! Threads as a process has them: how many are started, and what happens where none can be.
#![cfg(all(target_os = "linux", not(miri)))]

use resnest_kernels::{parallel_map, with_threads};
use std::process::Command;
use std::time::{Duration, Instant};

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Set in the process that a test runs its work in, alone.
const ALONE: &str = "RESNEST_TEST_ALONE";

/// Runs `work` in a process of its own: this test again, which then finds itself alone.
fn alone(test: &str, work: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}{errors}");
}

#[test]
fn a_huge_limit_costs_nothing() {
    alone("a_huge_limit_costs_nothing", || {
        let (before, start) = (threads(), Instant::now());
        let squares = with_threads(10_000, || parallel_map(20_000, |i| i * i));
        assert!(squares.into_iter().eq((0..20_000).map(|i| i * i)));
        let cpus = std::thread::available_parallelism().unwrap().get();
        let started = threads() - before;
        assert!(started < cpus, "{started} helpers for {cpus} CPUs");
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

/// As under `ulimit -u`. No limit of processes holds for root, who becomes somebody else first.
#[test]
fn a_process_that_may_start_no_thread_works_alone() {
    alone("a_process_that_may_start_no_thread_works_alone", || {
        let limit = libc::rlimit {
            rlim_cur: 1,
            rlim_max: 1,
        };
        // SAFETY: the calls change this process's user and limits alone.
        unsafe {
            if libc::geteuid() == 0 {
                assert_eq!(libc::setuid(64_321), 0);
            }
            assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &limit), 0);
        }
        let refused = std::thread::Builder::new().spawn(|| ());
        assert!(refused.is_err(), "the limit does not hold here");
        let before = threads();
        for _ in 0..100 {
            let squares = with_threads(4, || parallel_map(50, |i| i * i));
            assert!(squares.into_iter().eq((0..50).map(|i| i * i)));
        }
        assert_eq!(threads(), before);
    });
}
