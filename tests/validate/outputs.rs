//! Files that are asked for: opened before the run, whole or untouched behind it, one run at a time.

use std::path::Path;
use std::process::{Child, Stdio};

use super::common::{command, resnest, stderr, stdout};
use super::fixture::{folder, images, untimed, validate, validate_to};
use serde_json::Value;

const FILES: [&str; 2] = ["--results-file", "--report"];

#[test]
fn a_place_that_cannot_be_written_to_is_refused_before_the_run() {
    let scratch = tempfile::tempdir().unwrap();
    let nowhere = scratch.path().join("nowhere/x.html").display().to_string();
    let a_folder = scratch.path().display().to_string();
    for option in FILES {
        for place in [&nowhere, &a_folder] {
            // No such model: it is not come to.
            let output = resnest(&["validate", &images(), "--model", "absent", option, place]);
            assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
            assert!(
                stderr(&output).contains(place.as_str()),
                "{}",
                stderr(&output)
            );
            assert!(!stderr(&output).contains("absent"), "{}", stderr(&output));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_at_the_end_costs_no_summary() {
    for option in FILES {
        let output = validate_to(
            &images(),
            &[option, "/dev/full", "--num-samples", "8"],
            "text",
        );
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(
            stdout(&output).contains("demo: 8 images of"),
            "{}",
            stdout(&output)
        );
        let said = stderr(&output);
        assert!(
            said.contains("cannot write /dev/full: No space left"),
            "{said}"
        );
    }
}

#[test]
fn what_was_there_is_replaced_by_a_whole_file_or_not_at_all() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("r.csv");
    let file = path.display().to_string();
    std::fs::write(&path, "hours of work").unwrap();
    let strict = ["--results-file", &file, "--strict"];
    let output = validate_to(&images(), &strict, "text");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(std::fs::read(&path).unwrap(), b"hours of work");
    let output = validate_to(&images(), &strict[..2], "text");
    assert_eq!(
        output.status.code(),
        Some(1),
        "three are broken: {}",
        stderr(&output)
    );
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("model,")
    );
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
}

/// A disk that is full: as the system says it of files larger than a process may write.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_written_to_its_end_leaves_the_old_one_and_the_summary() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("report.html");
    std::fs::write(&path, "hours of work").unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_resnest"))
        .args(["validate", &images(), "--model", "demo", "--report"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("cannot write") && stderr(&output).contains("report.html"),
        "{}",
        stderr(&output)
    );
    assert!(
        stdout(&output).contains("demo: 57 images of"),
        "{}",
        stdout(&output)
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"hours of work");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
}

/// Outcomes are the way to go on to a result; the result is worth more.
#[cfg(unix)]
#[test]
fn outcomes_that_find_no_room_cost_no_result() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("o.jsonl");
    let file = path.display().to_string();
    let arguments = [
        "validate",
        &images(),
        "--model",
        "demo",
        "--format",
        "json",
        "--outcomes",
        &file,
    ];
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_resnest"))
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert_eq!(said.matches("cannot write outcomes").count(), 1, "{said}");
    assert!(said.contains("o.jsonl"), "{said}");
    let cut: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&cut[0]["images"], &cut[0]["interrupted"]),
        (&57.into(), &false.into())
    );
    // What was written can be gone on from.
    let written = lines(&path);
    assert!((2..40).contains(&written), "{written}");
    let (whole, output) = validate(&images(), &["--outcomes", &file, "--resume"]);
    assert_eq!(whole["images"], 57, "{}", stderr(&output));
    assert_eq!(lines(&path), 61);
    assert!(untimed(whole) == untimed(cut[0].clone()));
}

#[test]
fn no_image_that_counts_is_no_result() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name).display().to_string();
    std::fs::create_dir_all(at("data/cat")).unwrap();
    std::fs::write(at("data/cat/x.jpg"), b"no photo").unwrap();
    std::fs::write(at("r.csv"), "before").unwrap();
    let (data, file) = (at("data"), at("r.csv"));
    let output = validate_to(&data, &["--results-file", &file], "text");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("no image of") && said.contains("demo") && said.contains("1 failed"),
        "{said}"
    );
    assert!(!stdout(&output).contains("0.000"), "{}", stdout(&output));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
    let (all, output) = validate(&data, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(all["top1"].is_null() && all["top5_err"].is_null(), "{all}");
}

/// A run over many images, as far as its first outcomes.
fn long_run(scratch: &Path, options: &[&str]) -> Child {
    let data = scratch.join("data/cat");
    if !data.exists() {
        std::fs::create_dir_all(&data).unwrap();
        let bytes = std::fs::read(folder().join("cat/10.jpg")).unwrap();
        std::fs::write(data.join("0.jpg"), bytes).unwrap();
        for n in 1..20_000 {
            std::fs::hard_link(data.join("0.jpg"), data.join(format!("{n}.jpg"))).unwrap();
        }
    }
    let data = scratch.join("data").display().to_string();
    let base = ["validate", &data, "--model", "demo", "--batch-size", "1"];
    let child = command(&[&base[..], options].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.unwrap()
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn a_second_run_with_the_same_files_is_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name).display().to_string();
    let (outcomes, results, report) = (at("o.jsonl"), at("r.csv"), at("r.html"));
    let options = [
        "--outcomes",
        &outcomes,
        "--results-file",
        &results,
        "--report",
        &report,
    ];
    let mut first = long_run(scratch.path(), &options);
    while lines(Path::new(&outcomes)) < 5 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    for second in [
        &["--outcomes", &outcomes, "--resume"][..],
        &["--results-file", &results],
        &["--report", &report],
    ] {
        let output = validate_to(&images(), second, "text");
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{}",
            stderr(&output)
        );
        let said = stderr(&output);
        assert!(
            said.contains(second[1]) && said.contains("another run"),
            "{said}"
        );
    }
    assert!(
        first.try_wait().unwrap().is_none(),
        "it was to be longer than that"
    );
    first.kill().unwrap();
    first.wait().unwrap();
    // Nothing is garbled, and the dead hold no lock.
    let text = std::fs::read_to_string(&outcomes).unwrap();
    let whole = &text[..text.rfind('\n').unwrap()];
    assert!(
        whole
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    let again = [
        "--results-file",
        &results,
        "--report",
        &report,
        "--num-samples",
        "4",
    ];
    let output = validate_to(&images(), &again, "text");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let mut left: Vec<String> = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["data", "o.jsonl", "r.csv", "r.html"]);
}

#[test]
fn a_line_without_an_end_is_no_outcome() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("o.jsonl");
    let file = path.display().to_string();
    validate(&images(), &["--outcomes", &file, "--num-samples", "4"]);
    let text = std::fs::read_to_string(&path).unwrap();
    // Sparse: four terabytes would not fit any memory.
    let long = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    long.set_len(1 << 42).unwrap();
    let output = validate_to(&images(), &["--outcomes", &file, "--resume"], "text");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let said = stderr(&output);
    let line = text.lines().count() + 1;
    assert!(
        said.contains(&format!("line {line} has more than")),
        "{said}"
    );
    if cfg!(unix) {
        for option in ["--class-map", "--valid-labels", "--real-labels"] {
            let output = validate_to(&images(), &[option, "/dev/zero"], "text");
            assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
            assert!(
                stderr(&output).contains("/dev/zero: more than"),
                "{}",
                stderr(&output)
            );
        }
    }
}
