//! What a caller may change about a model, its preprocessing and the way it runs.

use std::path::PathBuf;

use candle_core::{DType, Device};
use resnest_image::{CropMode, Interpolation, Limits, Transform};
use resnest_loader::hub::HubOptions;
use resnest_loader::{Overrides, WeightsCache};
use resnest_model::Precision;

use crate::{DeviceChoice, Error};

/// How [`crate::create_model`] builds a network and fills it: start from the default and set what differs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelOptions {
    /// Where it runs.
    pub device: DeviceChoice,
    /// Where it runs, if that is open already; `device` is then not looked at.
    pub opened_device: Option<Device>,
    /// What it computes in; by default f32. The CPU computes f16 and bf16 checkpoints in f32 too.
    pub dtype: Option<DType>,
    /// How exact the fused kernels are; by default `Int8` for a checkpoint that `resnest quantize` made, `Fast` for any other.
    /// It makes no difference to networks that are not fused (another device or type, `fuse: false`): their convolutions
    /// are candle's.
    pub precision: Option<Precision>,
    /// Run on the fused kernels of `resnest-kernels`, on the CPU in f32 (the default). `false` is the reference path:
    /// candle's own operations, many times slower, which the kernels are held to.
    pub fuse: bool,
    /// Height and width of the images to come, from which the kernels' algorithms are chosen; by default the
    /// checkpoint's. A [`crate::Classifier`] takes those of its own preprocessing. A hint: other sizes run too.
    pub size_hint: Option<(usize, usize)>,
    /// Images in a batch to come, for the same choice. A hint: other batches run too.
    pub batch_hint: usize,
    /// Load the weights (the default), or start from timm's initialisation.
    pub pretrained: bool,
    /// Differences from the model's own config: classes, input channels, pool, stride, revision, and what happens to
    /// a classifier with another number of classes than the checkpoint's.
    pub overrides: Overrides,
    /// Files with more entries for the manifest.
    pub manifests: Vec<PathBuf>,
    /// Cache, endpoint, token, offline; by default as the environment says.
    pub hub: Option<HubOptions>,
    /// Where fused networks keep their packed weights, to share them with other processes; by default as the environment
    /// says (`docs/weights-cache.md`).
    pub weights_cache: WeightsCache,
}

impl ModelOptions {
    /// The device that is open already, or the chosen one, opened now, and why no better one was taken.
    pub(crate) fn open_device(&self) -> Result<(Device, Vec<String>), Error> {
        match &self.opened_device {
            Some(device) => Ok((device.clone(), Vec::new())),
            None => self.device.open_and_explain(),
        }
    }
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            opened_device: None,
            dtype: None,
            precision: None,
            fuse: true,
            size_hint: None,
            batch_hint: 1,
            pretrained: true,
            overrides: Overrides::default(),
            manifests: Vec::new(),
            hub: None,
            weights_cache: WeightsCache::default(),
        }
    }
}

/// What a precision is called: `fast`, `exact`, `bf16`, `int8`, and `unfused` where the convolutions are candle's.
pub fn precision_name(precision: Option<Precision>) -> &'static str {
    match precision {
        None => "unfused",
        Some(Precision::Fast) => "fast",
        Some(Precision::Exact) => "exact",
        Some(Precision::Bf16) => "bf16",
        Some(Precision::Int8) => "int8",
    }
}

/// How a [`crate::Classifier`] is loaded; [`crate::Classifier::builder`] sets them one by one.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ClassifierOptions {
    /// The network.
    pub model: ModelOptions,
    /// Differences from the checkpoint's preprocessing.
    pub transform: TransformOverrides,
    /// What one image may cost.
    pub limits: Limits,
    /// Threads for packing weights, decoding and computing; by default as many as `RAYON_NUM_THREADS` says, or the CPUs.
    pub threads: Option<usize>,
    /// timm's `--test-pool`: at sizes above the default, pool in windows of the trained size, with crop_pct 1.
    pub test_time_pool: bool,
    /// Take a network without classes too, for its features; to classify with it is then the error.
    pub headless: bool,
}

/// Differences from the preprocessing that goes with the checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct TransformOverrides {
    /// Height and width in pixels.
    pub input_size: Option<(u32, u32)>,
    /// Share of the resized edge that the crop keeps.
    pub crop_pct: Option<f64>,
    /// How an image of any shape becomes the model's.
    pub crop_mode: Option<CropMode>,
    /// The resize filter.
    pub interpolation: Option<Interpolation>,
}

impl TransformOverrides {
    /// `transform` with what is set here replaced.
    pub fn apply_to(&self, mut transform: Transform) -> Transform {
        if let Some(size) = self.input_size {
            transform.size = size;
        }
        if let Some(crop_pct) = self.crop_pct {
            transform.crop_pct = crop_pct;
        }
        if let Some(crop_mode) = self.crop_mode {
            transform.crop_mode = crop_mode;
        }
        if let Some(interpolation) = self.interpolation {
            transform.interpolation = interpolation;
        }
        transform
    }
}
