//! How a classifier is asked for.

use std::path::PathBuf;

use candle_core::{DType, Device};
use resnest_image::{CropMode, Interpolation, Limits};
use resnest_loader::hub::HubOptions;
use resnest_loader::{HeadPolicy, ModelSource, Overrides, WeightsCache};
use resnest_model::{PoolType, Precision};

use crate::options::ClassifierOptions;
use crate::{Classifier, DeviceChoice, Error};

/// What [`Classifier::builder`] gives: every choice has a default, [`load`](Self::load) does the work.
///
/// ```no_run
/// use resnest::{Classifier, DeviceChoice};
///
/// let classifier = Classifier::builder("resnest50d")
///     .device(DeviceChoice::Cpu)
///     .threads(4)
///     .input_size(320)
///     .offline(true)
///     .load()?;
/// # Ok::<(), resnest::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is loaded before `load` is called"]
pub struct ClassifierBuilder {
    name: String,
    checkpoint: Option<PathBuf>,
    options: ClassifierOptions,
    offline: Option<bool>,
    cache_dir: Option<PathBuf>,
    endpoint: Option<String>,
    token: Option<String>,
}

/// Height and width in pixels: `320` for a square, or `(height, width)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputSize {
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
}

impl From<u32> for InputSize {
    fn from(side: u32) -> Self {
        Self {
            height: side,
            width: side,
        }
    }
}

impl From<(u32, u32)> for InputSize {
    fn from((height, width): (u32, u32)) -> Self {
        Self { height, width }
    }
}

