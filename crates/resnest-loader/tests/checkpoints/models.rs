//! Models for the tests of the cache, and what is looked at of them and of its folder.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use resnest_loader::{
    Checkpoint, Loaded, Overrides, Resolved, WeightsCache, load_cached, load_fused, resolve_parts,
};
use resnest_model::{FuseOptions, Isa, Precision, ResNet, TensorSpec, expected_tensors};
use safetensors::{Dtype, tensor::TensorView};

use super::common::{demo_config, demo_weights};

/// A model in memory.
pub struct Model {
    pub resolved: Resolved,
    pub weights: Vec<u8>,
}

impl Model {
    pub fn new(config: &str, weights: Vec<u8>) -> Self {
        let parts = resolve_parts("model", config, weights.clone(), &Overrides::default());
        Self {
            resolved: parts.unwrap(),
            weights,
        }
    }

    pub fn demo() -> Self {
        Self::new(&demo_config(), demo_weights())
    }

    /// A network of one block a stage, with weights without any order.
    pub fn of(architecture: &str) -> Self {
        let config = format!(
            r#"{{"architecture": "{architecture}", "num_classes": 10, "model_args": {{"layers": [1, 1, 1, 1]}},
                "pretrained_cfg": {{"input_size": [3, 64, 64], "num_classes": 10}}}}"#
        );
        let none = resolve_parts(
            "model",
            &config,
            Cow::Borrowed(&[][..]),
            &Overrides::default(),
        );
        let specs = expected_tensors(&none.unwrap().config).unwrap();
        Self::new(&config, made_up(&specs))
    }

    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::from_bytes(self.weights.clone(), "model").unwrap()
    }

    pub fn packed_here(&self, options: &FuseOptions) -> ResNet {
        load_fused(&self.checkpoint(), &self.resolved, options)
            .unwrap()
            .model
    }

    pub fn cached(&self, options: &FuseOptions, folder: &Path) -> Loaded {
        let cache = WeightsCache::At(folder.to_owned());
        load_cached(&self.checkpoint(), &self.resolved, options, &cache).unwrap()
    }
}

/// A checkpoint of random numbers, norms that do something among them.
fn made_up(specs: &[TensorSpec]) -> Vec<u8> {
    let mut state = 1_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let tensors: Vec<_> = specs
        .iter()
        .map(|spec| {
            let inputs: usize = spec.shape.iter().skip(1).product();
            let (about, scale) = match spec.name.rsplit('.').next() {
                Some("running_var") => (1.0, 1.0),
                Some("weight") if spec.shape.len() == 1 => (1.0, 1.0),
                _ => (0.0, (6.0 / inputs as f32).sqrt().min(0.5)),
            };
            let values = (0..spec.elem_count()).map(|_| about + scale * random());
            let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
            (spec, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(spec, bytes)| {
        let view = TensorView::new(Dtype::F32, spec.shape.clone(), bytes).unwrap();
        (&spec.name, view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// Every map and the logits, in bits.
pub fn bits(model: &ResNet, x: &Tensor) -> Vec<u32> {
    let mut outputs = vec![
        model.forward(x).unwrap(),
        model.forward_features(x).unwrap(),
    ];
    let mut bits = Vec::new();
    for y in outputs.drain(..) {
        let values: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        assert!(values.iter().all(|v| v.is_finite()));
        bits.extend(values.iter().map(|v| v.to_bits()));
    }
    bits
}

pub fn options(precision: Precision, isa: Option<Isa>) -> FuseOptions {
    let mut options = FuseOptions::default();
    options.precision = precision;
    options.isa = isa;
    options
}

/// Files of the folder by what their names end with.
pub fn files(folder: &Path, ending: &str) -> BTreeSet<PathBuf> {
    let all = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect()
}

/// The only file of packed weights.
pub fn entry(folder: &Path) -> PathBuf {
    let mut files = files(folder, "weights");
    assert_eq!(files.len(), 1, "{files:?}");
    files.pop_first().unwrap()
}
