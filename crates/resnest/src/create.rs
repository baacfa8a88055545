//! From a name to a model on a device: timm's `create_model`, and the parts of a classifier.

use candle_core::{DType, Device};
use resnest_image::Transform;
use resnest_loader::hub::HubOptions;
use resnest_loader::{
    Checkpoint, Loaded, Loader, LoaderOptions, ModelSource, PretrainedCfg, Resolved,
    load_checkpoint,
};
use resnest_model::{ResNet, ResNetConfig, random_weights};

use crate::options::ModelOptions;
use crate::{Error, Labels, demo};

/// Builds a network by name and loads its weights (timm's `create_model`).
///
/// `name` is `demo`, `arch[.tag]`, `hf-hub:user/repo[@rev]` or `local-dir:path`. With `pretrained: false` the weights are
/// timm's initialisation, drawn from a fixed seed; then any architecture will do, with or without a checkpoint.
///
/// ```
/// use resnest::{ModelOptions, create_model, DeviceChoice};
///
/// let options = ModelOptions { device: DeviceChoice::Cpu, ..ModelOptions::default() };
/// let model = create_model("demo", &options)?;
/// assert_eq!(model.config().num_classes, 10);
/// # Ok::<(), resnest::Error>(())
/// ```
///
/// # Errors
/// An unknown name, a failed download, weights that do not fit (every difference listed), an absent device.
pub fn create_model(name: &str, options: &ModelOptions) -> Result<ResNet, Error> {
    if !options.pretrained {
        return untrained(name, options);
    }
    let (_, loaded, _) = match name {
        demo::NAME => load_demo(options)?,
        _ => load(&name.parse()?, options)?,
    };
    Ok(loaded.model)
}

/// A network with made-up weights: by any name that `create_model` takes, or that of an architecture.
fn untrained(name: &str, options: &ModelOptions) -> Result<ResNet, Error> {
    let device = options.device.open()?;
    let config = match (name, ResNetConfig::by_name(name)) {
        (demo::NAME, _) => demo::resolve(&options.overrides)?.config,
        (_, Ok(mut config)) => {
            options.overrides.apply(&mut config);
            config
        }
        (_, Err(_)) => {
            loader(options)?
                .resolve(&name.parse()?, &options.overrides)?
                .config
        }
    };
    let weights = random_weights(0, options.dtype.unwrap_or(DType::F32), &device);
    Ok(ResNet::new(&config, weights)?)
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
    Ok(Loader::new(loader)?)
}

pub(crate) fn load(
    source: &ModelSource,
    options: &ModelOptions,
) -> Result<(Resolved, Loaded, Device), Error> {
    let device = options.device.open()?;
    let loader = loader(options)?;
    let resolved = loader.resolve(source, &options.overrides)?;
    let loaded = loader.load(&resolved, &device, options.dtype.unwrap_or(DType::F32))?;
    Ok((resolved, loaded, device))
}

pub(crate) fn load_demo(options: &ModelOptions) -> Result<(Resolved, Loaded, Device), Error> {
    let device = options.device.open()?;
    let resolved = demo::resolve(&options.overrides)?;
    let checkpoint = Checkpoint::from_bytes(demo::WEIGHTS, demo::NAME)?;
    let dtype = options.dtype.unwrap_or(DType::F32);
    let loaded = load_checkpoint(&checkpoint, &resolved, &device, dtype)?;
    Ok((resolved, loaded, device))
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
        crop_mode: cfg.crop_mode.parse()?,
        interpolation: cfg.interpolation.parse()?,
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
