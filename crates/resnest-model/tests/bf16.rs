//! bf16 beside PyTorch's own: on every recorded network the distance from f64, of logits and stages, is at most one and a
//! half times that of timm under `torch.autocast("cpu", torch.bfloat16)`. Those distances are in
//! `tests/golden/autocast.json`, and `make_autocast.py` beside it made them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Tensor};
use resnest_model::{FuseOptions, Precision, ResNet, ResNetConfig, TestTimePoolHead};
use serde_json::Value;

#[path = "../../../tests/golden/fixture.rs"]
mod fixture;
#[path = "../../../tests/golden/formula.rs"]
mod formula;
#[path = "../../../tests/golden/modes.rs"]
#[allow(dead_code, reason = "the bars of f32 are not those of bf16")]
mod modes;
#[path = "../../../tests/golden/small_model.rs"]
mod small_model;
#[path = "../../../tests/family/weights.rs"]
mod weights;

use fixture::{Fixture, folder, values};
use formula::Formula;
use modes::{TAPS, full_weights, kept, sample};
use small_model::small_model;
use weights::{family, weights};

/// Of autocast's error.
const TIMES: f64 = 1.5;
/// The error of fewer values is chance: their bar is no lower than the last map's. What a pool makes of a map of a few pixels
/// more so.
const FEW: usize = 100;
const FEW_OF_A_HEAD: usize = 300;
/// Smaller than what a network in bf16 can do: then it was computed in something else.
const LEAST: f64 = 5e-4;

/// What autocast's errors are called, by network and stage.
fn autocast(group: &str) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder("autocast.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let errors = all["errors"].as_object().unwrap().iter();
    errors
        .filter_map(|(name, stages)| {
            let name = name.strip_prefix(group)?.strip_prefix('/')?;
            Some((name.to_owned(), stages.clone()))
        })
        .collect()
}

/// The root of the mean square of the differences, over that of the exact values.
fn relative_error(got: &[f64], exact: &[f64]) -> f64 {
    assert_eq!(got.len(), exact.len());
    let differences = got.iter().zip(exact).map(|(a, b)| (a - b).powi(2));
    (differences.sum::<f64>() / exact.iter().map(|b| b * b).sum::<f64>()).sqrt()
}

fn bf16(mut model: ResNet, x: &Tensor) -> ResNet {
    let (batch, _, h, w) = x.dims4().unwrap();
    let mut options = FuseOptions::default();
    options.precision = Precision::Bf16;
    options.input_size = (h, w);
    options.batch = batch;
    model.fuse(&options).unwrap();
    model
}

/// One stage of a network, ours and exact.
type Stage<'a> = (&'a str, Vec<f64>, Vec<f64>);

/// Holds the stages of a network to autocast's errors; gives those that are further from f64.
fn departures(name: &str, model: &ResNet, errors: &Value, stages: &[Stage]) -> Vec<String> {
    let autocasts = |stage: &str| errors[stage]["rms"].as_f64().unwrap();
    let (mut shown, mut departures) = (String::new(), Vec::new());
    for (stage, got, exact) in stages {
        let after_maps = !TAPS.contains(stage);
        let few = exact.len() < if after_maps { FEW_OF_A_HEAD } else { FEW };
        let chance = if few { autocasts("layer4") } else { 0.0 };
        let ours = relative_error(got, exact);
        let autocasts = autocasts(stage).max(chance);
        let bar = TIMES * autocasts;
        shown += &format!(" {stage} {:.2}", ours / autocasts);
        if ours.is_nan() || ours > bar {
            departures.push(format!("{name} {stage}: {ours:.2e}, over {bar:.2e}"));
        }
        // Until a layer is computed in bf16 there is nothing to be seen.
        let low = (model.plan().iter()).any(|layer| layer.algorithm.name().ends_with("bf16"));
        if low && *stage == "layer4" && ours < LEAST {
            departures.push(format!("{name} {stage}: {ours:.2e}, which is not bf16"));
        }
    }
    println!("{name}, times autocast's error:{shown}");
    departures
}

