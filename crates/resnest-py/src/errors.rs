//! From errors of the library to Python's exceptions, which `python/resnest_rs/_errors.py` has.

use std::io::ErrorKind;
use std::path::PathBuf;

use pyo3::prelude::*;
use resnest::{Error, with_causes};

/// Why one image has no answer.
#[derive(Debug)]
pub enum Failure {
    /// The library says so.
    Of(Error),
    /// A file that cannot be read.
    Unread(PathBuf, std::io::Error),
    /// A missing value in a column.
    Null,
    /// What Pillow, or an object that said it was an image, had to say.
    Other(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Of(error)
    }
}

impl Failure {
    fn class(&self) -> &'static str {
        match self {
            Self::Of(error) if error.is_bad_image() => "ImageError",
            Self::Of(error) => class(error),
            Self::Unread(_, error) if error.kind() == ErrorKind::NotFound => "NotFoundError",
            Self::Unread(..) | Self::Null | Self::Other(_) => "ImageError",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Of(error) => error.with_causes(),
            Self::Unread(path, error) => format!("cannot read {}: {error}", path.display()),
            Self::Null => "it is null".to_owned(),
            Self::Other(message) => message.clone(),
        }
    }

    /// The exception; `index` is the image's place among several, `name` the file it came from.
    pub fn into_py(self, py: Python<'_>, index: Option<usize>, name: Option<&str>) -> PyErr {
        let name = name.filter(|_| !matches!(self, Self::Unread(..)));
        let place = match (index, name) {
            (Some(index), Some(name)) => format!("image {index} ({name}): "),
            (Some(index), None) => format!("image {index}: "),
            (None, Some(name)) => format!("{name}: "),
            (None, None) => String::new(),
        };
        raised(
            py,
            self.class(),
            (format!("{place}{}", self.message()), index),
        )
    }
}

/// The exception for an error that is of no image.
pub fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    raised(py, class(error), (error.with_causes(),))
}

/// A fault of the caller's options.
pub fn bad_option(py: Python<'_>, message: String) -> PyErr {
    raised(py, "ModelError", (message,))
}

/// Any other error.
pub fn failed(py: Python<'_>, error: &(dyn std::error::Error + 'static)) -> PyErr {
    raised(py, "ResnestError", (with_causes(error),))
}

fn class(error: &Error) -> &'static str {
    match error {
        error if error.is_bad_image() => "ImageError",
        error if error.is_unknown_model() => "ModelError",
        error if error.is_not_found() => "NotFoundError",
        error if error.is_unreachable() => "HubError",
        error if error.is_bad_checkpoint() => "CheckpointError",
        Error::Preprocessing(_)
        | Error::Model(_)
        | Error::UnknownDevice { .. }
        | Error::DeviceNotBuilt { .. }
        | Error::NotQuantized(_)
        | Error::UnknownClass { .. }
        | Error::AmbiguousClass { .. }
        | Error::ClassIndex { .. }
        | Error::NoClasses { .. }
        | Error::TensorShape { .. }
        | Error::TooManyThreads { .. } => "ModelError",
        _ => "ResnestError",
    }
}

fn raised<'py>(py: Python<'py>, class: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    let made = py
        .import("resnest_rs._errors")
        .and_then(|errors| errors.getattr(class))
        .and_then(|class| class.call1(arguments));
    made.map_or_else(|error| error, PyErr::from_value)
}
