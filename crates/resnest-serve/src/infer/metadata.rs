//! What a model takes and gives, in the protocol's terms: what both doors tell clients who ask.

use super::inputs::{IMAGE, PIXELS, TENSOR};
use super::outputs::{EMBEDDINGS, ERRORS, names};
use super::tensor::DataType;
use crate::models::Model;

/// What this server calls itself.
pub const SERVER: &str = "resnest";
/// The protocol's extensions that are served.
pub const EXTENSIONS: [&str; 5] = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
];
/// The model's kind: project and format.
pub const PLATFORM: &str = "timm_safetensors";

/// A tensor that a model takes or gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorMetadata {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub datatype: DataType,
    /// Sizes, -1 for any; the first is the number of images.
    pub shape: Vec<i64>,
}

/// A model's inputs, of which a request gives one.
pub fn inputs(model: &Model) -> Vec<TensorMetadata> {
    let [channels, height, width] = model.input_shape().map(size);
    vec![
        tensor(IMAGE, DataType::Bytes, &[]),
        tensor(PIXELS, DataType::Uint8, &[-1, -1, -1]),
        tensor(TENSOR, DataType::Fp32, &[channels, height, width]),
    ]
}

/// A model's outputs.
pub fn outputs(model: &Model) -> Vec<TensorMetadata> {
    let each = names(model).into_iter();
    each.map(|name| match name {
        ERRORS => tensor(name, DataType::Bytes, &[]),
        EMBEDDINGS => tensor(name, DataType::Fp32, &[size(model.features)]),
        _ => tensor(name, DataType::Fp32, &[size(model.classes())]),
    })
    .collect()
}

fn tensor(name: &'static str, datatype: DataType, of_image: &[i64]) -> TensorMetadata {
    TensorMetadata {
        name,
        datatype,
        shape: [&[-1], of_image].concat(),
    }
}

fn size(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