fn none(departures: Vec<String>) {
    assert!(departures.is_empty(), "{}", departures.join("\n"));
}

#[test]
fn small_networks_with_every_option() {
    let recorded = autocast("golden/small");
    assert!(recorded.len() > 30);
    let check = |(name, errors): (&String, &Value)| {
        let fixture = Fixture::read(&folder("small").join(format!("{name}.safetensors")));
        let x = fixture.tensors["input"].to_dtype(DType::F32).unwrap();
        let model = || bf16(small_model(&fixture, DType::F32), &x);
        let pool = fixture.json("test_pool");
        let output = if pool.is_null() {
            model().forward(&x).unwrap()
        } else {
            let size = |i: usize| pool[i].as_u64().unwrap() as usize;
            let pooled = TestTimePoolHead::new(model(), (size(0), size(1))).unwrap();
            pooled.forward(&x).unwrap()
        };
        let model = model();
        let (last, taps) = model.forward_intermediates(&x, &[0, 1, 2, 3, 4]).unwrap();
        let mut got: HashMap<&str, Tensor> = TAPS.into_iter().zip(taps).collect();
        got.insert("pre_logits", model.forward_head(&last, true).unwrap());
        got.insert("output", output);
        let stages: Vec<_> = (TAPS.into_iter().chain(["pre_logits", "output"]))
            .filter(|stage| fixture.tensors.contains_key(*stage))
            .map(|stage| (stage, values(&got[stage]), fixture.values(stage)))
            .collect();
        departures(name, &model, errors, &stages)
    };
    none(recorded.iter().flat_map(check).collect());
}

/// Networks take every core and up to 4 GB: they run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A published architecture, whose weights a formula gives.
fn published(fixture: &Fixture, weights: Formula, errors: &Value) -> Vec<String> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let size: [usize; 3] = serde_json::from_value(fixture.json("input_size")).unwrap();
    let x = formula::image(size[0], size[1], size[2]).unwrap();
    let config = ResNetConfig::by_name(&fixture.name).unwrap();
    let mut options = FuseOptions::default();
    options.precision = Precision::Bf16;
    options.input_size = (size[1], size[2]);
    let model = ResNet::fused(&config, kept(weights), &options).unwrap();
    let (last, taps) = model.forward_intermediates(&x, &[0, 1, 2, 3, 4]).unwrap();
    let pooled = model.forward_head(&last, true).unwrap();
    let logits = model.forward_head(&last, false).unwrap();
    let maps = TAPS.into_iter().zip(&taps);
    let mut stages: Vec<_> = maps
        .chain([("global_pool", &pooled)])
        .map(|(stage, map)| {
            let exact = fixture.values(&format!("{stage}.sample"));
            (stage, sample(map, exact.len()), exact)
        })
        .collect();
    let exact = fixture.values("logits_f64");
    stages.push(("logits", sample(&logits, exact.len()), exact));
    departures(&fixture.name, &model, errors, &stages)
}

#[test]
fn the_eight_resnests() {
    let check = |(name, errors): (&String, &Value)| {
        let fixture = Fixture::read(&folder("full").join(format!("{name}.safetensors")));
        published(&fixture, full_weights(&fixture), errors)
    };
    none(autocast("golden/full").iter().flat_map(check).collect());
}

#[test]
fn one_network_for_each_row_of_the_familys_table() {
    let check = |(name, errors): (&String, &Value)| {
        let fixture = Fixture::read(&family("native").join(format!("{name}.safetensors")));
        let config = ResNetConfig::by_name(name).unwrap();
        published(&fixture, weights(&fixture, &config), errors)
    };
    none(autocast("family/native").iter().flat_map(check).collect());
}

#[test]
fn all_others_on_a_small_image() {
    let recorded = autocast("family/small");
    let check = |fixture: &Fixture| {
        let config = ResNetConfig::by_name(&fixture.name).unwrap();
        published(fixture, weights(fixture, &config), &recorded[&fixture.name])
    };
    let fixtures = Fixture::read_all(&family("small.safetensors"));
    none(fixtures.iter().flat_map(check).collect());
}
