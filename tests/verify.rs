//! `resnest verify` against references recorded from timm by `verify/make_goldens.py`: of networks as they are, and of
//! networks that are wrong in one known way, which must fail at the stage where they are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};
use resnest::ResNetConfig;
use resnest::model::expected_tensors;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde_json::Value;

mod common;
#[path = "golden/fixture.rs"]
#[allow(dead_code, reason = "shared with golden.rs, which uses all of it")]
mod fixture;
#[path = "golden/formula.rs"]
#[allow(dead_code, reason = "shared with golden.rs, which uses all of it")]
mod formula;

use common::{resnest, stderr, stdout};

fn golden(name: &str) -> String {
    let folder = common::root().join("tests/verify");
    folder
        .join(format!("{name}.safetensors"))
        .display()
        .to_string()
}

/// The weights that `make_goldens.py` gave the network `name`, as a checkpoint file.
fn checkpoint(name: &str) -> String {
    static WRITTEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("verify-{name}.safetensors"));
    let mut written = WRITTEN.lock().unwrap();
    if !written.contains(&path) {
        let full =
            fixture::Fixture::read(&fixture::folder("full").join(format!("{name}.safetensors")));
        let names = full.json("norm_names");
        let norms = full.tensors["norms"].to_vec2::<f32>().unwrap();
        let names = names
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_str().unwrap().to_owned());
        let vb = formula::Formula {
            norms: names.zip(norms.iter().map(|n| (n[0], n[1]))).collect(),
            head_scale: full.values("head_scale")[0] as f32,
            ..formula::Formula::standard()
        }
        .var_builder();
        let tensors: HashMap<String, Tensor> =
            expected_tensors(&ResNetConfig::by_name(name).unwrap())
                .unwrap()
                .into_iter()
                .map(|t| (t.name.clone(), vb.get(t.shape, &t.name).unwrap()))
                .collect();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        written.push(path.clone());
    }
    path.display().to_string()
}

/// `resnest verify` in JSON: the exit status and what it says.
fn verify(model: &str, reference: &str, more: &[&str]) -> (i32, Value) {
    let mut arguments = vec![
        "verify",
        model,
        "--reference",
        reference,
        "--format",
        "json",
    ];
    let weights = (model != "demo").then(|| checkpoint(model));
    if let Some(weights) = &weights {
        arguments.extend(["--checkpoint", weights]);
    }
    arguments.extend(more);
    let output = resnest(&arguments);
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{}", stderr(&output)));
    (output.status.code().unwrap(), report)
}

