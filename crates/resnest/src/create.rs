//! From a name to a model on a device: timm's `create_model`, and the parts of a classifier.

use std::sync::Arc;

use candle_core::{DType, Device};
use resnest_image::Transform;
use resnest_loader::hub::HubOptions;
use resnest_loader::{
    Checkpoint, Loaded, Loader, LoaderOptions, Manifest, ModelSource, PretrainedCfg, Resolved,
    compute_type, load_cached, load_checkpoint,
};
use resnest_model::{
    FuseOptions, Precision, ResNet, ResNetConfig, arbitrary_scales, random_weights,
};

use crate::options::ModelOptions;
use crate::{Error, Labels, demo};

/// Builds a network by name and loads its weights (timm's `create_model`); on the CPU in f32 it is fused, unless
/// [`ModelOptions::fuse`] says otherwise.
///
/// `name` is `demo`, `arch[.tag]`, `hf-hub:user/repo[@rev]` or `local-dir:path`. With `pretrained: false` the weights are
/// timm's initialisation, drawn from a fixed seed; then any architecture will do, with or without a checkpoint.
///
/// ```
/// use resnest::{DeviceChoice, ModelOptions, create_model};
///
/// let mut options = ModelOptions::default();
/// options.device = DeviceChoice::Cpu;
/// let model = create_model("demo", &options)?;
/// assert_eq!(model.config().num_classes, 10);
/// assert!(model.is_fused());
/// # Ok::<(), resnest::Error>(())
/// ```
///
/// # Errors
/// An unknown name, a failed download, weights that do not fit (every difference listed), an absent device.
pub fn create_model(name: &str, options: &ModelOptions) -> Result<ResNet, Error> {
    Ok(Created::new(name, options)?.model)
}

/// A network and what goes with it: what [`create_model`] gives, and timm's `model.pretrained_cfg`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Created {
    /// The network.
    pub model: ResNet,
    /// The name to show, such as `resnest50d.in1k`.
    pub name: String,
    /// How images are prepared for it.
    pub pretrained: PretrainedCfg,
    /// Where it is.
    pub device: Device,
    /// What the user should know about the way it was loaded.
    pub warnings: Vec<String>,
}

impl Created {
    /// Builds and loads it, as [`create_model`] does.
    ///
    /// # Errors
    /// As [`create_model`].
    pub fn new(name: &str, options: &ModelOptions) -> Result<Self, Error> {
        if !options.pretrained {
            return untrained(name, options);
        }
        let opened = match name {
            demo::NAME => Opened::demo(options)?,
            _ => Opened::source(&name.parse()?, options)?,
        };
        Self::loaded(opened, options)
    }

    /// The same from where [`ModelSource`] says, a checkpoint file included.
    ///
    /// # Errors
    /// As [`create_model`].
    pub fn from_source(source: &ModelSource, options: &ModelOptions) -> Result<Self, Error> {
        Self::loaded(Opened::source(source, options)?, options)
    }

    fn loaded(opened: Opened, options: &ModelOptions) -> Result<Self, Error> {
        let size = hinted(options, &opened.resolved.pretrained);
        let Loaded { model, report } = opened.load(options, size)?;
        Ok(Self {
            model,
            name: opened.resolved.name,
            pretrained: opened.resolved.pretrained,
            device: opened.device,
            warnings: [opened.resolved.warnings, report.warnings].concat(),
        })
    }
}

/// A network with made-up weights: by any name that `create_model` takes, or that of an architecture.
fn untrained(name: &str, options: &ModelOptions) -> Result<Created, Error> {
    let (device, warnings) = options.open_device()?;
    let (config, pretrained) = untrained_config(name, options)?;
    let size = hinted(options, &pretrained);
    let dtype = options.dtype.unwrap_or(DType::F32);
    let weights = random_weights(0, dtype, &device);
    let model = if fuses(options, &device, dtype) {
        let precision = options.precision.unwrap_or_default();
        let mut fuse = fuse_options(options, precision, size);
        if precision == Precision::Int8 {
            fuse.quantization = Arc::new(arbitrary_scales(&config, size)?);
        }
        ResNet::fused(&config, weights, &fuse)?
    } else {
        ResNet::new(&config, weights)?
    };
    Ok(Created {
        model,
        name: name.to_owned(),
        pretrained,
        device,
        warnings,
    })
}

/// The network of that name, and what goes with it.
fn untrained_config(
    name: &str,
    options: &ModelOptions,
) -> Result<(ResNetConfig, PretrainedCfg), Error> {
    let resolved = match (name, ResNetConfig::by_name(name)) {
        (demo::NAME, _) => demo::resolve(&options.overrides)?,
        (_, Ok(mut config)) => {
            options.overrides.apply(&mut config);
            // An architecture without a checkpoint has none of its own.
            let pretrained = match Manifest::builtin()?.find(name) {
                Ok(found) => found.entry.pretrained.clone(),
                Err(_) => PretrainedCfg::default(),
            };
            return Ok((config, pretrained));
        }
        (_, Err(_)) => loader(options)?.resolve(&name.parse()?, &options.overrides)?,
    };
    Ok((resolved.config, resolved.pretrained))
}

/// Height and width of the images to come.
fn hinted(options: &ModelOptions, cfg: &PretrainedCfg) -> (usize, usize) {
    let [_, height, width] = cfg.input_size;
    options.size_hint.unwrap_or((height, width))
}

