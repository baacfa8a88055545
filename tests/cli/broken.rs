//! What a single input, or the system, may do to a run: cost its own answer, no more.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use super::common::{command, resnest, stderr, stdout};
use super::photo;
use serde_json::Value;

/// A grey TIFF of 8x8 pixels of no bits each: a decoder divided by them.
fn tiff_without_bits() -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0\x08\0".to_vec();
    for (tag, value) in [
        (256u16, 8u32),
        (257, 8),
        (258, 0),
        (259, 1),
        (262, 1),
        (273, 110),
        (278, 8),
        (279, 64),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(4u16.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4 + 64]);
    bytes
}

/// Of one grey level, so that 169 million pixels are some hundred thousand bytes.
fn large_png(path: &Path) {
    const SIDE: u32 = 13_000;
    let gray = image::GrayImage::from_pixel(SIDE, SIDE, image::Luma([99]));
    gray.save(path).unwrap();
}

/// Without a panic or an abort, whatever else.
fn in_order(output: &Output) {
    let said = stderr(output);
    assert!(
        output.status.code().is_some_and(|code| code < 4),
        "{:?}: {said}",
        output.status
    );
    assert!(!said.contains("panicked"), "{said}");
}

/// The objects of an array, and whether each has no error.
fn answered(output: &Output) -> Vec<bool> {
    let array: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", stderr(output)));
    array
        .iter()
        .map(|image| image.get("error").is_none())
        .collect()
}

#[test]
fn a_picture_that_breaks_its_decoder_loses_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(at("data/cat")).unwrap();
    let (bad, good) = (at("data/cat/bad.tif"), at("data/cat/good.png"));
    std::fs::write(&bad, tiff_without_bits()).unwrap();
    std::fs::copy(photo("chelsea.png"), &good).unwrap();
    let (out, rows) = (at("out"), at("rows.npy"));
    let demo = ["--model", "demo", &good, &bad, &good];
    for (arguments, json) in [
        (&["classify", "--format", "json"][..], true),
        (&["classify", "--format", "json", "--cam", &out], true),
        (&["explain", "--format", "json", "--out", &out], true),
        (&["features", "--out", &rows], false),
    ] {
        let output = resnest(&[arguments, &demo].concat());
        in_order(&output);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("bad.tif"), "{}", stderr(&output));
        if json {
            assert_eq!(answered(&output), [true, false, true]);
        }
    }
    let list = std::fs::read_to_string(at("rows.npy.files.csv")).unwrap();
    assert_eq!(
        list.lines().filter(|line| line.ends_with(',')).count(),
        2,
        "{list}"
    );
    let data = at("data");
    let output = resnest(&["validate", &data, "--model", "demo", "--format", "json"]);
    in_order(&output);
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&all[0]["images"], &all[0]["failed"]),
        (&1.into(), &1.into())
    );
}

