//! `resnest validate` against timm's own validate.py, recorded by `tests/validate/make_validate.py`.

mod common;
#[path = "validate/errors.rs"]
mod errors;
#[path = "validate/fixture.rs"]
mod fixture;
#[path = "validate/outputs.rs"]
mod outputs;
#[path = "validate/report.rs"]
mod report;
#[path = "validate/resume.rs"]
mod resume;
#[path = "validate/sources.rs"]
mod sources;

use std::path::Path;

use common::{fields, number, resnest, stderr, stdout};
use fixture::{Recorded, images, table, validate, validate_to};
use serde_json::Value;

/// The counts of a table are whole: a wrong image would show in the first place after the point.
fn assert_same_table(ours: &Value, timm: &Value) {
    let timm_fields = timm.as_object().unwrap().keys();
    let names: Vec<&String> = timm_fields
        .filter(|f| !["options", "map", "valid", "real"].contains(&f.as_str()))
        .collect();
    let ours_fields: Vec<&String> = ours.as_object().unwrap().keys().collect();
    assert_eq!(ours_fields.len(), names.len(), "{ours}");
    for name in names {
        match timm[name].as_f64() {
            Some(expected) => {
                let off = (number(ours, name) - expected).abs();
                // timm averages f32 accuracies of batches before it rounds to four places.
                assert!(off <= 1.01e-4, "{name}: {ours} and timm's {timm}");
            }
            None => assert_eq!(ours[name], timm[name], "{name}"),
        }
    }
}

#[test]
fn every_table_is_timms() {
    let recorded = Recorded::read();
    let folder = tempfile::tempdir().unwrap();
    for name in ["plain", "resized", "squash", "test_pool"] {
        let timm = &recorded.json["tables"][name];
        let options: Vec<String> = serde_json::from_value(timm["options"].clone()).unwrap();
        let options: Vec<&str> = options
            .iter()
            .map(|o| match o.as_str() {
                "--img-size" => "--input-size",
                o => o,
            })
            .collect();
        let (ours, output) = table(folder.path(), &images(), &options);
        assert_eq!(
            output.status.code(),
            Some(1),
            "three are broken: {}",
            stderr(&output)
        );
        assert_same_table(&ours, timm);
    }
}

