//! Class activation maps against PyPI's grad-cam, split weights against timm's own, overlays against timm's and Pillow's
//! geometry, and the command as a user runs it. `python/make_cam.py` recorded the references and says how.

mod common;

use std::path::PathBuf;

use candle_core::{DType, Device, IndexOp, Tensor};
use resnest::explain::{ActivationMap, Classes, OverlayStyle, overlay};
use resnest::{
    Classifier, ClassifierBuilder, CropMode, DeviceChoice, Image, Precision, Prediction, ResNet,
    ResNetConfig, Transform,
};
use resnest_model::FuseOptions;
use serde_json::Value;

#[path = "explain/command.rs"]
mod command;
#[path = "golden/fixture.rs"]
mod fixture;
#[path = "golden/formula.rs"]
mod formula;
#[path = "golden/small_model.rs"]
mod small_model;

use fixture::{Fixture, first_departure, max_abs, max_diff, values};
use formula::Formula;
use small_model::small_model;

/// The project's bar for values: 1e-4 of the largest.
const BAR: f64 = 1e-4;
/// The bar for maps as they are shown.
const COSINE: f64 = 0.9999;
/// Every way a network runs on the CPU: by candle's operations, and fused.
const MODES: [Option<Precision>; 3] = [None, Some(Precision::Exact), Some(Precision::Fast)];

