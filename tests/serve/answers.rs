//! What `/classify` answers is what the command says, and a model that cannot be had is its own trouble alone.

use std::path::Path;

use serde_json::Value;

use crate::common::{demo, number, resnest, stderr, stdout};
use crate::server::{Answer, Server, serve};

const PHOTOS: [&str; 2] = ["chelsea.png", "horse.png"];

fn bytes(photo: &str) -> Vec<u8> {
    std::fs::read(demo().join("photos").join(photo)).unwrap()
}

/// The command's five best classes of a photo.
fn expected(photo: &str) -> Vec<Value> {
    let path = demo().join("photos").join(photo).display().to_string();
    let output = resnest(&["classify", "--model", "demo", "--format", "json", &path]);
    assert!(output.status.success(), "{}", stderr(&output));
    let all: Value = serde_json::from_str(&stdout(&output)).unwrap();
    all[0]["predictions"].as_array().unwrap().clone()
}

fn same(got: &Value, expected: &[Value], rounding: f64) {
    let got = got.as_array().unwrap();
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(
            (&got["label"], &got["index"], &got["description"]),
            (&expected["label"], &expected["index"], &Value::Null)
        );
        let off = (number(got, "score") - number(expected, "probability")).abs();
        assert!(off <= rounding, "{got} {expected}");
    }
}

/// A form of files, and the header that says so.
fn form(server: &Server, files: &[Vec<u8>]) -> Answer {
    let mut body = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"f{at}\"; filename=\"{at}\"\r\n\r\n"
        );
        body.extend([head.as_bytes(), file, b"\r\n"].concat());
    }
    body.extend(b"--edge--\r\n");
    let kind = ("content-type", "multipart/form-data; boundary=edge");
    server.ask("POST", "/classify", &[kind], &body)
}

#[test]
fn a_photo_alone_is_what_the_command_says() {
    let server = Server::demo(&[]);
    for photo in PHOTOS {
        let expected = expected(photo);
        for path in [
            "/classify",
            "/",
            "/invocations",
            "/models/demo",
            "/v1/models/demo:classify",
            "/classify?model=demo&topk=5",
        ] {
            let answer = server.post(path, &bytes(photo));
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            same(&answer.json(), &expected, 1e-6);
            assert_eq!(answer.header("x-batch-size"), Some("1"));
        }
        let two = server.post("/classify?topk=2", &bytes(photo)).json();
        same(&two, &expected[..2], 1e-6);
        same(&form(&server, &[bytes(photo)]).json(), &expected, 1e-6);
    }
}

#[test]
fn of_eight_with_a_broken_one_seven_are_answered() {
    let server = Server::demo(&[]);
    let (cat, horse) = (expected(PHOTOS[0]), expected(PHOTOS[1]));
    for broken in 0..8 {
        let mut files: Vec<Vec<u8>> = (0..8).map(|at| bytes(PHOTOS[at % 2])).collect();
        files[broken].truncate(5000);
        let answer = form(&server, &files);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let all = answer.json();
        assert_eq!(all.as_array().unwrap().len(), 8);
        for at in 0..8 {
            match at == broken {
                true => {
                    assert_eq!(all[at]["status"], 422);
                    let error = all[at]["error"].as_str().unwrap();
                    assert!(error.contains("PNG"), "{error}");
                    assert!(all[at]["predictions"].is_null());
                }
                false => same(&all[at]["predictions"], [&cat, &horse][at % 2], 1e-5),
            }
        }
    }
    let mut alone = bytes(PHOTOS[0]);
    alone.truncate(5000);
    let error = server.post("/classify", &alone).error(422);
    assert!(error.contains("PNG"), "{error}");
    assert!(form(&server, &[alone]).error(422).contains("PNG"));
}

