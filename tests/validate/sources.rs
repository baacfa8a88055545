//! The same images from a folder, archives and shards; timm's order of files.

use std::path::Path;

use resnest::dataset::{Dataset, Label};
use serde_json::Value;
use tempfile::TempDir;

use super::common::{number, stderr};
use super::fixture::{Recorded, folder, images, untimed, validate};

fn builder(path: &Path) -> tar::Builder<std::fs::File> {
    tar::Builder::new(std::fs::File::create(path).unwrap())
}

fn add(to: &mut tar::Builder<impl std::io::Write>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    to.append_data(&mut header, name, bytes).unwrap();
}

/// All 60 images, readable or not, with their classes, in the folder's order.
fn all() -> Vec<(String, usize, Vec<u8>)> {
    let dataset = Dataset::open(images()).unwrap();
    let class = |label| match label {
        Label::Class(class) => class,
        other => panic!("{other:?}"),
    };
    let samples = dataset.samples().iter();
    samples
        .map(|s| {
            (
                s.name.clone(),
                class(s.label),
                std::fs::read(folder().join(&s.name)).unwrap(),
            )
        })
        .collect()
}

/// Without the names of files, which are other ones in shards.
fn anonymous(result: Value) -> Value {
    let mut result = untimed(result);
    for list in ["mistakes", "failures"] {
        for entry in result[list].as_array_mut().unwrap() {
            let entry = entry.as_object_mut().unwrap();
            entry.remove("file");
            entry.remove("sample");
        }
    }
    result
}

#[test]
fn an_archive_in_any_order_gives_what_the_folder_gives() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("images.tar");
    let mut archive = builder(&path);
    for (name, _, bytes) in all().iter().rev() {
        add(&mut archive, &format!("./some/long/folder/{name}"), bytes);
        add(&mut archive, &format!("some/{name}.txt"), b"no image");
    }
    archive.finish().unwrap();
    let expected = validate(&images(), &[]).0;
    let (ours, output) = validate(path.to_str().unwrap(), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(anonymous(ours.clone()), anonymous(expected));
    assert_eq!(ours["failures"][0]["file"], "some/long/folder/cat/cut.jpg");
}

#[test]
fn archives_of_one_class_each_side_by_side_or_in_one() {
    let scratch = tempfile::tempdir().unwrap();
    let outer_path = scratch.path().join("train.tar");
    let mut outer = builder(&outer_path);
    let images_of = all();
    std::fs::create_dir(scratch.path().join("side")).unwrap();
    for class in Dataset::open(images()).unwrap().classes() {
        let path = scratch.path().join("side").join(format!("{class}.tar"));
        let mut inner = builder(&path);
        for (name, _, bytes) in &images_of {
            if let Some(file) = name.strip_prefix(&format!("{class}/")) {
                add(&mut inner, file, bytes);
            }
        }
        inner.finish().unwrap();
        add(
            &mut outer,
            &format!("{class}.tar"),
            &std::fs::read(path).unwrap(),
        );
    }
    outer.finish().unwrap();
    let expected = untimed(validate(&images(), &[]).0);
    let side = scratch.path().join("side").display().to_string();
    for data in [
        outer_path.display().to_string(),
        side.clone(),
        format!("{side}/*.tar"),
    ] {
        assert_eq!(untimed(validate(&data, &[]).0), expected, "{data}");
    }
}

/// Three shards: labels as `.cls`, as `.json`, and both.
fn shards() -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let images_of = all();
    for (shard, chunk) in images_of.chunks(20).enumerate() {
        let mut archive = builder(&scratch.path().join(format!("shard-{shard:03}.tar")));
        for (at, (name, class, bytes)) in chunk.iter().enumerate() {
            let key = format!("{shard}{at:03}");
            let ending = if name.ends_with("png") { "png" } else { "JPG" }.to_lowercase();
            if shard != 1 {
                add(
                    &mut archive,
                    &format!("{key}.cls"),
                    format!("{class}\n").as_bytes(),
                );
            }
            add(&mut archive, &format!("{key}.{ending}"), bytes);
            if shard != 0 {
                let sidecar = format!("{{\"label\": {class}, \"filename\": \"{name}\"}}");
                add(&mut archive, &format!("{key}.json"), sidecar.as_bytes());
            }
        }
        archive.finish().unwrap();
    }
    scratch
}

