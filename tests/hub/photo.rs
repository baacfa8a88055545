//! One photo, one pretrained tag of each kind of the family, all the way: download, load, prepare,
//! classify, against what timm makes of the photo's bytes (`../python/make_photo.py`).
//!
//! No hub is within reach, so weights are the formula's; their files are laid out as timm's are.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use resnest_loader::Manifest;
use resnest_model::ResNetConfig;
use serde_json::Value;

use crate::command::{resnest, text};
use crate::common::WEIGHTS;
use crate::fixture::Fixture;
use crate::fixture::root::root;
use crate::server::{COMMIT, Server};
use crate::weights::{asked, family, norms, weights};

/// The kernels' bar: the largest distance from timm's f32, as a share of the largest logit.
const TOLERANCE: f64 = 1e-4;

/// What `make_photo.py` recorded, tag → reference.
fn recorded() -> serde_json::Map<String, Value> {
    let file = root().join("tests/hub/photo.json");
    let root: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    root["models"].as_object().unwrap().clone()
}

/// The reference in `tests/family` that has an architecture's norms.
fn reference(architecture: &str) -> Fixture {
    let native = family("native").join(format!("{architecture}.safetensors"));
    if native.exists() {
        return Fixture::read(&native);
    }
    let all = Fixture::read_all(&family("small.safetensors"));
    let mut found = all.into_iter().filter(|one| one.name == architecture);
    found
        .next()
        .unwrap_or_else(|| panic!("no reference of {architecture}"))
}

/// `model.safetensors` of an architecture as timm saves it, the norms' counters included.
fn checkpoint(architecture: &str) -> Vec<u8> {
    let config = ResNetConfig::by_name(architecture).unwrap();
    let formula = weights(&reference(architecture), &config);
    let asked = asked(&config);
    let counters = norms(&asked).into_iter().map(|norm| {
        let zero = Tensor::zeros((), DType::I64, &Device::Cpu).unwrap();
        (format!("{norm}.num_batches_tracked"), zero)
    });
    let values = asked.into_iter().map(|(name, shape)| {
        let none = Init::Const(0.0);
        let tensor = formula.get(shape.into(), &name, none, DType::F32, &Device::Cpu);
        (name, tensor.unwrap())
    });
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(values.chain(counters), Some(format)).unwrap()
}

fn architecture(tag: &str) -> &str {
    tag.split('.').next().unwrap()
}

/// Puts a tag's repository on the hub and gives its name.
fn publish(server: &Server, tag: &str, config: Option<&Value>) -> String {
    let repo = format!("timm/{tag}");
    if let Some(config) = config {
        let config = serde_json::to_vec_pretty(config).unwrap();
        server.put(&repo, COMMIT, "config.json", &config, false);
    }
    server.put(&repo, COMMIT, WEIGHTS, &checkpoint(architecture(tag)), true);
    repo
}

/// The five best classes and their logits by the command, as a user runs it.
fn classify(server: &Server, home: &Path, photo: &str, options: &[&str]) -> Vec<(u64, f64)> {
    let photo = root().join(photo).display().to_string();
    let base = [
        "classify",
        &photo,
        "--format",
        "json",
        "--output-type",
        "logit",
    ];
    let output = resnest(server, home, &[&base[..], options].concat());
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{options:?}: {told}");
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    let best = answers[0]["predictions"].as_array().unwrap().iter();
    best.map(|p| (p["index"].as_u64().unwrap(), p["logit"].as_f64().unwrap()))
        .collect()
}

/// The recorded classes in order; the largest distance from one of timm's logits.
fn distance(tag: &str, got: &[(u64, f64)], timm: &Value, logit: &str) -> f64 {
    let best = timm["best"].as_array().unwrap();
    let classes = |best: &[Value]| -> Vec<_> {
        let index = |one: &Value| one["index"].as_u64().unwrap();
        best.iter().map(index).collect()
    };
    let ours: Vec<_> = got.iter().map(|(index, _)| *index).collect();
    assert_eq!(ours, classes(best), "{tag}");
    let pairs = got.iter().zip(best);
    pairs
        .map(|((_, ours), timm)| (ours - timm[logit].as_f64().unwrap()).abs())
        .fold(0.0, f64::max)
}