/// Runs the command with so many KB of address space.
#[cfg(target_os = "linux")]
fn within(kilobytes: u64, arguments: &[&str]) -> Output {
    std::process::Command::new("sh")
        .args(["-c", &format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_resnest"))
        .args(arguments)
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", "/nonexistent/resnest-tests")
        .output()
        .unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_picture_larger_than_the_memory_there_is_loses_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(at("data/cat")).unwrap();
    let (large, good) = (at("data/cat/large.png"), at("data/cat/good.png"));
    large_png(Path::new(&large));
    std::fs::copy(photo("chelsea.png"), &good).unwrap();
    let (out, rows, data) = (at("out"), at("rows.npy"), at("data"));
    let demo = ["--model", "demo", "--threads", "1", &good, &large, &good];
    for kilobytes in [500_000, 900_000] {
        for arguments in [
            &["classify", "--format", "json"][..],
            &["classify", "--format", "json", "--cam", &out],
            &["explain", "--format", "json", "--out", &out],
        ] {
            let output = within(kilobytes, &[arguments, &demo].concat());
            in_order(&output);
            // With 900 MB it is decoded, and there may be room for more.
            let answers = answered(&output);
            assert!(answers[0] && answers[2], "{}", stderr(&output));
            if kilobytes < 600_000 {
                assert!(
                    !answers[1] && stderr(&output).contains("large.png"),
                    "{}",
                    stderr(&output)
                );
            }
        }
    }
    let output = within(
        500_000,
        &[&["features", "--out", &rows], &demo[..]].concat(),
    );
    in_order(&output);
    assert!(
        stderr(&output).contains("3 images, 1 failed"),
        "{}",
        stderr(&output)
    );
    let validate = [
        "validate",
        &data,
        "--model",
        "demo",
        "--format",
        "json",
        "--threads",
        "1",
    ];
    let output = within(500_000, &validate);
    in_order(&output);
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&all[0]["images"], &all[0]["failed"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn max_memory_is_a_limit_for_each_image_and_named_as_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(at("data/cat")).unwrap();
    let (small, large) = (at("data/cat/small.png"), at("data/cat/large.png"));
    std::fs::copy(photo("chelsea.png"), &large).unwrap();
    let pixels = vec![7; 32 * 32 * 3];
    let image = resnest::Image::new(32, 32, 3, pixels).unwrap();
    std::fs::write(&small, resnest::explain::png(&image).unwrap()).unwrap();
    let (out, rows, data) = (at("out"), at("rows.npy"), at("data"));
    for arguments in [
        &["classify", "--format", "json", &small, &large][..],
        &["explain", "--out", &out, &small, &large],
        &["features", "--out", &rows, &small, &large],
        &["validate", &data],
    ] {
        let some = ["--model", "demo", "--max-memory", "400K"];
        let output = resnest(&[arguments, &some].concat());
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(
            said.contains("large.png") && said.contains("--max-memory"),
            "{said}"
        );
        assert!(
            !said.contains("small.png") && !said.contains("Limits::"),
            "{said}"
        );
        let all = ["--model", "demo", "--max-memory", "1M"];
        let output = resnest(&[arguments, &all].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let wrong = ["verify", "demo", "--self", "--max-memory", "much"];
    let output = resnest(&wrong);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("512M"), "{}", stderr(&output));
}

/// No thread can have a stack of 200 TB.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_be_started_are_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(at("data/cat")).unwrap();
    let good = at("data/cat/good.png");
    std::fs::copy(photo("chelsea.png"), &good).unwrap();
    let (out, rows, data) = (at("out"), at("rows.npy"), at("data"));
    for arguments in [
        &["classify", &good][..],
        &["explain", &good, "--out", &out],
        &["features", &good, "--out", &rows],
        &["validate", &data],
    ] {
        for threads in [&[][..], &["--threads", "3"]] {
            let output = command(&[arguments, &["--model", "demo"], threads].concat())
                .env("RUST_MIN_STACK", "200000000000000")
                .output()
                .unwrap();
            in_order(&output);
            assert_ne!(output.status.code(), Some(0), "{arguments:?}");
            let said = stderr(&output);
            let named = ["cannot start", "cannot watch"]
                .iter()
                .any(|words| said.contains(words));
            assert!(named, "{arguments:?} {threads:?}: {said}");
            assert!(stdout(&output).is_empty());
        }
    }
    assert!(!Path::new(&rows).exists());
}

#[test]
fn absurd_numbers_of_threads_are_refused_at_once() {
    let start = Instant::now();
    let cat = photo("chelsea.png");
    for arguments in [
        &["classify", "--model", "demo", &cat, "--threads", "10000"][..],
        &["validate", "x", "--model", "demo", "--workers", "10000"],
        &["bench", "--model", "demo", "--threads", "10000"],
    ] {
        let output = resnest(arguments);
        assert_eq!(output.status.code(), Some(2));
        let option = arguments[arguments.len() - 2];
        let said = stderr(&output);
        assert!(
            said.contains(option) && said.contains("at most 1024"),
            "{said}"
        );
    }
    let output = command(&["classify", "--model", "demo", &cat])
        .env("RAYON_NUM_THREADS", "100000")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("RAYON_NUM_THREADS"),
        "{}",
        stderr(&output)
    );
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn an_absurd_batch_is_no_more_than_there_are_images() {
    let folder = tempfile::tempdir().unwrap();
    let cat = folder.path().join("cat");
    std::fs::create_dir(&cat).unwrap();
    std::fs::copy(photo("chelsea.png"), cat.join("x.png")).unwrap();
    let data = folder.path().display().to_string();
    let many = ["--batch-size", "1000000000000", "--model", "demo"];
    for arguments in [["validate", &data], ["classify", &data]] {
        let output = resnest(&[&arguments[..], &many].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}