/// The exit status and the error of a comparison that is refused.
fn refused(model: &str, reference: &Path) -> String {
    let reference = reference.display().to_string();
    let output = resnest(&["verify", model, "--reference", &reference]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    stderr(&output)
}

const MODES: [&[&str]; 3] = [
    &["--precision", "fast"],
    &["--precision", "exact"],
    &["--unfused"],
];

fn stage_names(report: &Value) -> Vec<&str> {
    let stages = report["stages"].as_array().unwrap().iter();
    stages.map(|s| s["stage"].as_str().unwrap()).collect()
}

#[test]
fn networks_as_they_are_pass_at_every_stage_in_every_mode() {
    for (model, reference, images) in [
        ("demo", "demo", true),
        ("demo", "demo_random", false),
        ("resnest14d", "resnest14d", true),
        ("resnest50d_4s2x40d", "resnest50d_4s2x40d", true),
    ] {
        for mode in MODES {
            let (status, report) = verify(model, &golden(reference), mode);
            assert_eq!(report["first_departure"], Value::Null, "{report:#}");
            assert_eq!((status, &report["passed"]), (0, &true.into()));
            let mut expected = vec![
                "act1",
                "layer1",
                "layer2",
                "layer3",
                "layer4",
                "pre_logits",
                "logits",
            ];
            if images {
                expected.insert(0, "preprocessing");
                assert_eq!(report["stages"][0]["max_diff"], 0.0);
            }
            assert_eq!(stage_names(&report), expected);
            // PyTorch's own error is never 0: nothing here compares a thing with itself.
            for stage in report["stages"]
                .as_array()
                .unwrap()
                .iter()
                .skip(images.into())
            {
                assert!(
                    stage["reference_error_to_f64"].as_f64().unwrap() > 1e-8,
                    "{stage}"
                );
                assert!(stage["ratio"].as_f64().unwrap() > 0.1, "{stage}");
            }
        }
    }
}

#[test]
fn a_network_wrong_in_one_place_fails_there_and_nowhere_before() {
    for (model, reference, place) in [
        ("resnest14d", "perturbed_weight", "layer3"),
        ("resnest14d", "swapped_statistics", "layer2"),
        ("resnest50d_4s2x40d", "exchanged_radix", "layer1"),
    ] {
        for mode in MODES {
            let (status, report) = verify(model, &golden(reference), mode);
            assert_eq!((status, &report["passed"]), (1, &false.into()));
            assert_eq!(report["first_departure"], place, "{mode:?} {report:#}");
            let stages = report["stages"].as_array().unwrap();
            for stage in stages.iter().take_while(|s| s["stage"] != place) {
                assert_eq!(stage["passed"], true, "{stage}");
            }
        }
    }
}

#[test]
fn the_table_says_what_departs_first_and_by_which_bar() {
    let weights = checkpoint("resnest14d");
    let reference = golden("swapped_statistics");
    let arguments = [
        "verify",
        "resnest14d",
        "--reference",
        &reference,
        "--checkpoint",
        &weights,
    ];
    let output = resnest(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(
        text.contains("FAIL: layer2 departs first (max |Δ| "),
        "{text}"
    );
    assert!(text.contains("bars: every stage max |Δ| ≤ 1e-4"), "{text}");
    assert_eq!(text.matches("PASS").count(), 2, "{text}"); // act1 and layer1
}

#[test]
fn it_compares_itself_without_a_reference() {
    for input in [&[][..], &["--random", "3", "--precision", "exact"]] {
        let output = resnest(&[&["verify", "demo", "--self", "--format", "json"], input].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{report:#}");
        assert_eq!(report["images"], if input.is_empty() { 2 } else { 3 });
        for stage in report["stages"].as_array().unwrap() {
            assert!(
                stage["reference_error_to_f64"].as_f64().unwrap() > 1e-8,
                "{stage}"
            );
            assert!(stage["error_to_f64"].as_f64().unwrap() < 1e-5, "{stage}");
        }
    }
    let both = resnest(&["verify", "demo", "--self", "--unfused"]);
    assert_eq!(both.status.code(), Some(2));
    let neither = resnest(&["verify", "demo"]);
    assert_eq!(neither.status.code(), Some(2));
}

type Parts = (
    HashMap<String, String>,
    HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
);

/// The demo's reference, changed.
fn tampered(folder: &Path, change: impl FnOnce(&mut Parts)) -> PathBuf {
    let bytes = std::fs::read(golden("demo")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter();
    let tensors =
        tensors.map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec())));
    let mut parts = (header.metadata().clone().unwrap(), tensors.collect());
    change(&mut parts);
    let (metadata, tensors) = parts;
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let path = folder.join("tampered.safetensors");
    std::fs::write(&path, serialize(views, Some(metadata)).unwrap()).unwrap();
    path
}

#[test]
fn pixels_that_differ_are_named_as_a_stage_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |channel: usize, y: usize, x: usize| 4 * (((3 + channel) * 48 + y) * 48 + x);
    let path = tampered(folder.path(), |(_, tensors)| {
        let input = &mut tensors.get_mut("input").unwrap().2;
        input[at(2, 5, 7)] ^= 1; // the last bit of one value of the second image
    });
    let (status, report) = verify("demo", &path.display().to_string(), &[]);
    assert_eq!(
        (status, &report["first_departure"]),
        (1, &"preprocessing".into())
    );
    let reason = report["stages"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("1 of 13824 values differ"), "{reason}");
    assert!(
        reason.contains("jpeg_420_prog_61x47.jpg at channel 2, y 5, x 7"),
        "{reason}"
    );

    let path = tampered(folder.path(), |(metadata, _)| {
        metadata.insert("overrides".into(), r#"{"crop_pct": 0.5}"#.into());
    });
    let (status, report) = verify("demo", &path.display().to_string(), &[]);
    assert_eq!(
        (status, &report["first_departure"]),
        (1, &"preprocessing".into())
    );
    assert_eq!(
        report["notes"][0],
        "crop_pct is 0.5 here, 1 in the reference"
    );
    let others = report["stages"].as_array().unwrap().iter().skip(1);
    assert!(
        others.into_iter().all(|s| s["passed"] == true),
        "{report:#}"
    );
}

#[test]
fn a_reference_that_is_not_a_number_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = tampered(folder.path(), |(_, tensors)| {
        let values = &mut tensors.get_mut("layer4").unwrap().2;
        values[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let (status, report) = verify("demo", &path.display().to_string(), &[]);
    assert_eq!((status, &report["first_departure"]), (1, &"layer4".into()));
}

#[test]
fn malformed_references_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    type Change = fn(&mut Parts);
    let cases: [(Change, &str); 10] = [
        (|(_, t)| drop(t.remove("layer2")), "no tensor \"layer2\""),
        (
            |(_, t)| drop(t.remove("logits.f64")),
            "no tensor \"logits.f64\"",
        ),
        (|(_, t)| drop(t.remove("image.1")), "no tensor \"image.1\""),
        (|(_, t)| drop(t.remove("input")), "no tensor \"input\""),
        (
            |(m, _)| drop(m.remove("format")),
            "make it with tests/verify/make_reference.py",
        ),
        (|(m, _)| drop(m.remove("shapes")), "no \"shapes\""),
        (
            |(m, _)| drop(m.insert("stages".into(), "act1".into())),
            "\"stages\" in its metadata",
        ),
        (
            |(m, _)| drop(m.insert("stage_samples".into(), "1000".into())),
            "has 1024 values",
        ),
        (
            |(_, t)| {
                let doubled = t["act1.f64"].clone();
                t.insert("act1".into(), doubled);
            },
            "\"act1\" is F64, not F32",
        ),
        (
            |(m, _)| {
                let shapes = m["shapes"].replace("[2, 64, 12, 12]", "[2, 64, 12, 13]");
                m.insert("shapes".into(), shapes);
            },
            "its stage layer1 has shape [2, 64, 12, 13], here layer1 has [2, 64, 12, 12]",
        ),
    ];
    for (change, expected) in cases {
        let error = refused("demo", &tampered(folder.path(), change));
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let whole = std::fs::read(golden("demo")).unwrap();
    let cut = folder.path().join("cut.safetensors");
    for length in [0, 5, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let error = refused("demo", &cut);
        assert!(
            error.contains("cut.safetensors: no safetensors file"),
            "{error}"
        );
    }
    let absent = refused("demo", &folder.path().join("absent.safetensors"));
    assert!(
        absent.contains("absent.safetensors: cannot be read"),
        "{absent}"
    );
}

#[test]
fn a_reference_of_another_network_is_refused_before_anything_runs() {
    let error = refused("demo", Path::new(&golden("resnest14d")));
    assert!(
        error.contains("a network of 10611688 parameters; demo has"),
        "{error}"
    );
}

/// The files hold what their metadata say, from the versions `docs/parity.md` names.
#[test]
fn references_are_small_and_of_the_versions_named() {
    for name in ["demo", "resnest14d", "exchanged_radix"] {
        let bytes = std::fs::read(golden(name)).unwrap();
        assert!(bytes.len() < 300_000);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let versions = &header.metadata().as_ref().unwrap()["versions"];
        assert!(
            versions.contains("1.0.31") && versions.contains("2.15.0"),
            "{versions}"
        );
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        assert_eq!(tensors["logits.f64"].dtype(), DType::F64);
    }
}
