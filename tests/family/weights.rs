//! The weights that the family's references were made with: the formula's, with recorded norms.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use resnest_model::{ResNetConfig, expected_tensors};

use crate::fixture::Fixture;
use crate::fixture::root::root;
use crate::formula::Formula;

/// A file of `tests/family`.
pub fn family(file: &str) -> PathBuf {
    root().join("tests/family").join(file)
}

/// Name → shape of what a configuration reads.
pub fn asked(config: &ResNetConfig) -> BTreeMap<String, Vec<usize>> {
    let tensors = expected_tensors(config).unwrap().into_iter();
    tensors.map(|tensor| (tensor.name, tensor.shape)).collect()
}

/// Names of the norms that have running statistics.
pub fn norms(tensors: &BTreeMap<String, Vec<usize>>) -> BTreeSet<String> {
    let norms = tensors
        .keys()
        .filter_map(|name| name.strip_suffix(".running_mean"));
    norms.map(str::to_owned).collect()
}

/// The weights that the reference was made with.
pub fn weights(fixture: &Fixture, config: &ResNetConfig) -> Formula {
    let norms = norms(&asked(config));
    let recorded = &fixture.tensors["norms"];
    let figures = match recorded.dim(0).unwrap() {
        0 => Vec::new(), // a network of group norms
        _ => recorded.to_vec2::<f32>().unwrap(),
    };
    assert_eq!(norms.len(), figures.len(), "{}", fixture.name);
    let last = fixture.json("last_norms");
    Formula {
        norms: norms
            .into_iter()
            .zip(figures.iter().map(|f| (f[0], f[1])))
            .collect(),
        head_scale: fixture.values("head_scale")[0] as f32,
        last_norms: serde_json::from_value(last).unwrap(),
    }
}
