//! The demo model against timm's own recorded answers, from the encoded bytes on.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use resnest::{Classifier, DeviceChoice, Precision};
use serde_json::Value;

/// The project's bar for whole models: 1e-4 of the largest logit.
const BAR: f32 = 1e-4;

fn recorded(json: &str) -> BTreeMap<String, Vec<f32>> {
    let root: Value = serde_json::from_str(json).unwrap();
    serde_json::from_value(root["logits"].clone()).unwrap()
}

/// The largest difference between our logits and the recorded ones, over the largest recorded one.
fn difference(classifier: &Classifier, bytes: &[u8], recorded: &[f32]) -> f32 {
    let mut ours = vec![0.0; recorded.len()];
    for p in classifier.classify(bytes, recorded.len()).unwrap() {
        ours[p.index] = p.logit;
    }
    let largest = recorded.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let differences = ours.iter().zip(recorded).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / largest
}

/// The demo model on the kernels in each precision, and (`None`) as plain candle operations.
fn classifier(precision: Option<Precision>) -> Classifier {
    let builder = Classifier::builder("demo")
        .device(DeviceChoice::Cpu)
        .batch_hint(100);
    let builder = builder.precision(precision.unwrap_or_default());
    let classifier = builder.fuse(precision.is_some()).load().unwrap();
    assert_eq!(classifier.model().is_fused(), precision.is_some());
    classifier
}

#[test]
fn bundled_photos_get_timms_logits() {
    let photos = recorded(&std::fs::read_to_string(common::demo().join("photos.json")).unwrap());
    assert_eq!(photos.len(), 2);
    for precision in [Some(Precision::Fast), Some(Precision::Exact), None] {
        let classifier = classifier(precision);
        for (photo, logits) in &photos {
            let bytes = std::fs::read(common::demo().join("photos").join(photo)).unwrap();
            let difference = difference(&classifier, &bytes, logits);
            println!(
                "{photo} {precision:?}: max |Δlogit| is {difference:.1e} of the largest logit"
            );
            assert!(difference <= BAR, "{photo} {precision:?}: {difference}");
        }
    }
}

#[test]
#[ignore = "needs RESNEST_SHARED: CIFAR-10's 10,000 test photos and timm's predictions"]
fn every_cifar10_test_photo_gets_timms_answer() {
    let photos = common::shared("data/cifar10-test");
    let predictions = common::shared("demo-model/test_predictions.json");
    let recorded: Vec<_> = recorded(&std::fs::read_to_string(predictions).unwrap())
        .into_iter()
        .collect();
    assert_eq!(recorded.len(), 10_000);
    for precision in [Precision::Fast, Precision::Exact] {
        let classifier = classifier(Some(precision));
        let (mut right, mut worst) = (0, 0.0f32);
        for chunk in recorded.chunks(100) {
            let (some, off) = hold(&classifier, &photos, chunk);
            right += some;
            worst = worst.max(off);
        }
        println!(
            "{precision:?}: 10,000 of 10,000 top-1 as timm's; {right} right; worst logit {worst:.1e} off"
        );
        assert_eq!(right, 8539, "timm's own count");
        assert!(worst <= BAR, "{precision:?}: {worst}");
    }
}

/// Holds some photos to timm's top-1; gives how many are right, and the worst logit's difference.
fn hold(classifier: &Classifier, photos: &Path, recorded: &[(String, Vec<f32>)]) -> (usize, f32) {
    let files: Vec<Vec<u8>> = recorded
        .par_iter()
        .map(|(photo, _)| std::fs::read(photos.join(photo)).unwrap())
        .collect();
    let answers = classifier.classify_batch(&files, 10);
    let (mut right, mut worst) = (0, 0.0f32);
    for ((photo, logits), answer) in recorded.iter().zip(answers) {
        let answer = answer.unwrap();
        let theirs = (0..10)
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
            .unwrap();
        assert_eq!(
            answer[0].index, theirs,
            "{photo}: {answer:?}, timm {logits:?}"
        );
        let largest = logits.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for p in &answer {
            worst = worst.max((p.logit - logits[p.index]).abs() / largest);
        }
        right += usize::from(photo.starts_with(&format!("{}/", answer[0].label)));
    }
    (right, worst)
}
