//! From the options that name a model to the model.

use anyhow::{Error, anyhow};
use resnest::loader::Loader;
use resnest::model::keep_freed_memory;
use resnest::{
    Classifier, ClassifierOptions, HeadPolicy, MOST_THREADS, ModelOptions, ModelSource, Overrides,
    Transform, TransformOverrides, device_name,
};

use super::Failure;
use super::args::{ComputeArgs, HubArgs, ModelArgs, ReadArgs, TransformArgs};
use super::progress::hub_options;
use super::words::shown;

/// What the options say of a classifier for so many images at once.
pub fn options(
    model: &ModelArgs,
    compute: &ComputeArgs,
    transform: &TransformArgs,
    batch: usize,
) -> Result<ClassifierOptions, Failure> {
    let mut options = ClassifierOptions::default();
    options.model = model_options(&model.hub)?;
    options.model.device = compute.device;
    options.model.precision = compute.precision.asked();
    options.model.batch_hint = batch;
    options.model.weights_cache = compute.cache.weights_cache.clone().unwrap_or_default();
    options.model.overrides = overrides(&model.hub, model.num_classes);
    options.transform = transform_overrides(transform);
    options.threads = compute.threads;
    Ok(options)
}

/// The same, with what reading an image may cost.
pub fn reading(mut options: ClassifierOptions, args: &ReadArgs) -> ClassifierOptions {
    options.limits.max_memory = args.max_memory;
    options
}

/// Starts the threads that images are prepared on where no number of them was given.
fn start_threads() -> Result<(), Failure> {
    let asked = std::env::var("RAYON_NUM_THREADS").ok();
    let asked = asked.and_then(|text| text.parse::<usize>().ok());
    if let Some(threads) = asked.filter(|&threads| threads > MOST_THREADS) {
        let problem = format!("RAYON_NUM_THREADS is {threads}: it must be at most {MOST_THREADS}");
        return Err(Failure::Usage(anyhow!(problem)));
    }
    match rayon::ThreadPoolBuilder::new().build_global() {
        // Without a cause, they were there already.
        Err(error) if std::error::Error::source(&error).is_some() => {
            let problem = format!("cannot start threads: {error}; with --threads fewer may do");
            Err(Failure::Other(anyhow!(problem)))
        }
        _ => Ok(()),
    }
}

/// The classifier of this model or checkpoint; says what there is to say.
pub fn open(model: &ModelArgs, options: &ClassifierOptions) -> Result<Classifier, Failure> {
    if options.threads.is_none() {
        start_threads()?;
    }
    let name = &model.model;
    let loaded = match &model.checkpoint {
        None => Classifier::load(name, options),
        Some(path) => Classifier::from_source(
            &ModelSource::File {
                path: path.clone(),
                architecture: Some(name.clone()),
            },
            options,
        ),
    };
    let classifier = loaded.map_err(|error| failure(name, error))?;
    if !model.hub.quiet {
        announce(&classifier);
    }
    // The process is the command's own, and only now has loading given its memory back.
    keep_freed_memory();
    Ok(classifier)
}

/// Says which model runs where on what kind of input, and what should be known about it.
fn announce(classifier: &Classifier) {
    warn(classifier.warnings(), false);
    let Transform {
        size: (height, width),
        crop_mode,
        crop_pct,
        interpolation,
        ..
    } = classifier.transform();
    eprintln!(
        "{} on {}: {height}x{width}, crop {crop_mode} {crop_pct}, {interpolation}",
        shown(classifier.name()),
        device_name(classifier.device()),
    );
}

/// Says what should be known about the way a model was named or loaded.
pub fn warn(warnings: &[String], quiet: bool) {
    if !quiet {
        warnings
            .iter()
            .for_each(|w| eprintln!("warning: {}", shown(w)));
    }
}

/// A loader with the user's cache, manifests and progress bar.
pub fn loader(args: &HubArgs) -> Result<Loader, Failure> {
    resnest::model_loader(&model_options(args)?).map_err(|e| Failure::Usage(e.into()))
}

/// What the user wants otherwise than the model's config says.
pub fn overrides(args: &HubArgs, num_classes: Option<usize>) -> Overrides {
    let mut overrides = Overrides::default();
    overrides.num_classes = num_classes;
    // Naming a number of classes is the request for a new classifier.
    overrides.head = if num_classes.is_some() {
        HeadPolicy::Replace
    } else {
        HeadPolicy::Strict
    };
    overrides.revision = args.revision.clone();
    overrides
}

/// What the options say of the hub, the cache and the manifest.
pub fn model_options(args: &HubArgs) -> Result<ModelOptions, Failure> {
    let mut options = ModelOptions::default();
    options.manifests = args.manifest.clone();
    options.hub = Some(hub_options(args).map_err(Failure::Usage)?);
    Ok(options)
}

fn transform_overrides(args: &TransformArgs) -> TransformOverrides {
    let mut overrides = TransformOverrides::default();
    overrides.input_size = args.input_size;
    overrides.crop_pct = args.crop_pct;
    overrides.crop_mode = args.crop_mode;
    overrides.interpolation = args.interpolation;
    overrides
}

/// A device that is not there and a transform that makes no image are wrong usage; the rest is the model's.
pub fn failure(name: &str, error: resnest::Error) -> Failure {
    use resnest::Error as E;
    match error {
        E::DeviceNotBuilt { .. }
        | E::DeviceFailed { .. }
        | E::Preprocessing(_)
        | E::Threads { .. }
        | E::TooManyThreads { .. }
        | E::NotQuantized(_)
        | E::QuantizedAlready { .. } => Failure::Usage(error.into()),
        error => Failure::Model(Error::from(error).context(format!("model {name}"))),
    }
}
