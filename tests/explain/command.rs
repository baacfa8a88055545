//! `resnest explain` and `classify --cam` as a user runs them.

use std::path::Path;

use candle_core::IndexOp;
use serde_json::Value;

use crate::common::{npy, resnest, stderr, stdout};
use crate::fixture::{max_abs, max_diff, values};
use crate::{BAR, photo_path, recorded, wide};

/// Runs `resnest explain` on the demo model with results in a folder of their own.
fn explain(options: &[&str]) -> (tempfile::TempDir, std::process::Output) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let output = resnest(&[&["explain", "--model", "demo", "--out", &out], options].concat());
    (folder, output)
}

fn photo(name: &str) -> String {
    photo_path(name).display().to_string()
}

#[test]
fn the_command_writes_an_overlay_a_map_and_a_picture_of_the_splits() {
    let (folder, output) = explain(&["--topk", "2", &photo("chelsea")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("451x300") && text.contains("2x2 map"),
        "{text}"
    );
    assert!(text.contains("layer4.0"), "{text}");
    let at = |name: &str| std::fs::read(folder.path().join("out").join(name)).unwrap();
    let overlay = resnest::image::decode(&at("chelsea.cam-cat.png"), &Default::default()).unwrap();
    assert_eq!((overlay.width, overlay.height), (451, 300));
    let (shape, map) = npy(&at("chelsea.cam-cat.npy"));
    assert_eq!(shape, [2, 2]);
    let expected = recorded("demo_chelsea_48x48").tensors["raw"].i(3).unwrap();
    let expected: Vec<f64> = values(&expected).iter().map(|v| v * 4.0).collect();
    let got = wide(&map);
    assert!(max_diff(&got, &expected) <= BAR * max_abs(&expected));
    assert!(
        String::from_utf8(at("chelsea.splits.svg"))
            .unwrap()
            .contains("layer4.0")
    );
    assert!(!at("chelsea.cam-frog.png").is_empty(), "the second class");
}

#[test]
fn json_has_an_object_an_image_and_keeps_failures_apart() {
    let broken = tempfile::tempdir().unwrap();
    let cut = broken.path().join("cut.png").display().to_string();
    std::fs::write(&cut, &std::fs::read(photo("chelsea")).unwrap()[..999]).unwrap();
    let again = broken.path().join("horse.png");
    std::fs::copy(photo("horse"), &again).unwrap();
    let (horse, again) = (photo("horse"), again.display().to_string());
    let (_folder, output) = explain(&[
        "--format", "json", &horse, &cut, &again, "--class", "cat", "--class", "0",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&cut), "{}", stderr(&output));
    let array: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(array[1]["error"].is_string() && array[1].get("maps").is_none());
    let overlay = |image: usize, map: usize| {
        let path = array[image]["maps"][map]["overlay"].as_str().unwrap();
        let file = Path::new(path).file_name().unwrap().to_str().unwrap();
        assert!(Path::new(path).exists());
        file.to_owned()
    };
    assert_eq!(overlay(0, 0), "horse.cam-cat.png");
    assert_eq!(overlay(0, 1), "horse.cam-airplane.png");
    assert_eq!(overlay(2, 0), "horse-2.cam-cat.png");
    assert_eq!(array[0]["splits"].as_array().unwrap().len(), 6);
    let mean = &array[0]["splits"][0]["mean"];
    let total = mean[0].as_f64().unwrap() + mean[1].as_f64().unwrap();
    assert!((total - 1.0).abs() < 1e-6, "{mean}");
}

#[test]
fn what_cannot_be_explained_is_said_and_ends_with_its_status() {
    let cat = photo("chelsea");
    let cases: [(&[&str], i32, &str); 8] = [
        (&["--class", "catt"], 2, "cat"),
        (&["--class", "10"], 2, "0 to 9"),
        (&["--class", "cat", "--topk", "2"], 2, "--topk"),
        (&["--colormap", "jet"], 2, "turbo"),
        (&["--opacity", "2"], 2, "0 to 1"),
        (&["--format", "xml"], 2, "json"),
        (&["--topk", "0"], 2, "at least 1"),
        (&["--out", "/dev/null/x"], 1, "/dev/null/x"),
    ];
    for (options, status, hint) in cases {
        let output = resnest(&[&["explain", "--model", "demo", &cat], options].concat());
        assert_eq!(
            output.status.code(),
            Some(status),
            "{options:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(hint),
            "{options:?}: {}",
            stderr(&output)
        );
    }
    let empty = tempfile::tempdir().unwrap();
    let (_folder, output) = explain(&[&empty.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no images"), "{}", stderr(&output));
}

#[test]
fn classify_writes_an_overlay_of_each_images_best_class_beside_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for name in ["a", "b"] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::copy(photo("horse"), at(&format!("{name}/1.png"))).unwrap();
    }
    std::fs::write(at("b/2.png"), b"no photo").unwrap();
    let (a, b, out, cat) = (at("a"), at("b"), at("out"), photo("chelsea"));
    let run = |batch: &str| {
        let output = resnest(&[
            "classify",
            "--model",
            "demo",
            "--format",
            "json",
            "--cam",
            &out,
            "--batch-size",
            batch,
            &a,
            &b,
            &cat,
        ]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap()
    };
    let array = run("3");
    let written: Vec<Option<&str>> = array.iter().map(|image| image["cam"].as_str()).collect();
    let expected = [
        "1.cam-horse.png",
        "1-2.cam-horse.png",
        "chelsea.cam-cat.png",
    ];
    let paths = expected.map(|name| at(&format!("out/{name}")));
    assert_eq!(
        written,
        [Some(&*paths[0]), Some(&*paths[1]), None, Some(&*paths[2])]
    );
    assert!(array[2]["error"].is_string() && array[2].get("predictions").is_none());
    // One by one, as here, every bit is that of the call without overlays.
    let one_by_one = run("1");
    let plain = resnest(&["classify", "--model", "demo", "--format", "json", &cat]);
    let plain: Vec<Value> = serde_json::from_slice(&plain.stdout).unwrap();
    assert_eq!(plain[0]["predictions"], one_by_one[3]["predictions"]);
    assert!(plain[0].get("cam").is_none());
    for (image, again) in array.iter().zip(&one_by_one) {
        assert_eq!(image["cam"], again["cam"]);
    }
    // The same picture as `explain` makes.
    let (explained, output) = explain(&[&cat]);
    assert_eq!(output.status.code(), Some(0));
    let one = std::fs::read(explained.path().join("out/chelsea.cam-cat.png")).unwrap();
    assert_eq!(one, std::fs::read(&paths[2]).unwrap());
}

#[test]
fn an_overlay_that_cannot_be_written_loses_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    // A folder in the overlay's place.
    std::fs::create_dir(folder.path().join("horse.cam-horse.png")).unwrap();
    let output = resnest(&[
        "classify",
        "--model",
        "demo",
        "--format",
        "json",
        "--cam",
        &out,
        &photo("horse"),
        &photo("chelsea"),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("horse.cam-horse.png"),
        "{}",
        stderr(&output)
    );
    let array: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(array[0]["predictions"][0]["label"], "horse");
    assert!(array[0]["error"].as_str().unwrap().contains("cannot write"));
    assert!(array[1].get("error").is_none() && array[1]["cam"].is_string());
}

/// A disk that is full: as the system says it of files larger than a process may write.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_leaves_no_cut_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let cat = photo("chelsea");
    for arguments in [
        &["explain", "--out", &out][..],
        &["classify", "--cam", &out, "--format", "json"],
    ] {
        let output = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_resnest"))
            .args([arguments, &["--model", "demo", &cat]].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(
            said.contains("chelsea.cam-cat.png") && said.contains("cannot write"),
            "{said}"
        );
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
    }
}
