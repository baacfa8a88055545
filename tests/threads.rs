//! `--threads` as a user gives it.

mod common;

use std::time::{Duration, Instant};

use common::{resnest, stderr, stdout};

/// Ten thousand took a minute to start. They are refused by name; as many as may be, on however few CPUs, are quick and
/// give the same answers.
#[test]
fn ten_thousand_threads_are_refused_and_a_thousand_are_quick() {
    let photo = common::demo().join("photos/chelsea.png");
    let photo = photo.to_str().unwrap();
    let base = ["classify", "--model", "demo", "--format", "json"];
    let classify = |threads: &str| {
        let start = Instant::now();
        let output = resnest(&[&base[..], &["--threads", threads, photo]].concat());
        (output, start.elapsed())
    };
    let (expected, _) = classify("1");
    let (got, took) = classify("1024");
    assert_eq!(got.status.code(), Some(0), "{}", stderr(&got));
    assert_eq!(stdout(&got), stdout(&expected));
    assert!(took < Duration::from_secs(20), "{took:?}");
    let (refused, took) = classify("10000");
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("at most 1024"),
        "{}",
        stderr(&refused)
    );
    assert!(took < Duration::from_secs(20), "{took:?}");
    let classifier = resnest::Classifier::builder("demo").load();
    let many = classifier.unwrap().with_threads(10_000);
    assert!(matches!(
        many,
        Err(resnest::Error::TooManyThreads {
            threads: 10_000,
            ..
        })
    ));
}
