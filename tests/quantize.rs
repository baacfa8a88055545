//! Networks in 8-bit integers: the library's way and the command's, held to their simulation in f32.

#[path = "quantize/command.rs"]
mod command;
mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use resnest::candle_core::{Device, Tensor};
use resnest::loader::{Checkpoint, load_fused, resolve_parts};
use resnest::model::{Algorithm, FuseOptions, InputScale, Watch};
use resnest::quantize::{Options, Quantized, Quantizer, Simulation, evenly_spaced};
use resnest::{Classifier, ClassifierOptions, DeviceChoice, Error, Overrides, Precision, ResNet};

fn photos() -> Vec<PathBuf> {
    ["chelsea.png", "horse.png"]
        .map(|name| common::demo().join("photos").join(name))
        .into()
}

/// The demo model, calibrated on the bundled photos.
fn quantized(options: Options) -> Result<Quantized, Error> {
    let photos = photos();
    let quantizer = Quantizer::load("demo", &ClassifierOptions::default(), options)?;
    quantizer.run(photos.len(), |i| std::fs::read(&photos[i]), |_| {})
}

fn written(quantized: &Quantized) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.safetensors");
    quantized.write(&path).unwrap();
    (folder, path)
}

fn load(path: &Path, precision: Option<Precision>) -> Classifier {
    let builder = Classifier::builder("demo")
        .checkpoint(path)
        .device(DeviceChoice::Cpu);
    match precision {
        Some(precision) => builder.precision(precision).load().unwrap(),
        None => builder.load().unwrap(),
    }
}