#[test]
fn shards_by_braces_glob_and_folder_give_what_the_folder_gives() {
    let scratch = shards();
    let at = scratch.path().display().to_string();
    let expected = anonymous(validate(&images(), &[]).0);
    for data in [
        format!("{at}/shard-{{000..002}}.tar"),
        format!("{at}/shard-*.tar"),
        at,
    ] {
        let (ours, output) = validate(&data, &[]);
        assert_eq!(anonymous(ours), expected, "{data}: {}", stderr(&output));
    }
}

#[test]
fn a_sample_without_a_label_and_one_cut_off_are_counted_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("s.tar");
    let mut archive = builder(&path);
    let cat = std::fs::read(folder().join("cat/10.jpg")).unwrap();
    for (key, label) in [
        ("a", Some("3")),
        ("b", None),
        ("c", Some("-1")),
        ("d", Some("3")),
    ] {
        add(&mut archive, &format!("{key}.jpg"), &cat);
        if let Some(label) = label {
            add(&mut archive, &format!("{key}.cls"), label.as_bytes());
        }
    }
    add(&mut archive, "e.cls", b"3");
    add(&mut archive, "e.jpg", &cat);
    archive.finish().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let cut = bytes.len() - 1024 - cat.len();
    std::fs::write(&path, &bytes[..cut]).unwrap();
    let ours = validate(path.to_str().unwrap(), &[]).0;
    assert_eq!(
        (&ours["images"], &ours["failed"]),
        (&2.into(), &3.into()),
        "{ours}"
    );
    let reason = |at: usize| ours["failures"][at]["error"].as_str().unwrap();
    assert!(reason(0).contains("neither a .cls"), "{}", reason(0));
    assert!(reason(1).contains("\"-1\""), "{}", reason(1));
    assert!(reason(2).contains("cut short"), "{}", reason(2));
}

#[test]
fn files_and_classes_come_in_timms_order() {
    let recorded = Recorded::read();
    let awkward = &recorded.json["awkward"];
    let scratch = tempfile::tempdir().unwrap();
    let made: Vec<String> = serde_json::from_value(awkward["made"].clone()).unwrap();
    for name in &made {
        let path = scratch.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(scratch.path().join("8"), scratch.path().join("linked")).unwrap();
    #[cfg(not(unix))]
    return;
    let dataset = Dataset::open(scratch.path().to_str().unwrap()).unwrap();
    let classes: Vec<String> = serde_json::from_value(awkward["classes"].clone()).unwrap();
    assert_eq!(dataset.classes(), classes);
    let expected: Vec<(String, usize)> =
        serde_json::from_value(awkward["samples"].clone()).unwrap();
    let ours: Vec<(String, usize)> = dataset
        .samples()
        .iter()
        .map(|s| match s.label {
            Label::Class(class) => (s.name.clone(), class),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ours, expected);
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_end_and_broken_ones_are_counted() {
    let scratch = tempfile::tempdir().unwrap();
    let cat = scratch.path().join("cat");
    std::fs::create_dir(&cat).unwrap();
    std::fs::copy(folder().join("cat/10.jpg"), cat.join("10.jpg")).unwrap();
    std::os::unix::fs::symlink(scratch.path(), cat.join("round")).unwrap();
    std::os::unix::fs::symlink("/nonexistent.jpg", cat.join("2.jpg")).unwrap();
    let ours = validate(scratch.path().to_str().unwrap(), &[]).0;
    assert_eq!(
        (number(&ours, "images"), number(&ours, "failed")),
        (1.0, 1.0)
    );
    let reason = ours["failures"][0]["error"].as_str().unwrap();
    assert!(reason.contains("leads nowhere"), "{reason}");
}

#[test]
fn a_name_without_an_end_is_no_member() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("long.tar");
    let mut archive = builder(&path);
    let cat = std::fs::read(folder().join("cat/10.jpg")).unwrap();
    add(
        &mut archive,
        &format!("{}/cat/x.jpg", "n".repeat(4000)),
        &cat,
    );
    archive.finish().unwrap();
    assert_eq!(
        number(&validate(path.to_str().unwrap(), &[]).0, "images"),
        1.0
    );
    let mut archive = builder(&path);
    add(
        &mut archive,
        &format!("{}/cat/x.jpg", "n".repeat(3 << 20)),
        &cat,
    );
    archive.finish().unwrap();
    let output = super::fixture::validate_to(path.to_str().unwrap(), &[], "text");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("long.tar"), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("name and attributes"),
        "{}",
        stderr(&output)
    );
}
