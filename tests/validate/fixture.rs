//! The 60 images, what timm says of them, and running the command on them.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use super::common::{command, root, stderr, stdout};

pub fn folder() -> PathBuf {
    root().join("tests/validate/images")
}

pub fn images() -> String {
    folder().display().to_string()
}

/// `timm.json`.
pub struct Recorded {
    /// The images that can be read, in timm's order.
    pub files: Vec<String>,
    pub targets: Vec<usize>,
    pub logits: Vec<Vec<f64>>,
    pub broken: Vec<String>,
    pub json: Value,
}

impl Recorded {
    pub fn read() -> Self {
        let path = root().join("tests/validate/timm.json");
        let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let this = Self {
            files: serde_json::from_value(json["files"].clone()).unwrap(),
            targets: serde_json::from_value(json["targets"].clone()).unwrap(),
            logits: serde_json::from_value(json["logits"].clone()).unwrap(),
            broken: serde_json::from_value(json["broken"].clone()).unwrap(),
            json,
        };
        assert_eq!((this.files.len(), this.broken.len()), (57, 3));
        this
    }

    /// Copies the readable images that `wanted` wants, under the name that `named` gives.
    pub fn copy(
        &self,
        to: &Path,
        wanted: impl Fn(usize) -> bool,
        named: impl Fn(usize, &str) -> String,
    ) {
        for (index, file) in self.files.iter().enumerate().filter(|(i, _)| wanted(*i)) {
            let target = to.join(named(index, file));
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(folder().join(file), target).unwrap();
        }
    }
}

/// Runs `resnest validate` with the demo model.
pub fn validate_to(data: &str, options: &[&str], format: &str) -> Output {
    let base = ["validate", data, "--model", "demo", "--format", format];
    command(&[&base[..], options].concat()).output().unwrap()
}

/// Everything it found out.
pub fn validate(data: &str, options: &[&str]) -> (Value, Output) {
    let output = validate_to(data, options, "json");
    let all: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}{}", stdout(&output), stderr(&output)));
    assert_eq!(all.len(), 1);
    (all.into_iter().next().unwrap(), output)
}

/// timm's table, from `--results-file`.
pub fn table(scratch: &Path, data: &str, options: &[&str]) -> (Value, Output) {
    let file = scratch.join("results.json");
    let more = ["--results-file", file.to_str().unwrap()];
    let output = validate_to(data, &[options, &more].concat(), "text");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    (serde_json::from_str(&text).unwrap(), output)
}

/// A result without what differs from run to run.
pub fn untimed(mut result: Value) -> Value {
    let object = result.as_object_mut().unwrap();
    object.remove("timing").unwrap();
    object.remove("data").unwrap();
    result
}