/// By the fast kernels and by the exact ones; `ways` are the options that name the model to each.
fn check(server: &Server, home: &Path, tag: &str, timm: &Value, ways: [&[&str]; 2]) {
    let photo = timm["photo"].as_str().unwrap();
    let figure = |field: &str| timm[field].as_f64().unwrap();
    let fast = classify(server, home, photo, ways[0]);
    let from_timm = distance(tag, &fast, timm, "logit") / figure("largest_logit");
    let precise = [ways[1], &["--precision", "exact"]].concat();
    let exact = classify(server, home, photo, &precise);
    let from_f64 = distance(tag, &exact, timm, "logit_f64");
    let timms = figure("f32_error");
    println!(
        "{tag}: {from_timm:.1e} from timm; exact kernels {from_f64:.1e} from f64, timm {timms:.1e}"
    );
    assert!(from_timm <= TOLERANCE, "{tag}: {from_timm:.1e} from timm");
    assert!(
        from_f64 <= 2.0 * timms,
        "{tag}: {from_f64:.1e} from f64, timm {timms:.1e}"
    );
}

/// Downloaded and classified by its tag, and by its repository with timm's `config.json`.
fn check_from_hub(server: &Server, tag: &str, timm: &Value) {
    let home = tempfile::tempdir().unwrap();
    let repo = publish(server, tag, Some(&timm["config"]));
    let download = resnest(server, home.path(), &["download", tag]);
    let told = text(&download.stderr);
    assert_eq!(download.status.code(), Some(0), "{tag}: {told}");
    let licence = timm["config"]["pretrained_cfg"]["license"].as_str();
    let barred = licence.is_some_and(|licence| licence.contains("-nc-"));
    assert_eq!(
        told.contains("not for commercial use"),
        barred,
        "{tag}: {told}"
    );
    let before = server.gets().len();
    let source = format!("hf-hub:{repo}");
    let ways: [&[&str]; 2] = [&["--model", tag], &["--model", &source]];
    check(server, home.path(), tag, timm, ways);
    let gets = server.gets().split_off(before);
    assert!(
        gets.iter().all(|get| !get.cdn),
        "{tag}: weights came twice: {gets:?}"
    );
    server.remove(&repo);
}

/// On no hub: from the file that `download` says to fetch, as it says to give it.
fn check_from_release(server: &Server, tag: &str, timm: &Value) {
    let home = tempfile::tempdir().unwrap();
    let refused = resnest(server, home.path(), &["download", tag]);
    assert_eq!(refused.status.code(), Some(3));
    let told = text(&refused.stderr);
    let url = told.split(' ').find(|word| word.starts_with("https://"));
    let name = url.unwrap_or_else(|| panic!("{told}")).rsplit('/').next();
    let name = name.unwrap();
    assert!(told.contains(&format!("--checkpoint {name}")), "{told}");
    let file = home.path().join(name);
    std::fs::write(&file, checkpoint(architecture(tag))).unwrap();
    let way: &[&str] = &["--model", tag, "--checkpoint", file.to_str().unwrap()];
    check(server, home.path(), tag, timm, [way, way]);
}

#[test]
fn one_tag_of_each_kind_classifies_a_photo_as_timm_does() {
    let server = Server::start();
    let (manifest, recorded) = (Manifest::builtin().unwrap(), recorded());
    assert!(recorded.len() > 15);
    for (tag, timm) in &recorded {
        match manifest.find(tag).unwrap().entry.repo {
            Some(_) => check_from_hub(&server, tag, timm),
            None => check_from_release(&server, tag, timm),
        }
    }
}

#[test]
#[ignore = "serves until it is stopped, for trying the command by hand"]
fn serve() {
    let (server, recorded) = (Server::start(), recorded());
    let Ok(tags) = std::env::var("RESNEST_TAGS") else {
        println!("nothing to serve: set RESNEST_TAGS=\"resnet50.a1_in1k ...\"");
        return;
    };
    for tag in tags.split_whitespace() {
        let config = recorded.get(tag).map(|timm| &timm["config"]);
        println!("{}", publish(&server, tag, config));
    }
    println!("export HF_ENDPOINT={}", server.endpoint());
    loop {
        std::thread::park();
    }
}
