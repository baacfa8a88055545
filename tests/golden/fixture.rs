//! Reading a recorded reference, and comparing with it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

#[allow(
    clippy::duplicate_mod,
    reason = "tests with tests/common have it from there too"
)]
#[path = "../common/root.rs"]
pub mod root;
use root::root;

/// A folder of `tests/golden`.
#[allow(
    dead_code,
    reason = "shared by #[path]; the family's files lie elsewhere"
)]
pub fn folder(kind: &str) -> PathBuf {
    recorded("golden").join(kind)
}

/// A folder of the top-level `tests`, whichever crate is tested.
#[allow(dead_code, reason = "shared by #[path]; not all read recorded files")]
pub fn recorded(name: &str) -> PathBuf {
    root().join("tests").join(name)
}

/// One file written by `make_small.py` or `make_full.py`.
pub struct Fixture {
    pub name: String,
    pub metadata: HashMap<String, String>,
    pub tensors: HashMap<String, Tensor>,
}

impl Fixture {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            metadata: metadata.metadata().clone().unwrap(),
            tensors: candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap(),
        }
    }

    /// The references that one file holds, under the names its tensors begin with.
    #[allow(
        dead_code,
        reason = "shared by #[path]; only the family's files hold several"
    )]
    pub fn read_all(path: &Path) -> Vec<Self> {
        let whole = Self::read(path);
        let mut parts: Vec<Self> = (whole.metadata.iter())
            .filter_map(|(name, about)| {
                let Ok(Value::Object(about)) = serde_json::from_str(about) else {
                    return None;
                };
                let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
                Some(Self {
                    name: name.clone(),
                    metadata: about.iter().map(|(k, v)| (k.clone(), text(v))).collect(),
                    tensors: HashMap::new(),
                })
            })
            .collect();
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        for (key, tensor) in whole.tensors {
            let (name, key) = key.split_once('/').unwrap();
            let index = parts.binary_search_by(|part| part.name.as_str().cmp(name));
            parts[index.unwrap()].tensors.insert(key.to_owned(), tensor);
        }
        parts
    }

    /// A field of the metadata, parsed.
    pub fn json(&self, field: &str) -> Value {
        serde_json::from_str(&self.metadata[field]).unwrap()
    }

    /// A recorded tensor as f64 values.
    pub fn values(&self, name: &str) -> Vec<f64> {
        values(&self.tensors[name])
    }
}

/// The elements of a tensor in order, as f64.
pub fn values(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    flat.to_vec1().unwrap()
}

/// The largest magnitude.
pub fn max_abs(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, v| max.max(v.abs()))
}

/// The largest difference of two lists of equal length; NaN if either holds one.
pub fn max_diff(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let larger = |max: f64, d: f64| if d.is_nan() || d > max { d } else { max };
    let diffs = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    diffs.fold(0.0, larger)
}

/// The first of the recorded stages from which `got` is further than `tolerance` of its largest
/// value.
pub fn first_departure<'a>(
    stages: impl IntoIterator<Item = (&'a str, Vec<f64>, Vec<f64>)>,
    tolerance: f64,
) -> Option<String> {
    stages.into_iter().find_map(|(stage, got, expected)| {
        if got.len() != expected.len() {
            return Some(format!(
                "{stage}: {} values, not {}",
                got.len(),
                expected.len()
            ));
        }
        let (diff, scale) = (max_diff(&got, &expected), max_abs(&expected));
        let within = diff <= tolerance * scale;
        (!within).then(|| format!("{stage} departs: {diff:.2e} at a largest value of {scale:.2e}"))
    })
}
