//! What can go wrong in the facade, and what to do about it.

/// Errors of [`crate::Classifier`] and [`crate::create_model`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image could not be decoded or prepared.
    #[error(transparent)]
    Image(#[from] resnest_image::Error),
    /// The model's name, configuration or weights could not be had.
    #[error(transparent)]
    Load(#[from] resnest_loader::Error),
    /// The model refused its configuration or its input.
    #[error(transparent)]
    Model(#[from] resnest_model::Error),
    /// A tensor operation failed on the device.
    #[error("computation failed: {0}")]
    Compute(#[from] candle_core::Error),
    /// A panic in the preparation of an image or in the computation, which was contained.
    #[error("it failed in a way it should not ({detail}): please report this image and model")]
    Panicked {
        /// The panic's message.
        detail: String,
    },
    /// A device name that is none of the known ones.
    #[error("unknown device {text:?}: use one of auto, cpu, cuda, cuda:N, metal")]
    UnknownDevice {
        /// What was asked for.
        text: String,
    },
    /// The device's support is not in this build.
    #[error(
        "device {device} is not in this build: rebuild with `cargo build --release --features {feature}`, \
         or choose --device cpu"
    )]
    DeviceNotBuilt {
        /// The device asked for.
        device: String,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// The device is compiled in but cannot be opened.
    #[error("device {device} cannot be opened: {reason}; choose --device cpu to go on without it")]
    DeviceFailed {
        /// The device asked for.
        device: String,
        /// What the driver said.
        reason: String,
    },
    /// The model has no classifier, so there is nothing to predict.
    #[error(
        "model {model} has num_classes 0, and so no classes to tell apart: it gives features (`Classifier::features`, \
         `resnest features`); load it with a classifier to classify"
    )]
    NoClasses {
        /// The model's name.
        model: String,
    },
    /// No class of this name.
    #[error(
        "unknown class {text:?}: {}",
        if nearest.is_empty() { "the model has no classes".to_owned() } else {
            format!("give an index (0 to {}), a name or words of its description; nearest: {}", classes - 1, nearest.join(", "))
        }
    )]
    UnknownClass {
        /// What was asked for.
        text: String,
        /// How many classes there are.
        classes: usize,
        /// The classes with the most similar names.
        nearest: Vec<String>,
    },
    /// A name that several classes have.
    #[error("class {text:?} may be any of: {}; choose one by index or name", candidates.join(", "))]
    AmbiguousClass {
        /// What was asked for.
        text: String,
        /// The classes it may be.
        candidates: Vec<String>,
    },
    /// A class index beyond the model's classes.
    #[error("class {index} is out of range: the model has classes 0 to {}", classes.saturating_sub(1))]
    ClassIndex {
        /// What was asked for.
        index: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// Values that do not make a map of the given sides.
    #[error("{values} values are no map of {height}x{width}")]
    MapSize {
        /// How many values there are.
        values: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// The number of labels and the number of classes differ.
    #[error(
        "{labels} labels for {classes} classes: the labels in the model's config.json do not fit its classifier"
    )]
    Labels {
        /// How many labels there are.
        labels: usize,
        /// How many classes the model has.
        classes: usize,
    },
    /// A logit is not a finite number.
    #[error(
        "class {index} got the logit {value}: the weights or the input hold values out of range"
    )]
    NotFinite {
        /// The first such class.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A recorded reference that cannot be read, or is of another network.
    #[error("reference {name}: {reason}")]
    Reference {
        /// The file.
        name: String,
        /// What is missing or does not fit.
        reason: String,
    },
    /// The thread pool could not be made.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the operating system said.
        reason: String,
    },
    /// A ready tensor of the wrong shape.
    #[error("the tensor has shape {got:?}, expected (N, {channels}, H, W)")]
    TensorShape {
        /// Its shape.
        got: Vec<usize>,
        /// The channels the model takes.
        channels: usize,
    },
}

/// Runs `work`; a panic in it is an error like any other, and nothing is printed.
pub(crate) fn contained<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    resnest_image::contain(work).unwrap_or_else(|detail| Err(Error::Panicked { detail }))
}