fn recorded(name: &str) -> Fixture {
    let folder = common::root().join("tests/explain");
    Fixture::read(&folder.join(format!("{name}.safetensors")))
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Holds a map to grad-cam's weighted sum, whose weights are gradients: those of the classifier over the cells.
fn hold_raw(map: &ActivationMap, raw: &Tensor, what: &str) {
    let cells = map.values().len() as f64;
    let expected: Vec<f64> = values(raw).iter().map(|v| v * cells).collect();
    let got = wide(map.values());
    let (diff, cosine) = (max_diff(&got, &expected), cosine(&got, &expected));
    println!(
        "{what}: cosine 1 - {:.1e}, max |Δ| {:.1e} of the largest",
        1.0 - cosine,
        diff / max_abs(&expected)
    );
    assert!(cosine > COSINE, "{what}: cosine {cosine}");
    assert!(diff <= BAR * max_abs(&expected), "{what}: {diff}");
}

/// Holds a map to what grad-cam returns: scaled, and resized to the input.
fn hold_shown(map: &ActivationMap, shown: &Tensor, what: &str) {
    let (height, width) = shown.dims2().unwrap();
    let (got, expected) = (wide(&map.resized(height, width)), values(shown));
    let (diff, cosine) = (max_diff(&got, &expected), cosine(&got, &expected));
    assert!(cosine > COSINE, "{what}: cosine {cosine}");
    assert!(diff <= 1e-4, "{what}: {diff}");
}

fn classifier(mode: Option<Precision>) -> ClassifierBuilder {
    let builder = Classifier::builder("demo").device(DeviceChoice::Cpu);
    builder
        .precision(mode.unwrap_or_default())
        .fuse(mode.is_some())
}

/// A network of `golden/small` and the images of its reference.
fn small(name: &str) -> (ResNet, Tensor) {
    let file = Fixture::read(&fixture::folder("small").join(format!("{name}.safetensors")));
    let x = file.tensors["input"].to_dtype(DType::F32).unwrap();
    (small_model(&file, DType::F32), x)
}

fn demo_fixtures() -> impl Iterator<Item = Fixture> {
    let sizes = [
        "chelsea_48x48",
        "chelsea_96x160",
        "horse_48x48",
        "horse_96x160",
    ];
    sizes
        .into_iter()
        .map(|name| recorded(&format!("demo_{name}")))
}

/// The photo of a fixture, and the classifier of its size.
fn demo_case(fixture: &Fixture, mode: Option<Precision>) -> (Classifier, Vec<u8>) {
    let size = fixture.json("size");
    let side = |i: usize| size[i].as_u64().unwrap() as u32;
    let classifier = classifier(mode).input_size((side(0), side(1)));
    let photo = fixture.json("photo");
    let bytes = std::fs::read(photo_path(photo.as_str().unwrap())).unwrap();
    (classifier.load().unwrap(), bytes)
}

fn photo_path(name: &str) -> PathBuf {
    common::demo().join(format!("photos/{name}.png"))
}

#[test]
fn the_demo_models_maps_are_grad_cams_for_every_class() {
    let fixtures: Vec<Fixture> = demo_fixtures().collect();
    for (fixture, mode) in fixtures.iter().flat_map(|f| MODES.map(|mode| (f, mode))) {
        let (classifier, bytes) = demo_case(fixture, mode);
        let all = Classes::These((0..10).collect());
        let seen = classifier.cam(&bytes, &all).unwrap();
        let logits = fixture.values("logits");
        let largest = max_abs(&logits);
        assert_eq!(seen.maps.len(), 10);
        for (index, map) in seen.maps.iter().enumerate() {
            let what = format!("{} {mode:?} class {index}", fixture.name);
            assert_eq!(map.prediction.index, index);
            let off = (f64::from(map.prediction.logit) - logits[index]).abs();
            assert!(off <= BAR * largest, "{what}: logit {off} off");
            hold_raw(map, &fixture.tensors["raw"].i(index).unwrap(), &what);
        }
        let best = fixture.json("shown").as_u64().unwrap() as usize;
        let shown = fixture.tensors["shown"].i(0).unwrap();
        hold_shown(&seen.maps[best], &shown, &fixture.name);
        let top = classifier.cam(&bytes, &Classes::Top(2)).unwrap();
        assert_eq!(top.maps[0], seen.maps[best], "the best class comes first");
        assert_eq!(top.maps.len(), 2);
    }
}

#[test]
fn resnest14ds_maps_are_grad_cams() {
    let (fixture, weights) = (recorded("resnest14d"), resnest14d());
    let classes: Vec<usize> = serde_json::from_value(fixture.json("classes")).unwrap();
    let x = formula::image(3, 224, 224).unwrap();
    for mode in MODES {
        let model = fused(
            ResNet::new(&ResNetConfig::resnest14d(), weights().var_builder()).unwrap(),
            mode,
        );
        let map = model.forward_features(&x).unwrap();
        let maps = model.class_activation_maps(&map).unwrap();
        assert_eq!(maps.dims(), [1, 1000, 7, 7]);
        for (at, &class) in classes.iter().enumerate() {
            let own = maps.i((0, class)).unwrap().flatten_all().unwrap();
            let own = activation_map(7, 7, own.to_vec1().unwrap());
            let what = format!("resnest14d {mode:?} class {class}");
            hold_raw(&own, &fixture.tensors["raw"].i(at).unwrap(), &what);
            if at < 2 {
                hold_shown(&own, &fixture.tensors["shown"].i(at).unwrap(), &what);
            }
        }
    }
}

/// The weights of the full-size reference.
fn resnest14d() -> impl Fn() -> Formula {
    let fixture = Fixture::read(&fixture::folder("full").join("resnest14d.safetensors"));
    let names: Vec<String> = serde_json::from_value(fixture.json("norm_names")).unwrap();
    let norms = fixture.tensors["norms"].to_vec2::<f32>().unwrap();
    let head_scale = fixture.values("head_scale")[0] as f32;
    move || Formula {
        norms: std::iter::zip(names.clone(), norms.iter().map(|n| (n[0], n[1]))).collect(),
        head_scale,
        ..Formula::standard()
    }
}

fn fused(mut model: ResNet, mode: Option<Precision>) -> ResNet {
    if let Some(precision) = mode {
        let mut options = FuseOptions::default();
        options.precision = precision;
        model.fuse(&options).unwrap();
    }
    model
}

fn activation_map(height: usize, width: usize, values: Vec<f32>) -> ActivationMap {
    let prediction = Prediction {
        index: 0,
        label: "class".into(),
        description: None,
        probability: 0.5,
        logit: 0.0,
    };
    ActivationMap::new(prediction, height, width, values).unwrap()
}

/// Holds what each block gave to what was recorded.
fn hold_stages<'a>(stages: impl Iterator<Item = (&'a str, Vec<f64>, Vec<f64>)>, what: &str) {
    let stages: Vec<_> = stages.collect();
    let off = |(_, got, expected): &(_, Vec<f64>, Vec<f64>)| max_diff(got, expected);
    let most = stages.iter().map(off).fold(0.0, f64::max);
    println!("{what}: weights within {most:.1e}");
    if let Some(departure) = first_departure(stages, BAR) {
        panic!("{what}: {departure}");
    }
}

