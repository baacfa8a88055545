//! Which models there are.

use pyo3::prelude::*;
use resnest::ResNetConfig;
use resnest::loader::Manifest;

use crate::errors::failed;

/// Names of pretrained models, with their tags, that fit a pattern of `*` and `?`; all of them without one.
#[pyfunction]
#[pyo3(signature = (pattern="*"))]
pub fn model_names(py: Python<'_>, pattern: &str) -> PyResult<Vec<String>> {
    let manifest = Manifest::builtin().map_err(|error| failed(py, &error))?;
    Ok(manifest.matching(pattern).map(|e| e.name.clone()).collect())
}

/// Names of architectures, pretrained or not.
#[pyfunction]
pub fn architectures() -> Vec<&'static str> {
    ResNetConfig::names().collect()
}
