//! `--threads` as a user gives it.

mod common;

use std::time::{Duration, Instant};

use common::{resnest, stderr, stdout};

/// More threads than there are CPUs are never started: ten thousand took a minute.
#[test]
fn ten_thousand_threads_are_no_more_than_the_cpus() {
    let photo = common::demo().join("photos/chelsea.png");
    let photo = photo.to_str().unwrap();
    let classify = |threads: &str| {
        let start = Instant::now();
        let output = resnest(&[
            "classify",
            "--model",
            "demo",
            "--format",
            "json",
            "--threads",
            threads,
            photo,
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        (stdout(&output), start.elapsed())
    };
    let (expected, _) = classify("1");
    let (got, took) = classify("10000");
    assert_eq!(got, expected);
    assert!(took < Duration::from_secs(20), "{took:?}");
}
