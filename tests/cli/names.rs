//! Names of files and labels that are no plain text, and searches that meet what they cannot read.
#![cfg(unix)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::common::{command, resnest, stderr, stdout};
use super::photo;
use serde_json::Value;

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

fn put(path: impl AsRef<Path>) {
    std::fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    std::fs::copy(photo("chelsea.png"), path).unwrap();
}

/// `resnest ARGUMENTS INPUTS`.
fn run(arguments: &[&str], inputs: &[&OsStr]) -> Output {
    command(arguments).args(inputs).output().unwrap()
}

fn names(output: &Output) -> Vec<String> {
    let array: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", stderr(output)));
    array
        .iter()
        .map(|image| image["file"].as_str().unwrap().to_owned())
        .collect()
}

const JSON: [&str; 5] = ["classify", "--model", "demo", "--format", "json"];

#[test]
fn names_that_are_not_utf8_are_read_and_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &[u8]| folder.path().join("cat").join(os(name));
    for name in [&b"caf\xe8.png"[..], b"caf\xe9.png", b"plain.png"] {
        put(at(name));
    }
    let root = folder.path().display().to_string();
    let expected = ["caf\\xE8.png", "caf\\xE9.png", "plain.png"];
    let expected = expected.map(|name| format!("{root}/cat/{name}"));
    let (one, two, three) = (at(b"caf\xe8.png"), at(b"caf\xe9.png"), at(b"plain.png"));
    let pattern = folder.path().join("cat/*.png");
    let each = [one.as_os_str(), two.as_os_str(), three.as_os_str()];
    for inputs in [
        &each[..],
        &[folder.path().as_os_str()],
        &[pattern.as_os_str()],
    ] {
        let output = run(&JSON, inputs);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(names(&output), expected);
    }
    // And as the file of results, the folder of pictures, and the data of a validation.
    let out = folder.path().join(os(b"o\xff.npy"));
    let features = ["features", "--model", "demo", "--out"];
    let output = run(&features, &[out.as_os_str(), each[0], each[1]]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        out.exists() && stderr(&output).contains("o\\xFF.npy"),
        "{}",
        stderr(&output)
    );
    let pictures = folder.path().join(os(b"p\xff"));
    let explain = ["explain", "--model", "demo", "--format", "json", "--out"];
    let output = run(&explain, &[pictures.as_os_str(), each[0]]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let cam = [&JSON[..], &["--cam"]].concat();
    let output = run(&cam, &[pictures.as_os_str(), each[0]]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("p\\\\xFF"), "{}", stdout(&output));
    let data = folder.path().join(os(b"d\xff"));
    put(data.join("cat/x.png"));
    let outcomes = folder.path().join("outcomes");
    let report = folder.path().join("r.html");
    let validate = [
        "validate",
        "--model",
        "demo",
        "--format",
        "json",
        "--outcomes",
    ];
    let output = run(
        &validate,
        &[
            outcomes.as_os_str(),
            os(b"--report"),
            report.as_os_str(),
            data.as_os_str(),
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(std::fs::read_to_string(report).unwrap().contains("d\\xFF"));
}

#[test]
fn what_would_steer_a_terminal_is_written_out_for_people_and_kept_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let wild = "x\u{1b}]0;owned\u{7}\n\u{9b}31m.png";
    let cat = folder.path().join("d/cat");
    put(cat.join(wild));
    std::fs::write(cat.join("y\u{1b}[2J.png"), b"no photo").unwrap();
    // A model whose label does the same.
    let demo = super::common::demo();
    let config = std::fs::read_to_string(demo.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    for label in config["label_names"].as_array_mut().unwrap() {
        *label = format!("{}\u{1b}[31m", label.as_str().unwrap()).into();
    }
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    std::fs::write(model.join("config.json"), config.to_string()).unwrap();
    std::fs::copy(
        demo.join("model.safetensors"),
        model.join("model.safetensors"),
    )
    .unwrap();
    let model = format!("local-dir:{}", model.display());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (data, out, whole) = (at("d/cat"), at("out"), at("d"));
    for arguments in [
        &["classify", &data][..],
        &["explain", &data, "--out", &out],
        &["features", &data, "--out", &format!("{out}\u{1b}.npy")],
    ] {
        let output = resnest(&[arguments, &["--model", &model]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        for said in [stdout(&output), stderr(&output)] {
            let steers = |c: char| c.is_control() && c != '\n';
            assert!(!said.contains(steers), "{arguments:?}: {said:?}");
        }
        assert!(
            stderr(&output).contains("y\\u{1b}[2J.png"),
            "{}",
            stderr(&output)
        );
    }
    let output = resnest(&["validate", &whole, "--model", "demo"]);
    assert!(
        stderr(&output).contains("y\\u{1b}[2J.png"),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains('\u{1b}'), "{}", stderr(&output));
    // For programs as they are.
    let output = resnest(&["classify", &data, "--model", &model, "--format", "json"]);
    assert_eq!(names(&output)[0], format!("{data}/{wild}"));
    let array: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(array[0]["predictions"][0]["label"], "cat\u{1b}[31m");
    let output = resnest(&["classify", &data, "--model", &model, "--format", "csv"]);
    let text = stdout(&output);
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let first = rows.records().next().unwrap().unwrap();
    assert_eq!(
        (&first[0], &first[3]),
        (&*format!("{data}/{wild}"), "cat\u{1b}[31m")
    );
}

#[test]
fn a_pattern_that_is_none_costs_itself() {
    let cat = photo("chelsea.png");
    let output = resnest(&[&JSON[..], &[&cat, "x[", &cat]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(names(&output), [&cat, "x[", &cat]);
    let array: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(array[1]["error"].as_str().unwrap().contains("pattern"));
    assert!(array[0].get("error").is_none() && array[2].get("error").is_none());
}

/// Runs as somebody without rights to everything, which whoever runs tests may have: from a copy that such a one can
/// reach.
fn as_nobody(folder: &Path, arguments: &[&str], inputs: &[PathBuf]) -> Output {
    let program = folder.join("resnest");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_resnest"), &program).unwrap();
    }
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .args(inputs)
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", "/nonexistent/resnest-tests");
    if nix_is_root() {
        command.uid(65_534).gid(65_534);
    }
    command.output().unwrap()
}

fn nix_is_root() -> bool {
    let owner =
        std::fs::metadata("/proc/self").map(|data| std::os::unix::fs::MetadataExt::uid(&data));
    matches!(owner, Ok(0))
}

#[test]
fn a_folder_that_cannot_be_read_is_reported_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for name in ["d/a/x.png", "d/b/x.png", "d/c/x.png"] {
        put(folder.path().join(name));
    }
    let secret = folder.path().join("d/b");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o000)).unwrap();
    for input in ["d", "d/*/*.png", "d/**/*.png"] {
        let output = as_nobody(folder.path(), &JSON, &[folder.path().join(input)]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{input}: {}",
            stderr(&output)
        );
        let expected = ["d/a/x.png", "d/b", "d/c/x.png"];
        let expected = expected.map(|name| folder.path().join(name).display().to_string());
        assert_eq!(names(&output), expected, "{input}");
        assert!(
            stderr(&output).contains("ermission denied"),
            "{}",
            stderr(&output)
        );
    }
    let validate = ["validate", "--model", "demo"];
    let output = as_nobody(folder.path(), &validate, &[folder.path().join("d")]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("d/b"), "{}", stderr(&output));
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn links_and_macos_companions_count_alike_in_classify_and_validate() {
    let folder = tempfile::tempdir().unwrap();
    let cat = folder.path().join("cat");
    put(cat.join("10.png"));
    put(cat.join("._10.png"));
    symlink(folder.path(), cat.join("round")).unwrap();
    symlink("/nonexistent.png", cat.join("2.png")).unwrap();
    symlink("/nonexistent.txt", cat.join("2.txt")).unwrap();
    symlink(cat.join("3.png"), cat.join("3.png")).unwrap();
    let root = folder.path().display().to_string();
    let output = resnest(&[&JSON[..], &[&root]].concat());
    let expected = ["2.png", "3.png", "10.png"].map(|name| format!("{root}/cat/{name}"));
    assert_eq!(names(&output), expected, "{}", stderr(&output));
    let array: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let failed: Vec<bool> = array
        .iter()
        .map(|image| image.get("error").is_some())
        .collect();
    assert_eq!(failed, [true, true, false]);
    let output = resnest(&["validate", &root, "--model", "demo", "--format", "json"]);
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&all[0]["images"], &all[0]["failed"]),
        (&1.into(), &2.into())
    );
    let failures = all[0]["failures"].as_array().unwrap();
    let files: Vec<&str> = failures
        .iter()
        .map(|f| f["file"].as_str().unwrap())
        .collect();
    assert_eq!(files, ["cat/2.png", "cat/3.png"]);
    for (ours, theirs) in array.iter().zip(failures) {
        assert_eq!(ours["error"], theirs["error"]);
    }
    // One that is named is read.
    let companion: OsString = cat.join("._10.png").into();
    let output = run(&JSON, &[&companion]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