impl ClassifierBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            checkpoint: None,
            options: ClassifierOptions::default(),
            offline: None,
            cache_dir: None,
            endpoint: None,
            token: None,
        }
    }

    /// Weights from this file (.safetensors, .safetensors.index.json, .pth, .bin) for the architecture of that name.
    pub fn checkpoint(mut self, file: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(file.into());
        self
    }

    /// Where it computes; by default the best device there is.
    pub fn device(mut self, choice: DeviceChoice) -> Self {
        self.options.model.device = choice;
        self
    }

    /// Computes on this device, which is open already.
    pub fn opened_device(mut self, device: Device) -> Self {
        self.options.model.opened_device = Some(device);
        self
    }

    /// What it computes in; by default f32. The CPU computes f16 and bf16 in f32 too.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.options.model.dtype = Some(dtype);
        self
    }

    /// How exact the CPU's convolutions are; by default [`Precision::Int8`] for a checkpoint that `resnest quantize` made,
    /// [`Precision::Fast`] for any other.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.options.model.precision = Some(precision);
        self
    }

    /// `false`: candle's own operations in place of the fused kernels, many times slower.
    pub fn fuse(mut self, fuse: bool) -> Self {
        self.options.model.fuse = fuse;
        self
    }

    /// Threads for packing weights, decoding and computing; 0 for as many as there are CPUs. By default as many as
    /// `RAYON_NUM_THREADS` says, else the CPUs.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = Some(threads);
        self
    }

    /// Images in a batch to come: the kernels' algorithms are chosen for it, and so many are computed at once.
    pub fn batch_hint(mut self, images: usize) -> Self {
        self.options.model.batch_hint = images;
        self
    }

    /// Input size in pixels, `320` or `(height, width)`; by default the checkpoint's.
    pub fn input_size(mut self, size: impl Into<InputSize>) -> Self {
        let InputSize { height, width } = size.into();
        self.options.transform.input_size = Some((height, width));
        self
    }

    /// Share of the resized edge that the crop keeps; by default the checkpoint's.
    pub fn crop_pct(mut self, crop_pct: f64) -> Self {
        self.options.transform.crop_pct = Some(crop_pct);
        self
    }

    /// How an image of any shape becomes the model's; by default the checkpoint's.
    pub fn crop_mode(mut self, mode: CropMode) -> Self {
        self.options.transform.crop_mode = Some(mode);
        self
    }

    /// The resize filter; by default the checkpoint's.
    pub fn interpolation(mut self, filter: Interpolation) -> Self {
        self.options.transform.interpolation = Some(filter);
        self
    }

    /// What one image may cost.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Another number of classes than the checkpoint's: the classifier is then a new one, untrained. 0 for none, which
    /// needs [`headless`](Self::headless) too.
    pub fn num_classes(mut self, classes: usize) -> Self {
        self.options.model.overrides.num_classes = Some(classes);
        self.options.model.overrides.head = HeadPolicy::Replace;
        self
    }

    /// Another number of input channels; the stem's weights are adapted as timm does it.
    pub fn in_chans(mut self, channels: usize) -> Self {
        self.options.model.overrides.in_chans = Some(channels);
        self
    }

    /// Another pool before the classifier.
    pub fn global_pool(mut self, pool: PoolType) -> Self {
        self.options.model.overrides.global_pool = Some(pool);
        self
    }

    /// Every difference from the model's own configuration at once.
    pub fn overrides(mut self, overrides: Overrides) -> Self {
        self.options.model.overrides = overrides;
        self
    }

    /// timm's `--test-pool`: at sizes above the default, pool in windows of the trained size, with crop_pct 1.
    pub fn test_time_pool(mut self, wanted: bool) -> Self {
        self.options.test_time_pool = wanted;
        self
    }

    /// Take a network without classes too, for its features; to classify with it is then the error.
    pub fn headless(mut self, wanted: bool) -> Self {
        self.options.headless = wanted;
        self
    }

    /// A file with more models, with entries like `weights-manifest.toml`'s.
    pub fn manifest(mut self, file: impl Into<PathBuf>) -> Self {
        self.options.model.manifests.push(file.into());
        self
    }

    /// Branch, tag or commit in the model's repository.
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.options.model.overrides.revision = Some(revision.into());
        self
    }

    /// Use only what is in the hub's cache, or go to the network whatever `HF_HUB_OFFLINE` says.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = Some(offline);
        self
    }

    /// Where downloads are kept; by default where Python's huggingface_hub keeps them.
    pub fn cache_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(folder.into());
        self
    }

    /// Where packed weights are kept, to be shared with other processes, or [`WeightsCache::Off`]; by default as
    /// `RESNEST_WEIGHTS_CACHE` says.
    pub fn weights_cache(mut self, cache: WeightsCache) -> Self {
        self.options.model.weights_cache = cache;
        self
    }

    /// Another hub than `HF_ENDPOINT`'s or huggingface.co.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Sent to the hub, for private and gated models; by default `HF_TOKEN` or what `hf auth login` has kept.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Every setting of the hub client at once, in place of the environment's.
    pub fn hub(mut self, options: HubOptions) -> Self {
        self.options.model.hub = Some(options);
        self
    }

    /// All of it at once; what is set after this call changes it.
    pub fn options(mut self, options: ClassifierOptions) -> Self {
        self.options = options;
        self
    }

    /// Loads it.
    ///
    /// # Errors
    /// As [`Classifier::load`].
    pub fn load(mut self) -> Result<Classifier, Error> {
        self.options.model.hub = self.hub_options()?;
        match self.checkpoint {
            None => Classifier::load(&self.name, &self.options),
            Some(path) => {
                let architecture = Some(self.name);
                let source = ModelSource::File { path, architecture };
                Classifier::from_source(&source, &self.options)
            }
        }
    }

    /// The settings given, or the environment's, with what was set one by one.
    fn hub_options(&mut self) -> Result<Option<HubOptions>, Error> {
        let asked = self.offline.is_some()
            || self.cache_dir.is_some()
            || self.endpoint.is_some()
            || self.token.is_some();
        let given = self.options.model.hub.take();
        if !asked {
            return Ok(given);
        }
        let mut hub = match given {
            Some(hub) => hub,
            None => HubOptions::from_env().map_err(resnest_loader::Error::from)?,
        };
        if let Some(offline) = self.offline {
            hub.offline = offline;
        }
        if let Some(cache_dir) = self.cache_dir.take() {
            hub.cache_dir = cache_dir;
        }
        if let Some(endpoint) = self.endpoint.take() {
            hub.endpoint = endpoint.trim_end_matches('/').to_owned();
        }
        hub.token = self.token.take().or(hub.token);
        Ok(Some(hub))
    }
}
