//! What a user gets wrong, and what is said then.

use std::path::Path;

use super::common::{resnest, stderr, stdout};
use super::fixture::{folder, images, validate_to};

/// The exit status and what standard error must say.
fn refused(data: &str, options: &[&str], status: i32, hints: &[&str]) {
    let output = validate_to(data, options, "text");
    let said = stderr(&output);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{data} {options:?}: {said}"
    );
    for hint in hints {
        assert!(
            said.contains(hint),
            "{data} {options:?} does not say {hint:?}: {said}"
        );
    }
    assert!(!said.contains("panicked"), "{said}");
    assert!(stdout(&output).is_empty(), "{}", stdout(&output));
}

fn with_image(root: &Path, class: &str) {
    std::fs::create_dir_all(root.join(class)).unwrap();
    std::fs::copy(folder().join("cat/10.jpg"), root.join(class).join("x.jpg")).unwrap();
}

#[test]
fn strict_stops_at_the_first_broken_image() {
    refused(
        &images(),
        &["--strict"],
        1,
        &["cat/cut.jpg", "truncated", "--strict"],
    );
}

#[test]
fn data_that_is_none_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name).display().to_string();
    std::fs::create_dir(at("empty")).unwrap();
    refused(&at("empty"), &[], 2, &["no images in", "empty", ".jpg"]);
    refused(&at("nothing"), &[], 2, &["nothing", "is not there"]);
    refused(&at("x{a.tar"), &[], 2, &["without a }"]);
    refused(&at("*.tar"), &[], 2, &["no file matches"]);
    std::fs::write(at("words.tar"), "words ".repeat(400)).unwrap();
    refused(&at("words.tar"), &[], 2, &["words.tar", "not a whole tar"]);
    std::fs::write(at("z.tar.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    refused(&at("z.tar.gz"), &[], 2, &["gzip -d"]);
    std::fs::copy(folder().join("cat/10.jpg"), at("empty") + "/loose.jpg").unwrap();
    refused(&at("empty"), &[], 2, &["loose.jpg lies in no class folder"]);
}

#[test]
fn class_folders_the_model_does_not_know_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let data_name = data.display().to_string();
    with_image(&data, "cat");
    with_image(&data, "unicorn");
    refused(&data_name, &[], 2, &["unicorn", "--class-map"]);
    std::fs::rename(data.join("cat"), data.join("griffin")).unwrap();
    refused(
        &data_name,
        &[],
        2,
        &["2 class folders for a model of 10 classes", "airplane"],
    );
    let file = scratch.path().join("list.txt");
    let list = file.display().to_string();
    std::fs::write(&file, "griffin\n").unwrap();
    refused(&data_name, &["--class-map", &list], 2, &["unicorn"]);
    std::fs::write(&file, "griffin\nunicorn\ngriffin\n").unwrap();
    refused(
        &data_name,
        &["--class-map", &list],
        2,
        &["lines 1 and 3", "griffin"],
    );
    let lines: String = (0..11).map(|i| format!("{i}\n")).collect();
    std::fs::write(&file, format!("{lines}unicorn\ngriffin\n")).unwrap();
    refused(
        &data_name,
        &["--class-map", &list],
        2,
        &["is class 1", "0 to 9"],
    );
    std::fs::write(&file, "3\n10\n").unwrap();
    refused(
        &images(),
        &["--valid-labels", &list],
        2,
        &["class 10", "0 to 9"],
    );
    std::fs::write(&file, "3\nfive\n").unwrap();
    refused(
        &images(),
        &["--valid-labels", &list],
        2,
        &["line 2", "five"],
    );
    std::fs::write(&file, "3\n5\n").unwrap();
    refused(
        &images(),
        &["--valid-labels", &list],
        2,
        &["airplane", "--valid-labels"],
    );
    std::fs::write(&file, "[[1], [2]]").unwrap();
    refused(
        &images(),
        &["--real-labels", &list],
        2,
        &["airplane/1.jpg", "ILSVRC2012_val_"],
    );
    std::fs::write(&file, "{}").unwrap();
    refused(
        &images(),
        &["--real-labels", &list],
        2,
        &["list.txt", "arrays of class indices"],
    );
}

#[test]
fn garbled_options_end_with_status_2_and_say_what_is_allowed() {
    for (options, hint) in [
        (&["--crop-pct", "x"][..], "above 0"),
        (&["--batch-size", "0"], "at least 1"),
        (&["--num-samples", "0"], "at least 1"),
        (&["--results-file", "x", "--results-format", "xml"], "csv"),
        (&["--results-format", "csv"], "--results-file"),
        (&["--resume"], "--outcomes"),
        (&["--nonsense"], "--nonsense"),
        (&["--model", "a", "--checkpoint", "x.pth"], "one --model"),
    ] {
        refused(&images(), options, 2, &[hint]);
    }
    let nothing = resnest(&["validate"]);
    assert_eq!(nothing.status.code(), Some(2));
    let absent = resnest(&["validate", &images(), "--model", "resnest14d"]);
    assert_eq!(absent.status.code(), Some(3), "{}", stderr(&absent));
}
