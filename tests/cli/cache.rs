//! The cache of packed weights, as processes share it.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{command, resnest, stderr, stdout};

/// A classification with this cache, its errors left aside.
fn start(cache: &str) -> Child {
    let mut command = command(&[
        "classify",
        "--model",
        "demo",
        "--weights-cache",
        cache,
        &super::photos(),
    ]);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect()
}

/// What every run must say.
fn expected() -> String {
    let output = resnest(&[
        "classify",
        "--model",
        "demo",
        "--weights-cache",
        "off",
        &super::photos(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

fn check(child: Child, expected: &str) {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), expected);
    assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
}

#[test]
fn eight_processes_at_once_make_one_file_and_give_the_same_answers() {
    let expected = expected();
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("made/on/the/way");
    let children: Vec<_> = (0..8).map(|_| start(cache.to_str().unwrap())).collect();
    for child in children {
        check(child, &expected);
    }
    assert_eq!(files(&cache, "weights").len(), 1);
    assert!(files(&cache, "part").is_empty());
}

#[test]
fn processes_that_are_killed_at_any_time_leave_nothing_that_the_next_one_minds() {
    let expected = expected();
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().to_str().unwrap();
    let begun = Instant::now();
    check(start(cache), &expected);
    let whole = begun.elapsed();
    for share in 1..20 {
        for file in files(folder.path(), "weights") {
            std::fs::remove_file(file).unwrap();
        }
        let mut child = start(cache);
        std::thread::sleep(
            whole
                .mul_f64(f64::from(share) / 20.0)
                .min(Duration::from_secs(1)),
        );
        child.kill().unwrap();
        child.wait().unwrap();
        check(start(cache), &expected);
        assert_eq!(files(folder.path(), "weights").len(), 1);
        assert!(files(folder.path(), "part").is_empty());
    }
}

#[test]
fn a_cache_that_cannot_be_is_a_warning_that_names_it() {
    let expected = expected();
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = start(file.path().to_str().unwrap())
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), expected);
    let said = stderr(&output);
    assert!(
        said.contains("is no folder") && said.contains("RESNEST_WEIGHTS_CACHE=off"),
        "{said}"
    );
}

#[test]
fn the_environment_says_where_and_the_default_is_below_the_users_home() {
    let (expected, folder) = (expected(), tempfile::tempdir().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    let run = |variables: &[(&str, &Path)]| {
        let mut command = command(&["classify", "--model", "demo", &super::photos()]);
        command
            .env_remove("RESNEST_WEIGHTS_CACHE")
            .env_remove("XDG_CACHE_HOME");
        command.env_remove("HOME").envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(stdout(&output), expected);
        assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
    };
    let place = |inside: &str| folder.path().join(inside);
    let variable = "RESNEST_WEIGHTS_CACHE";
    run(&[(variable, &place("named")), ("HOME", &place("home"))]);
    assert_eq!(files(&place("named"), "weights").len(), 1);
    run(&[(variable, Path::new("off")), ("HOME", &place("home"))]);
    assert!(!place("home").exists());
    run(&[("HOME", &place("home"))]);
    assert_eq!(
        files(&place("home/.cache/resnest/weights"), "weights").len(),
        1
    );
    run(&[("HOME", &place("home")), ("XDG_CACHE_HOME", &place("xdg"))]);
    assert_eq!(files(&place("xdg/resnest/weights"), "weights").len(), 1);
    // Without a home, or with one that is none, there is none, and nobody has asked for it.
    run(&[]);
    run(&[("HOME", file.path())]);
}