#[test]
fn class_maps_valid_labels_and_real_labels_count_as_timms() {
    let recorded = Recorded::read();
    let tables = &recorded.json["tables"];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let path = |name: &str| at(name).display().to_string();

    let map: Vec<String> = serde_json::from_value(tables["class_map"]["map"].clone()).unwrap();
    std::fs::write(at("map.txt"), map.join("\n") + "\n").unwrap();
    let (ours, _) = table(folder.path(), &images(), &["--class-map", &path("map.txt")]);
    assert_same_table(&ours, &tables["class_map"]);

    let valid: Vec<usize> =
        serde_json::from_value(tables["valid_labels"]["valid"].clone()).unwrap();
    let lines: Vec<String> = valid.iter().map(usize::to_string).collect();
    std::fs::write(at("valid.txt"), lines.join("\n")).unwrap();
    let taking_part = |i: usize| valid.contains(&recorded.targets[i]);
    recorded.copy(&at("some"), taking_part, |_, name| name.to_owned());
    let (ours, output) = table(
        folder.path(),
        &path("some"),
        &["--valid-labels", &path("valid.txt")],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_same_table(&ours, &tables["valid_labels"]);

    std::fs::write(at("real.json"), tables["real_labels"]["real"].to_string()).unwrap();
    let named = |i: usize, name: &str| {
        let class = name.split('/').next().unwrap();
        format!("{class}/ILSVRC2012_val_{:08}.JPEG", i + 1)
    };
    recorded.copy(&at("real"), |_| true, named);
    let (ours, _) = table(
        folder.path(),
        &path("real"),
        &["--real-labels", &path("real.json")],
    );
    assert_same_table(&ours, &tables["real_labels"]);
    let all = validate(&path("real"), &["--real-labels", &path("real.json")]).0;
    assert_eq!(all["labels"], "real");
    let own = number(&all["own_labels"], "top1");
    assert!((own - number(&tables["plain"], "top1")).abs() <= 1.01e-4);
}

#[test]
fn figures_beyond_timms_follow_from_timms_logits() {
    let recorded = Recorded::read();
    let (ours, output) = validate(&images(), &[]);
    let figures = &recorded.json["figures"];
    for name in ["loss", "ece"] {
        let off = (number(&ours, name) - number(figures, name)).abs();
        assert!(off < 1e-4, "{name}: {} and {}", ours[name], figures[name]);
    }
    let confusion: Vec<Vec<u64>> = serde_json::from_value(figures["confusion"].clone()).unwrap();
    let mut dense = vec![vec![0; 10]; 10];
    let triples: Vec<(usize, usize, u64)> =
        serde_json::from_value(ours["confusion"].clone()).unwrap();
    for (target, predicted, images) in triples {
        dense[target][predicted] = images;
    }
    assert_eq!(dense, confusion);
    for (class, row) in ours["classes"].as_array().unwrap().iter().zip(&confusion) {
        let index = class["index"].as_u64().unwrap() as usize;
        assert_eq!(class["images"], row.iter().sum::<u64>());
        assert_eq!(class["top1"], row[index]);
        let predicted: u64 = confusion.iter().map(|row| row[index]).sum();
        assert_eq!(class["predicted"], predicted);
    }
    let worst: Vec<usize> = serde_json::from_value(figures["worst"].clone()).unwrap();
    for (at, index) in worst.into_iter().enumerate() {
        let mistake = &ours["mistakes"][at];
        assert_eq!(mistake["file"], recorded.files[index].as_str());
        let expected = figures["worst_confidence"][at].as_f64().unwrap();
        assert!((mistake["probabilities"][0].as_f64().unwrap() - expected).abs() < 1e-5);
    }
    let failed: Vec<&str> = ours["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["file"].as_str().unwrap())
        .collect();
    assert_eq!(failed, recorded.broken);
    for name in &recorded.broken {
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
    assert_eq!(
        (&ours["images"], &ours["failed"], &ours["total"]),
        (&57.into(), &3.into(), &60.into())
    );
}

#[test]
fn every_image_gets_the_probabilities_of_timms_logits() {
    let recorded = Recorded::read();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outcomes.jsonl");
    for threads in ["1", "3"] {
        let options = [
            "--outcomes",
            file.to_str().unwrap(),
            "--threads",
            threads,
            "--batch-size",
            "5",
        ];
        validate(&images(), &options);
        let mut logits = recorded
            .logits
            .iter()
            .zip(&recorded.targets)
            .zip(&recorded.files);
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines().skip(1) {
            let outcome: Value = serde_json::from_str(line).unwrap();
            if outcome.get("error").is_some() {
                continue;
            }
            let ((row, target), name) = logits.next().unwrap();
            assert_eq!(outcome["file"], name.as_str());
            assert_eq!(outcome["target"], *target);
            let total: f64 = row.iter().map(|v| v.exp()).sum();
            let mut order: Vec<usize> = (0..10).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let top: Vec<usize> = serde_json::from_value(outcome["top"].clone()).unwrap();
            assert_eq!(top, order[..5], "{name}");
            for (class, p) in top.iter().zip(outcome["probabilities"].as_array().unwrap()) {
                assert!(
                    (p.as_f64().unwrap() - row[*class].exp() / total).abs() < 1e-4,
                    "{name}"
                );
            }
        }
        assert!(logits.next().is_none());
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
#[ignore = "needs RESNEST_SHARED: CIFAR-10's 10,000 test photos"]
fn cifar10_counts_timms_right_answers() {
    let photos = common::shared("data/cifar10-test");
    let folder = tempfile::tempdir().unwrap();
    let (row, output) = table(
        folder.path(),
        &photos.display().to_string(),
        &["--batch-size", "50"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // timm's own count, in shared/demo-model: 8,539 of 10,000.
    assert_eq!(number(&row, "top1"), 85.39);
    assert_eq!(number(&row, "top1_err"), 14.61);
}

#[test]
fn several_models_make_one_table_best_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.csv").display().to_string();
    let both = [
        "--model",
        "local-dir:/nonexistent",
        "--results-file",
        &file,
        "--num-samples",
        "20",
    ];
    let output = validate_to(&images(), &both, "text");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("/nonexistent"),
        "{}",
        stderr(&output)
    );
    assert!(
        stdout(&output).contains("demo: 20 images of 3 classes"),
        "{}",
        stdout(&output)
    );
    let csv = std::fs::read_to_string(&file).unwrap();
    let mut lines = csv.split("\r\n");
    assert_eq!(
        lines.next().unwrap(),
        "model,top1,top1_err,top5,top5_err,param_count,img_size,crop_pct,interpolation"
    );
    assert!(lines.next().unwrap().starts_with("demo,"), "{csv}");
    assert!(lines.next().unwrap().is_empty(), "{csv}");
    let none = resnest(&["validate", &images(), "--model", "vgg*"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("vgg*"), "{}", stderr(&none));
}

#[test]
fn the_json_has_all_that_the_readme_says() {
    let (ours, _) = validate(&images(), &[]);
    let expected = [
        "calibration",
        "classes",
        "confusion",
        "crop_mode",
        "crop_pct",
        "data",
        "ece",
        "failed",
        "failures",
        "images",
        "img_size",
        "input_size",
        "interpolation",
        "interrupted",
        "labels",
        "loss",
        "mistakes",
        "model",
        "param_count",
        "precision",
        "timing",
        "top1",
        "top1_err",
        "top5",
        "top5_err",
        "total",
    ];
    assert_eq!(fields(&ours), expected);
    let timing = &ours["timing"];
    assert!(number(timing, "network_seconds") > 0.0 && number(timing, "decode_seconds") > 0.0);
    assert!(number(timing, "seconds") >= number(timing, "network_seconds"));
    assert_eq!(number(timing, "images"), 60.0);
    assert!(Path::new(&images()).is_dir());
}
