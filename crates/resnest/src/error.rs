//! What can go wrong in the facade, and what to do about it.

/// Errors of [`crate::Classifier`] and [`crate::create_model`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image could not be decoded or prepared.
    #[error(transparent)]
    Image(#[from] resnest_image::Error),
    /// A preprocessing option that describes no image, such as an input size of 0.
    #[error(transparent)]
    Preprocessing(resnest_image::Error),
    /// No model is called so, or the hub has no such repository or revision.
    #[error(transparent)]
    UnknownModel(Box<resnest_loader::Error>),
    /// The hub could not be reached, or was not to be (offline), and the cache does not have it.
    #[error(transparent)]
    Unreachable(Box<resnest_loader::Error>),
    /// A file or folder that is not there.
    #[error(transparent)]
    NotFound(Box<resnest_loader::Error>),
    /// Weights that cannot be read, or do not fit the network.
    #[error(transparent)]
    Checkpoint(Box<resnest_loader::Error>),
    /// The model could not be had for another reason: a setting, a configuration, the system.
    #[error(transparent)]
    Load(Box<resnest_loader::Error>),
    /// int8 was asked for, and the checkpoint is not quantised.
    #[error(transparent)]
    NotQuantized(Box<resnest_loader::Error>),
    /// The model refused its configuration or its input.
    #[error(transparent)]
    Model(#[from] resnest_model::Error),
    /// A tensor operation failed on the device.
    #[error("the computation failed")]
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
    #[error("device {device} is not in this build, which lacks the cargo feature `{feature}`")]
    DeviceNotBuilt {
        /// The device asked for.
        device: String,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// The device is compiled in but cannot be opened.
    #[error("device {device} cannot be opened")]
    DeviceFailed {
        /// The device asked for.
        device: String,
        /// What the driver said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The demo model is not in this build.
    #[error("the demo model is not in this build, which lacks the cargo feature `demo`")]
    DemoNotBuilt,
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
    /// A model that is to be quantised, and is.
    #[error("{model} is quantised already: quantise the checkpoint that it was made from")]
    QuantizedAlready {
        /// Its name.
        model: String,
    },
    /// A layer that was to be left in f32 is none of the network's convolutions.
    #[error("no convolution is called {layer:?}; `resnest info MODEL --plan` lists them")]
    NoSuchLayer {
        /// The name.
        layer: String,
    },
    /// Not one image to calibrate with could be read.
    #[error("no image could be read, and a network is quantised by what images make of it")]
    NothingToCalibrate,
    /// A recorded reference that cannot be read, or is of another network.
    #[error("reference {name}: {reason}")]
    Reference {
        /// The file.
        name: String,
        /// What is missing or does not fit.
        reason: String,
    },
    /// The thread pool could not be made.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the operating system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// More threads than any machine gains by.
    #[error("{threads} threads are too many: the most is {most}")]
    TooManyThreads {
        /// How many were asked for.
        threads: usize,
        /// [`crate::MOST_THREADS`].
        most: usize,
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

impl Error {
    /// Whether the image is at fault: broken, of no known format, over the limits. Another image may do.
    pub fn is_bad_image(&self) -> bool {
        matches!(self, Self::Image(error) if error.is_bad_image())
    }

    /// Whether the hub could not be reached: another time it may be.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// Whether the name is at fault.
    pub fn is_unknown_model(&self) -> bool {
        matches!(self, Self::UnknownModel(_))
    }

    /// Whether a file or folder is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// Whether the weights are at fault.
    pub fn is_bad_checkpoint(&self) -> bool {
        matches!(self, Self::Checkpoint(_))
    }

    /// The message and those of its causes, with `: ` between and no backtraces: what is said to people.
    pub fn with_causes(&self) -> String {
        with_causes(self)
    }
}

impl From<resnest_loader::Error> for Error {
    fn from(error: resnest_loader::Error) -> Self {
        match error {
            error if error.is_unknown_model() => Self::UnknownModel(error.into()),
            error if error.is_unreachable() => Self::Unreachable(error.into()),
            error if error.is_not_found() => Self::NotFound(error.into()),
            error @ resnest_loader::Error::NotQuantized { .. } => Self::NotQuantized(error.into()),
            error if error.is_bad_checkpoint() => Self::Checkpoint(error.into()),
            error => Self::Load(error.into()),
        }
    }
}

/// See [`Error::with_causes`]; a cause that the message above it quotes is not said twice.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = plain(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let said = plain(cause);
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// The message alone: candle's errors bring their backtraces along where `RUST_BACKTRACE` asks for them.
fn plain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut candle = error.downcast_ref::<candle_core::Error>();
    while let Some(candle_core::Error::WithBacktrace { inner, .. }) = candle {
        candle = Some(inner);
    }
    candle.map_or_else(|| error.to_string(), ToString::to_string)
}

/// Runs `work`; a panic in it is an error like any other, and nothing is printed.
pub(crate) fn contained<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    resnest_image::contain(work).unwrap_or_else(|detail| Err(Error::Panicked { detail }))
}