#[test]
fn split_weights_are_those_timms_modules_gave() {
    let fixtures: Vec<Fixture> = demo_fixtures().collect();
    for (fixture, mode) in fixtures.iter().flat_map(|f| MODES.map(|mode| (f, mode))) {
        let (classifier, bytes) = demo_case(fixture, mode);
        let blocks = classifier.split_weights(&bytes).unwrap();
        assert_eq!(blocks.len(), 6);
        let stages = blocks.iter().map(|block| {
            let expected = &fixture.tensors[&format!("split.{}.conv2", block.block)];
            assert_eq!(expected.dims()[1], block.radix());
            (
                block.block.as_str(),
                wide(&block.weights.concat()),
                values(expected),
            )
        });
        hold_stages(stages, &format!("{} {mode:?}", fixture.name));
    }
}

#[test]
fn radix_and_cardinality_of_any_kind_are_told_apart() {
    for (name, radix) in [
        ("radix4_cardinality2", 4),
        ("radix2_cardinality4", 2),
        ("radix1_cardinality4", 1),
    ] {
        let expected = recorded(&format!("splits_{name}"));
        for mode in MODES {
            let (model, x) = small(name);
            let blocks = fused(model, mode).split_weights(&x).unwrap();
            assert_eq!(blocks.len(), expected.tensors.len(), "{name}");
            let stages = blocks.iter().map(|block| {
                let expected = &expected.tensors[&format!("split.{}", block.path)];
                assert_eq!(block.weights.dims(), expected.dims(), "{name}");
                assert_eq!(block.weights.dims()[1], radix);
                (
                    block.path.as_str(),
                    values(&block.weights),
                    values(expected),
                )
            });
            hold_stages(stages, &format!("{name} {mode:?}"));
        }
    }
    let (model, x) = small("radix0");
    assert!(model.split_weights(&x).unwrap().is_empty());
}

#[test]
fn heads_without_exact_maps_are_refused_by_name() {
    for (name, named) in [
        ("pool_max", "max"),
        ("pool_avgmax", "avgmax"),
        ("pool_catavgmax", "catavgmax"),
        ("no_classes", "num_classes"),
    ] {
        let (model, x) = small(name);
        let map = model.forward_features(&x).unwrap();
        for refused in [
            model.check_class_activation_maps(),
            model.class_activation_maps(&map).map(|_| ()),
        ] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(named), "{name}: {error}");
            assert!(
                error.contains("average pool") || error.contains("linear classifier"),
                "{error}"
            );
        }
    }
    let (fast, _) = small("pool_fast");
    fast.check_class_activation_maps().unwrap();
    let other = Tensor::zeros((1, 3, 2, 2), DType::F32, &Device::Cpu);
    let error = fast.class_activation_maps(&other.unwrap()).unwrap_err();
    assert!(error.to_string().contains("a feature map"), "{error}");
}

/// The transform of a case recorded in the geometry, the image's size, and where the window should lie.
fn geometry_case(case: &Value) -> (Transform, (u32, u32), [f64; 4]) {
    let pair = |name: &str| [0, 1].map(|i| case[name][i].as_i64().unwrap());
    let ([height, width], image) = (pair("input"), pair("image"));
    let transform = Transform {
        size: (height as u32, width as u32),
        crop_pct: case["pct"].as_f64().unwrap(),
        crop_mode: case["mode"].as_str().unwrap().parse::<CropMode>().unwrap(),
        ..Transform::default()
    };
    let (resized, start) = (pair("resized"), pair("start"));
    let scale = [0, 1].map(|i| image[i] as f64 / resized[i] as f64);
    let window = [
        start[0] as f64 * scale[0],
        start[1] as f64 * scale[1],
        width as f64 * scale[0],
        height as f64 * scale[1],
    ];
    (transform, (image[0] as u32, image[1] as u32), window)
}

#[test]
fn the_window_is_where_timms_crop_was_measured_and_the_map_where_pillow_lays_it() {
    let fixture = recorded("geometry");
    let cells = fixture.tensors["map"]
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    let map = activation_map(3, 4, cells);
    let cases = fixture.json("cases");
    for (index, case) in cases.as_array().unwrap().iter().enumerate() {
        let (transform, (width, height), expected) = geometry_case(case);
        let window = transform.window(width, height).unwrap();
        let got = [window.x, window.y, window.width, window.height];
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-9, "{case}: {window:?}");
        }
        let over = map.over(&window, width as usize, height as usize);
        let laid = fixture.values(&format!("over.{index}"));
        for (place, (got, expected)) in over.iter().zip(&laid).enumerate() {
            let got = if got.is_nan() { -1.0 } else { f64::from(*got) };
            assert!(
                (got - expected).abs() < 1e-4,
                "{case} at {place}: {got}, Pillow {expected}"
            );
        }
        hold_overlay(&map, &transform, (width, height), &laid);
    }
    assert!(Transform::default().window(0, 9).is_err());
}

