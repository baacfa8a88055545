//! What can go wrong, each case naming the option or tensor and the way out.

/// Everything `resnest-model` can refuse.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No architecture of this name.
    #[error("unknown architecture `{name}`; nearest: {}", nearest.join(", "))]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// Known names, the nearest first.
        nearest: Vec<&'static str>,
    },
    /// An option has a value that no network can be built with.
    #[error("`{option}` = {value}: {expected}")]
    Config {
        /// The option, as it is called in [`ResNetConfig`](crate::ResNetConfig).
        option: &'static str,
        /// The value given.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// A tensor given to the network does not fit it.
    #[error("the input has shape {got:?}, but the model takes {expected}")]
    Input {
        /// The shape the model takes, in words.
        expected: String,
        /// The shape given.
        got: Vec<usize>,
    },
    /// A feature index beyond the taps of the network.
    #[error(
        "feature index {index} is out of range: the taps are 0 (stem) to {last} (last stage), or -1 to -{} from the end",
        last + 1
    )]
    FeatureIndex {
        /// The index asked for.
        index: isize,
        /// The largest index there is.
        last: usize,
    },
    /// A network, or one of its layers, that no kernels can take over.
    #[error("cannot fuse {}: {reason}", if path.is_empty() { "the network" } else { path })]
    Fuse {
        /// The layer, under the checkpoint's name; empty for the network as a whole.
        path: String,
        /// Why, and the way out.
        reason: String,
    },
    /// A candle operation failed, or a tensor of the checkpoint is missing or misshaped.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn fuse(path: &str, reason: impl std::fmt::Display) -> Self {
        Error::Fuse {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn config(
        option: &'static str,
        value: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        let value = value.to_string();
        let expected = expected.into();
        Error::Config {
            option,
            value,
            expected,
        }
    }
}

/// A result whose error is this crate's.
pub type Result<T> = std::result::Result<T, Error>;
