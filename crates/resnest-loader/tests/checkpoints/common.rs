//! Fixtures and comparisons.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use resnest_loader::hub::HubOptions;
use resnest_loader::{Checkpoint, Loaded, Loader, LoaderOptions, ModelSource, Overrides, Resolved};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/checkpoints/fixtures")
        .join(name)
}

/// A file of the demo model, which the facade embeds.
pub fn demo(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../resnest/demo");
    std::fs::read(folder.join(name)).unwrap()
}

/// Its `config.json`.
pub fn demo_config() -> String {
    String::from_utf8(demo("config.json")).unwrap()
}

/// Its weights.
pub fn demo_weights() -> Vec<u8> {
    demo("model.safetensors")
}

pub fn open(name: &str) -> Checkpoint {
    Checkpoint::open(fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

pub fn refusal(name: &str) -> String {
    match Checkpoint::open(fixture(name)) {
        Err(e) => e.to_string(),
        Ok(c) => panic!("{name} was read: {} tensors", c.len()),
    }
}

/// All tensors as (name, shape, values).
pub fn contents(checkpoint: &Checkpoint) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let floats = checkpoint.tensors().filter(|t| t.dtype().is_weight());
    floats
        .map(|t| {
            (
                t.name().to_string(),
                t.shape().to_vec(),
                t.to_f32().unwrap(),
            )
        })
        .collect()
}

/// A loader that cannot reach any hub.
pub fn loader() -> Loader {
    let mut hub = HubOptions::default();
    hub.offline = true;
    hub.cache_dir = std::env::temp_dir().join("resnest-checkpoints-no-cache");
    Loader::new(LoaderOptions::new(hub)).unwrap()
}

pub fn resolve(source: &ModelSource, overrides: &Overrides) -> Resolved {
    loader()
        .resolve(source, overrides)
        .unwrap_or_else(|e| panic!("{source}: {e}"))
}

pub fn load(source: &ModelSource, overrides: &Overrides) -> Loaded {
    let resolved = resolve(source, overrides);
    loader()
        .load(&resolved, &Device::Cpu, DType::F32)
        .unwrap_or_else(|e| panic!("{source}: {e}"))
}

pub fn folder(name: &str) -> ModelSource {
    ModelSource::LocalDir(fixture(name))
}

/// The image of make_fixtures.py: (1, chans, 40, 40).
pub fn image(chans: usize) -> Tensor {
    let value = |i: u64| ((i * 2_654_435_761) % 65_536) as f32 / 65_536.0 - 0.5;
    let values: Vec<f32> = (0..(chans * 1600) as u64).map(value).collect();
    Tensor::from_vec(values, (1, chans, 40, 40), &Device::Cpu).unwrap()
}

/// timm's recorded output of this name.
pub fn expected(name: &str) -> Vec<f32> {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let values = all[name].as_array().unwrap_or_else(|| panic!("no {name}"));
    values.iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

/// The bar: max |Δ| ≤ 1e-4 · max |expected|.
pub fn assert_close(name: &str, found: &Tensor, expected: &[f32]) {
    let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(found.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!(scale > 0.1, "{name}: the recorded output is dead");
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= 1e-4 * scale, "{name}: {f} instead of {e}");
    }
}
