//! Images that are odd, and those beside them.

use serde_json::Value;

use crate::client::{element, form, infer, post};
use crate::server::Server;
use crate::{common, pictures, together};

pub const HORSE: &[u8] = include_bytes!("../../crates/resnest/demo/photos/horse.png");
pub const CHELSEA: &[u8] = include_bytes!("../../crates/resnest/demo/photos/chelsea.png");

/// A file of the decoders' tests.
pub fn file(name: &str) -> Vec<u8> {
    let path = common::root().join("crates/resnest-image/tests/pillow/files");
    std::fs::read(path.join(name)).unwrap()
}

/// Labels and scores, best first.
fn ranking(answer: &Value) -> Vec<(String, f64)> {
    let one = |class: &Value| {
        let score = class.get("score").or(class.get("probability"));
        let label = class["label"].as_str().unwrap().to_owned();
        (label, score.and_then(Value::as_f64).unwrap())
    };
    answer.as_array().unwrap().iter().map(one).collect()
}

#[test]
fn one_pixel_is_an_image_and_wedges_nothing() {
    let _together = together();
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("red.png", pictures::png(1, 1, [255, 0, 0])),
        ("wide.png", pictures::png(5000, 1, [0, 200, 0])),
        ("tall.png", pictures::png(1, 5000, [9, 9, 200])),
        ("white.gif", pictures::lying_gif(1, 1)),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let path = path.display().to_string();
        let arguments = [
            "classify", "--model", "demo", "--topk", "10", "--format", "json",
        ];
        let told = common::resnest(&[&arguments[..], &[&path]].concat());
        let told: Value = serde_json::from_str(&common::stdout(&told)).unwrap();
        let answer = server.ask(&post("/classify?topk=10", &[], &bytes));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let (ours, its) = (ranking(&answer.json()), ranking(&told[0]["predictions"]));
        for ((label, score), (expected, probability)) in ours.iter().zip(&its) {
            assert_eq!(label, expected, "{name}");
            assert!(
                (score - probability).abs() < 1e-5,
                "{name}: {score} {probability}"
            );
        }
        server.is_well();
    }
    server.has_a_clean_log();
}

#[test]
fn a_broken_image_fails_alone() {
    let _together = together();
    let server = Server::start(&[]);
    let broken = &HORSE[..HORSE.len() / 2];
    let files = [
        HORSE, CHELSEA, HORSE, broken, CHELSEA, HORSE, CHELSEA, HORSE,
    ];
    let labels = ["horse", "cat", "horse", "", "cat", "horse", "cat", "horse"];
    let (kind, body) = form(&files);
    let answer = server.ask(&post("/classify", &[("content-type", &kind)], &body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (one, label) in answer.json().as_array().unwrap().iter().zip(labels) {
        match label {
            "" => assert!(one["status"] == 422 && one["error"].is_string(), "{one}"),
            label => assert_eq!(one["predictions"][0]["label"], label),
        }
    }
    let data: Vec<u8> = files.iter().flat_map(|file| element(file)).collect();
    let json = format!(
        r#"{{"inputs":[{{"name":"image","shape":[8],"datatype":"BYTES","parameters":{{"binary_data_size":{}}}}}],"outputs":[{{"name":"probabilities"}}]}}"#,
        data.len()
    );
    let answer = server.ask(&infer(&json, &data));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let (numbers, errors) = (&json["outputs"][0]["data"], &json["outputs"][1]["data"]);
    for at in 0..8 {
        let broken = labels[at].is_empty();
        assert_eq!(numbers[at * 10].is_null(), broken, "{json}");
        assert_eq!(errors[at].as_str().unwrap().is_empty(), !broken, "{json}");
    }
    let alone = server.ask(&post("/classify", &[], broken));
    assert_eq!(alone.status, 422);
    assert!(!alone.error().is_empty());
    server.is_well();
    server.has_a_clean_log();
}

#[test]
fn a_model_that_cannot_be_loaded_stands_beside_one_that_answers() {
    let _together = together();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let bad = format!("bad=local-dir:{}", folder.path().display());
    let server = Server::of(&["demo", &bad, "gone=local-dir:/nowhere/at/all"], &[]);
    server.is_well();
    for name in ["bad", "gone"] {
        let ready = server.ask(&crate::client::get(&format!("/v2/models/{name}/ready")));
        assert_eq!(ready.status, 503);
        let answer = server.ask(&post(&format!("/v1/models/{name}:classify"), &[], HORSE));
        assert_eq!(answer.status, 503);
        let error = answer.error();
        assert!(
            error.contains(name) && !error.contains("/nowhere"),
            "{error}"
        );
        assert!(
            !error.contains(&folder.path().display().to_string()),
            "{error}"
        );
        let index = server.ask(&post("/v2/repository/index", &[], b"")).text();
        assert!(
            index.contains("UNAVAILABLE") && !index.contains("/nowhere"),
            "{index}"
        );
    }
    let json = r#"{"inputs":[]}"#;
    let answer = server.ask(&post("/v2/models/other/infer", &[], json.as_bytes()));
    assert_eq!(answer.status, 404);
}