/// The photos as (N, 3, 48, 48).
fn input(classifier: &Classifier) -> Tensor {
    let photos = photos();
    let pixels = photos.iter().map(|path| {
        let pixels = classifier
            .preprocess(&std::fs::read(path).unwrap())
            .unwrap();
        Tensor::from_slice(pixels.as_slice(), (1, 3, 48, 48), &Device::Cpu).unwrap()
    });
    Tensor::cat(&pixels.collect::<Vec<_>>(), 0).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// ‖a − b‖ / ‖b‖.
fn distance(a: &Tensor, b: &Tensor) -> f32 {
    let norm = |x: &Tensor| values(x).iter().map(|v| v * v).sum::<f32>().sqrt();
    norm(&(a - b).unwrap()) / norm(b)
}

/// The checkpoint on the kernels, as it is in the simulation: integers wherever inputs are calibrated, f32 elsewhere.
fn as_simulated(path: &Path, inputs: &BTreeMap<String, InputScale>) -> ResNet {
    let config = std::fs::read_to_string(common::demo().join("config.json")).unwrap();
    let weights = std::fs::read(path).unwrap();
    let resolved = resolve_parts("demo", &config, weights, &Overrides::default()).unwrap();
    let mut options = FuseOptions::default();
    options.precision = Precision::Int8;
    options.input_size = (48, 48);
    let calibrated = inputs.iter();
    options.algorithms = calibrated
        .map(|(layer, scale)| (layer.clone(), Algorithm::DirectInt8(*scale)))
        .chain(["conv1.0", "fc"].map(|layer| (layer.to_owned(), Algorithm::Direct)))
        .collect();
    let checkpoint = Checkpoint::open(path).unwrap();
    load_fused(&checkpoint, &resolved, &options).unwrap().model
}

fn in_int8(model: &ResNet) -> Vec<&str> {
    let layers = model.plan().iter();
    let layers = layers.filter(|layer| layer.algorithm.name() == "direct-int8");
    layers.map(|layer| layer.path.as_str()).collect()
}

#[test]
fn the_integer_kernels_compute_what_rounded_inputs_give_in_f32() {
    let quantized = quantized(Options::default()).unwrap();
    let (_folder, path) = written(&quantized);
    let classifier = load(&path, None);
    assert_eq!(classifier.precision(), Some(Precision::Int8));
    let inputs = quantized.inputs();
    assert!(
        inputs.values().all(|input| input.zero_point == 0),
        "all maps come from a ReLU"
    );
    let model = as_simulated(&path, &inputs);
    assert_eq!(in_int8(&model).len(), inputs.len());
    // Left to itself it takes another way where that is cheaper.
    let chosen = in_int8(classifier.model());
    assert!(
        chosen.len() > inputs.len() / 2 && chosen.iter().all(|path| inputs.contains_key(*path))
    );
    let x = input(&classifier);
    let watch: Arc<dyn Watch> = Arc::new(Simulation {
        inputs: inputs.into(),
    });
    let expected = quantized
        .twin()
        .unwrap()
        .forward_watched(&x, watch)
        .unwrap();
    let plain = load(&path, Some(Precision::Fast)).logits(&x).unwrap();
    let found = model.forward(&x).unwrap();
    let (close, far) = (distance(&found, &expected), distance(&found, &plain));
    let off = distance(&classifier.logits(&x).unwrap(), &plain);
    println!("int8: {close:.1e} from its simulation, {far:.1e} from f32, {off:.1e} left to itself");
    // Values on the edge between two of 256 fall to either side; without any rounding they are much further off.
    assert!(close < 2e-3 && far > 3.0 * close, "{close} {far}");
    assert!(off < 5e-2, "{off}");
}

#[test]
fn first_layer_attention_and_narrow_groups_stay_in_f32_and_what_is_asked_for() {
    let mut options = Options::default();
    options.keep = vec!["layer4.0.conv3".into()];
    let quantized = quantized(options).unwrap();
    let kept: BTreeMap<_, _> = quantized
        .kept()
        .iter()
        .map(|k| (k.path.as_str(), k.reason))
        .collect();
    assert_eq!(kept["conv1.0"], "the first layer");
    assert_eq!(kept["layer1.0.conv2.conv"], "narrow groups");
    assert_eq!(kept["layer4.0.conv2.fc1"], "attention");
    assert_eq!(kept["layer4.0.conv3"], "asked for");
    let inputs = quantized.inputs();
    assert!(kept.keys().all(|path| !inputs.contains_key(*path)));
    assert!(inputs.contains_key("conv1.3") && inputs.contains_key("layer3.0.conv2.conv"));
}

#[test]
fn what_cannot_be_quantised_is_said() {
    let mut options = Options::default();
    options.keep = vec!["layer9".into()];
    assert!(matches!(quantized(options), Err(Error::NoSuchLayer { layer }) if layer == "layer9"));
    let quantizer =
        Quantizer::load("demo", &ClassifierOptions::default(), Options::default()).unwrap();
    let mut heard = Vec::new();
    let nothing = quantizer.run(
        2,
        |_| Err(std::io::Error::other("gone")),
        |looked| heard.push(looked),
    );
    assert!(matches!(nothing, Err(Error::NothingToCalibrate)));
    assert!(
        heard
            .iter()
            .all(|looked| looked.failure.as_deref() == Some("gone"))
            && heard.len() == 2
    );
    let plain = Classifier::builder("demo")
        .device(DeviceChoice::Cpu)
        .precision(Precision::Int8)
        .load();
    assert!(matches!(plain, Err(Error::NotQuantized(_))));
}

#[test]
fn a_value_that_is_not_finite_leaves_no_finite_answer_and_other_images_alone() {
    let (_folder, path) = written(&quantized(Options::default()).unwrap());
    let classifier = load(&path, None);
    let x = input(&classifier);
    let expected = classifier.logits(&x).unwrap().to_vec2::<f32>().unwrap();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut spoiled = values(&x);
        spoiled[1000] = value;
        let spoiled = Tensor::from_vec(spoiled, x.dims(), &Device::Cpu).unwrap();
        let found = classifier
            .logits(&spoiled)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        assert!(
            found[0].iter().all(|v| v.is_nan()),
            "{value}: {:?}",
            found[0]
        );
        assert_eq!(found[1], expected[1], "{value}");
    }
}

#[test]
fn samples_are_spread_over_all() {
    assert_eq!(evenly_spaced(10, 4), [0, 2, 5, 7]);
    assert_eq!(evenly_spaced(3, 300), [0, 1, 2]);
    assert_eq!(evenly_spaced(0, 3), [0; 0]);
}