/// The overlay is as large as the image, dim where Pillow laid nothing, and coloured by the map elsewhere.
fn hold_overlay(map: &ActivationMap, transform: &Transform, size: (u32, u32), laid: &[f64]) {
    let (width, height) = size;
    let grey = Image::new(width, height, 1, vec![200; laid.len()]).unwrap();
    let window = transform.window(width, height).unwrap();
    let style = OverlayStyle::default();
    let drawn = overlay(&grey, &window, map, &style).unwrap();
    assert_eq!(
        (drawn.width, drawn.height, drawn.channels),
        (width, height, 3)
    );
    let mut bare = style;
    bare.outline = false;
    let plain = overlay(&grey, &window, map, &bare).unwrap();
    let (pixels, plain) = (drawn.data.chunks_exact(3), plain.data.chunks_exact(3));
    let mut lines = 0;
    for ((pixel, plain), laid) in pixels.zip(plain).zip(laid) {
        if *laid < 0.0 {
            assert_eq!(pixel, [90; 3]);
            assert_eq!(plain, [200; 3]);
        } else if pixel != plain {
            assert!(pixel == [255; 3] || pixel == [30; 3], "{pixel:?}");
            lines += 1;
        } else {
            let reddish = i32::from(plain[0]) - i32::from(plain[2]);
            // Turbo: blue at 0.15 to 0.3, red above 0.8.
            assert!(
                !(0.15..0.3).contains(laid) || reddish < 0,
                "{laid}: {plain:?}"
            );
            assert!(*laid < 0.8 || reddish > 50, "{laid}: {plain:?}");
        }
    }
    assert!(lines > 0, "an outline");
}

#[test]
fn a_library_call_that_makes_no_sense_is_an_error() {
    let classifier = classifier(None).load().unwrap();
    let bytes = std::fs::read(photo_path("horse")).unwrap();
    let error = classifier
        .cam(&bytes, &Classes::These(vec![3, 10]))
        .unwrap_err();
    assert!(error.to_string().contains("classes 0 to 9"), "{error}");
    let none = classifier.cam(&bytes, &Classes::These(vec![])).unwrap();
    assert!(none.maps.is_empty());
    assert!(classifier.cam(b"no photo", &Classes::Top(1)).is_err());
    assert!(classifier.split_weights(b"no photo").is_err());
    let mut seen = classifier.cam(&bytes, &Classes::Top(99)).unwrap();
    assert_eq!(seen.maps.len(), 10);
    for (width, height, channels) in [(0, 0, 3), (u32::MAX, u32::MAX, 3), (9, 9, 2)] {
        seen.image = Image {
            width,
            height,
            channels,
            data: vec![0; 9],
        };
        assert!(
            seen.overlay(&seen.maps[0], &OverlayStyle::default())
                .is_err()
        );
        assert!(resnest::explain::png(&seen.image).is_err());
    }
}

#[test]
fn test_time_pooling_has_no_exact_maps_and_a_grey_model_shows_a_grey_photo() {
    let bytes = std::fs::read(photo_path("horse")).unwrap();
    let pooled = Classifier::builder("demo").test_time_pool(true);
    let pooled = pooled.input_size(96).load().unwrap();
    let error = pooled
        .cam(&bytes, &Classes::Top(1))
        .unwrap_err()
        .to_string();
    assert!(error.contains("test-time pooling"), "{error}");
    assert_eq!(pooled.split_weights(&bytes).unwrap().len(), 6);
    let grey = Classifier::builder("demo").in_chans(1).load().unwrap();
    let seen = grey.cam(&bytes, &Classes::Top(1)).unwrap();
    assert_eq!(seen.image.channels, 1);
    let drawn = seen
        .overlay(&seen.maps[0], &OverlayStyle::default())
        .unwrap();
    assert_eq!(drawn.data.len(), seen.image.data.len() * 3);
}
