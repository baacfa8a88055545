//! A quantised network in memory, and what is written of it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use resnest_model::{InputScale, ResNet, ResNetConfig};
use serde_json::Value;

use super::file;
use super::layers::Kept;
use super::network::{self, Tensors};
use super::weights::Quantized as Weight;
use crate::Error;
use crate::output::Output;

/// A quantised network.
#[derive(Debug)]
pub struct Quantized {
    pub(super) config: ResNetConfig,
    /// With the rounded weights and the corrected biases.
    pub(super) tensors: Tensors,
    pub(super) layers: BTreeMap<String, (Weight, InputScale)>,
    pub(super) kept: Vec<Kept>,
    pub(super) model_config: Value,
    pub(super) images: usize,
}

impl Quantized {
    /// How the input of every quantised convolution is quantised, under the checkpoint's names.
    pub fn inputs(&self) -> BTreeMap<String, InputScale> {
        let inputs = self.layers.iter();
        inputs
            .map(|(path, (_, input))| (path.clone(), *input))
            .collect()
    }

    /// The convolutions that stay in f32.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Images that it was calibrated on.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The network of the rounded weights, as candle's operations in f32: with a [`Simulation`](super::Simulation) of the
    /// [inputs](Self::inputs) it computes what the integer kernels are to compute.
    ///
    /// # Errors
    /// What candle gives.
    pub fn twin(&self) -> Result<ResNet, Error> {
        network::build(&self.config, &self.tensors)
    }

    /// Writes the checkpoint, a .safetensors file, whole or not at all. Equal networks are equal files.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        self.write_to(Output::create(path)?)
    }

    /// The same to a place that was kept free for it.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_to(&self, output: Output) -> io::Result<()> {
        let architecture = self.model_config.get("architecture");
        let architecture = architecture.and_then(Value::as_str).unwrap_or_default();
        let metadata = [
            ("architecture", architecture.to_owned()),
            ("calibration_images", self.images.to_string()),
            ("config", self.model_config.to_string()),
            (
                "made_by",
                concat!("resnest ", env!("CARGO_PKG_VERSION")).to_owned(),
            ),
        ];
        file::write(output, &self.tensors, &self.layers, &metadata)
    }
}