/// Whether the network runs on the fused kernels: where it is wanted and they can.
fn fuses(options: &ModelOptions, device: &Device, dtype: DType) -> bool {
    options.fuse && device.is_cpu() && dtype == DType::F32
}

fn fuse_options(
    options: &ModelOptions,
    precision: Precision,
    input_size: (usize, usize),
) -> FuseOptions {
    let mut made = FuseOptions::default();
    made.precision = precision;
    made.input_size = input_size;
    made.batch = options.batch_hint;
    made
}

/// How a checkpoint is computed where nobody says: in 8-bit integers if `resnest quantize` made it, else as
/// [`Precision::Fast`].
pub fn default_precision(checkpoint: &Checkpoint) -> Precision {
    match checkpoint.quantization() {
        Some(_) => Precision::Int8,
        None => Precision::default(),
    }
}

/// The loader that `options` describe.
///
/// # Errors
/// A hub setting in the environment or a manifest that cannot be used.
pub fn loader(options: &ModelOptions) -> Result<Loader, Error> {
    let hub = match &options.hub {
        Some(hub) => hub.clone(),
        None => HubOptions::from_env().map_err(resnest_loader::Error::from)?,
    };
    let mut loader = LoaderOptions::new(hub);
    loader.manifests = options.manifests.clone();
    if cfg!(feature = "demo") {
        loader.also_known.push(demo::NAME.to_owned());
    }
    Ok(Loader::new(loader)?)
}

/// A model of which all is known and here, but the network not yet built.
pub(crate) struct Opened {
    pub(crate) resolved: Resolved,
    pub(crate) device: Device,
    checkpoint: Checkpoint,
}

impl Opened {
    /// Whatever `source` names, downloaded if need be.
    pub(crate) fn source(source: &ModelSource, options: &ModelOptions) -> Result<Self, Error> {
        let (device, left_out) = options.open_device()?;
        let loader = loader(options)?;
        let mut resolved = loader.resolve(source, &options.overrides)?;
        resolved.warnings.extend(left_out);
        let checkpoint = loader.open(&resolved)?;
        Ok(Self {
            resolved,
            device,
            checkpoint,
        })
    }

    /// The embedded demo model.
    pub(crate) fn demo(options: &ModelOptions) -> Result<Self, Error> {
        let mut resolved = demo::resolve(&options.overrides)?;
        let (device, left_out) = options.open_device()?;
        resolved.warnings.extend(left_out);
        Ok(Self {
            resolved,
            device,
            checkpoint: demo::checkpoint()?,
        })
    }

    /// How exact the fused network is: what was asked for, else what goes with the checkpoint; `None` if it is not fused.
    pub(crate) fn precision(&self, options: &ModelOptions, dtype: DType) -> Option<Precision> {
        if !fuses(options, &self.device, dtype) {
            return None;
        }
        Some(
            options
                .precision
                .unwrap_or_else(|| default_precision(&self.checkpoint)),
        )
    }

    /// Its weights as they are in the file.
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Builds the network, fused for images of this height and width where it can be.
    pub(crate) fn load(
        &self,
        options: &ModelOptions,
        input_size: (usize, usize),
    ) -> Result<Loaded, Error> {
        let Self {
            checkpoint,
            resolved,
            device,
        } = self;
        let dtype = compute_type(device, options.dtype.unwrap_or(DType::F32))?;
        Ok(if let Some(precision) = self.precision(options, dtype) {
            let fuse = fuse_options(options, precision, input_size);
            load_cached(checkpoint, resolved, &fuse, &options.weights_cache)?
        } else {
            load_checkpoint(checkpoint, resolved, device, dtype)?
        })
    }
}

/// The checkpoint's own preprocessing, for a network with this many input channels.
///
/// A network of one channel takes luma, normalised by the average of the checkpoint's means and deviations (timm leaves
/// that to the caller).
///
/// # Errors
/// A crop mode or an interpolation that is none.
pub(crate) fn transform(cfg: &PretrainedCfg, in_chans: usize) -> Result<Transform, Error> {
    let [_, height, width] = cfg.input_size;
    let per_channel = |values: &[f64]| match (in_chans, values.len()) {
        (1, n) if n > 1 => vec![values.iter().sum::<f64>() / n as f64],
        _ => values.to_vec(),
    };
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    Ok(Transform {
        size: (side(height), side(width)),
        crop_pct: cfg.crop_pct,
        crop_mode: cfg.crop_mode.parse().map_err(Error::Preprocessing)?,
        interpolation: (cfg.interpolation.parse()).map_err(Error::Preprocessing)?,
        mean: per_channel(&cfg.mean),
        std: per_channel(&cfg.std),
        ..Transform::default()
    })
}

/// The model's own labels, or what is known of its number of classes.
///
/// # Errors
/// [`Error::Labels`] if it has labels for classes that are not there.
pub(crate) fn labels(resolved: &Resolved, classes: usize) -> Result<Labels, Error> {
    let Some(own) = &resolved.labels else {
        return Ok(Labels::for_classes(classes));
    };
    if let Some(last) = own.last_index().filter(|&last| last >= classes) {
        return Err(Error::Labels {
            labels: last + 1,
            classes,
        });
    }
    let texts = (0..classes).map(|i| (own.name(i), own.description(i)));
    Ok(Labels::new(texts))
}