/// Folders that are no model, each for a reason of its own, as `--model NAME=SOURCE`.
fn bad_models(folder: &Path) -> Vec<(&'static str, String)> {
    let copy = |name: &str| {
        let inside = folder.join(name);
        std::fs::create_dir(&inside).unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(demo().join(file), inside.join(file)).unwrap();
        }
        inside
    };
    std::fs::remove_file(copy("unsaid").join("config.json")).unwrap();
    std::fs::remove_file(copy("empty").join("model.safetensors")).unwrap();
    let weights = std::fs::read(demo().join("model.safetensors")).unwrap();
    std::fs::write(copy("cut").join("model.safetensors"), &weights[..100_000]).unwrap();
    std::fs::write(copy("garbled").join("config.json"), "{\"architecture\":").unwrap();
    let other = "{\"architecture\": \"unheard_of\", \"num_classes\": 10}";
    std::fs::write(copy("other").join("config.json"), other).unwrap();
    let name = |name| {
        (
            name,
            format!("{name}=local-dir:{}", folder.join(name).display()),
        )
    };
    ["absent", "unsaid", "empty", "cut", "garbled", "other"]
        .map(name)
        .into()
}

#[test]
fn a_model_that_fails_leaves_the_others_alone_and_says_no_path() {
    let folder = tempfile::tempdir().unwrap();
    let bad = bad_models(folder.path());
    let mut arguments = vec!["--model-control", "explicit"];
    for (_, source) in &bad {
        arguments.extend(["--model", source]);
    }
    let server = Server::demo(&arguments);
    let secret = folder.path().display().to_string();
    let mut answers = vec![server.get("/v2/models"), server.get("/metrics")];
    for (name, _) in &bad {
        let (get, post) = (
            |path: &str| server.get(&format!("/v2/models/{name}{path}")),
            |path: &str| server.post(path, &bytes(PHOTOS[0])),
        );
        let mut reasons = [get("/ready"), get(""), get("/config"), get("/stats")].map(|answer| {
            let error = answer.error(503);
            answers.push(answer);
            error
        });
        reasons.sort_unstable();
        assert!(
            reasons[0] == reasons[3] && reasons[0].contains(name),
            "{reasons:?}"
        );
        let load = post(&format!("/v2/repository/models/{name}/load"));
        assert!(load.error(503).contains(name));
        let infer = post(&format!("/v2/models/{name}/infer"));
        let classify = post(&format!("/classify?model={name}"));
        assert_eq!(classify.error(503), infer.error(503));
        answers.extend([load, infer, classify]);
        // Where it lies is for the log, which is not shown to clients.
        let path = folder.path().join(name).display().to_string();
        let log = server.log();
        assert!(*name == "other" || log.contains(&path), "{log}");
    }
    let index = server.post("/v2/repository/index", b"");
    for model in index.json().as_array().unwrap() {
        let ready = model["name"] == "demo";
        assert_eq!(model["state"], if ready { "READY" } else { "UNAVAILABLE" });
        assert_eq!(model["reason"] == "", ready, "{model}");
    }
    answers.push(index);
    for answer in answers {
        let text = answer.text();
        assert!(!text.contains(&secret) && !text.contains("/tmp"), "{text}");
    }
    // What does answer answers.
    assert_eq!(server.get("/v2/models/demo/ready").status, 200);
    same(
        &server.post("/classify", &bytes(PHOTOS[1])).json(),
        &expected(PHOTOS[1]),
        1e-6,
    );
    let metrics = server.get("/metrics").text();
    for (name, loaded) in [("demo", 1), ("cut", 0)] {
        let line = format!("resnest_model_loaded{{model=\"{name}\"}} {loaded}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn without_any_model_it_ends_with_3_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let bad = bad_models(folder.path());
    for check in [&[][..], &["--check"]] {
        let mut arguments = [&crate::server::quietly()[..], check].concat();
        for (_, source) in &bad {
            arguments.extend(["--model", source]);
        }
        let output = serve(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
        for (name, _) in &bad {
            assert!(
                stderr(&output).contains(&format!("model {name}: ")),
                "{name}"
            );
        }
    }
}
