//! What can be wrong with a request to this crate.

/// Errors of the kernels: each names the argument at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment forces an instruction set that is unknown or absent.
    #[error("RESNEST_ISA={name}: this CPU and build can run {}; unset it to take the best", available.join(", "))]
    Isa {
        /// What the variable says.
        name: String,
        /// What it could say.
        available: Vec<&'static str>,
    },
    /// A convolution or pool that cannot be built or does not fit its input.
    #[error("{field}: {problem}")]
    Spec {
        /// The field of the specification.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A weight that is no finite number, or is none once a norm is folded into it.
    #[error("{name}, output channel {channel}: {problem}")]
    NotFinite {
        /// The argument, or the field of the norm, that is at fault.
        name: &'static str,
        /// The output channel.
        channel: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A slice of the wrong length.
    #[error("{name} holds {found} values where {expected} are needed")]
    Length {
        /// The argument.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
}

impl Error {
    pub(crate) fn spec(field: &'static str, problem: impl Into<String>) -> Self {
        Error::Spec {
            field,
            problem: problem.into(),
        }
    }
}

/// Fails unless `found == expected`.
pub(crate) fn check_len(name: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Length {
            name,
            found,
            expected,
        })
    }
}

#[cfg(feature = "candle")]
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        candle_core::Error::wrap(error)
    }
}
