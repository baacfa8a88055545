//! What can go wrong, each case naming the option, tensor or layer, and the way out.

use std::fmt;

/// Everything `resnest-model` can refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// The environment variable `RESNEST_ISA` names an instruction set that this CPU or build does not have.
    #[error(transparent)]
    Isa(resnest_kernels::Error),
    /// A tensor of the checkpoint is missing, misshaped, or could not be read. Displayed without the backtrace that
    /// candle's errors carry under `RUST_BACKTRACE`.
    #[error("{}", OneLine(.0))]
    Weights(candle_core::Error),
    /// The kernels refuse a layer that passed all checks of this crate.
    #[error("cannot pack the weights of `{path}` for the kernels")]
    Pack {
        /// The layer, under the checkpoint's name.
        path: String,
        /// The kernels' reason.
        source: resnest_kernels::Error,
    },
    /// A candle operation failed. Displayed without the backtrace that candle's errors carry under `RUST_BACKTRACE`.
    #[error("{}", OneLine(.0))]
    Candle(candle_core::Error),
}

// Not `#[from]`, which makes it the source too: a report of the chain would say everything twice.
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Error::Candle(error)
    }
}

impl Error {
    /// Whether what was asked for is known to be wrong: an unknown name, options that no network can have, an input of
    /// another shape, a layer or weights that cannot be fused, an unknown instruction set. Of the rest,
    /// [`Error::Weights`] is about the checkpoint; [`Error::Pack`] and [`Error::Candle`] are failed computations.
    pub fn is_invalid_request(&self) -> bool {
        match self {
            Error::UnknownModel { .. }
            | Error::Config { .. }
            | Error::Input { .. }
            | Error::FeatureIndex { .. }
            | Error::Fuse { .. }
            | Error::Isa(_) => true,
            Error::Weights(_) | Error::Pack { .. } | Error::Candle(_) => false,
        }
    }

    pub(crate) fn fuse(path: &str, reason: impl Into<String>) -> Self {
        Error::Fuse {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn pack(path: &str, source: resnest_kernels::Error) -> Self {
        Error::Pack {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn config(
        option: &'static str,
        value: impl fmt::Display,
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

/// A candle error as one sentence: candle shows backtraces and contexts on lines of their own.
struct OneLine<'a>(&'a candle_core::Error);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            candle_core::Error::WithBacktrace { inner, .. } => OneLine(inner).fmt(f),
            candle_core::Error::Context { inner, context } => {
                write!(f, "{context}: {}", OneLine(inner))
            }
            candle_core::Error::WithPath { inner, path } => {
                write!(f, "{}: {}", path.display(), OneLine(inner))
            }
            other => other.fmt(f),
        }
    }
}

/// A result whose error is this crate's.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use std::backtrace::Backtrace;
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_candle_error_is_one_line_whatever_it_carries() {
        let missing = candle_core::Error::CannotFindTensor {
            path: "fc.weight".to_owned(),
        };
        let traced = candle_core::Error::WithBacktrace {
            inner: Box::new(missing),
            backtrace: Box::new(Backtrace::force_capture()),
        };
        let placed = traced.context("reading").with_path("model.safetensors");
        assert!(placed.to_string().contains('\n'));
        let error = Error::from(placed);
        let expected = "model.safetensors: reading: cannot find tensor fc.weight";
        assert_eq!(error.to_string(), expected);
        assert!(error.source().is_none());
    }

    #[test]
    fn what_the_kernels_say_is_kept_as_the_source() {
        let refused = resnest_kernels::ConvSpec::new(3, 0, 1).validate();
        let error = Error::pack("conv1", refused.unwrap_err());
        assert!(!error.is_invalid_request());
        let source = error.source().unwrap();
        assert!(source.is::<resnest_kernels::Error>());
        assert!(!error.to_string().contains(&source.to_string()));
    }
}
