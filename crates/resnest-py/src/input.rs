//! One image in whatever form it comes.

use std::borrow::Cow;
use std::path::PathBuf;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use resnest::image::{ColorMode, Limits, decode_as};
use resnest::{Classifier, Image, Pixels};

use crate::arrow::{self, Cell};
use crate::errors::Failure;

/// One image, ready for threads that know nothing of Python.
#[derive(Debug)]
pub enum Input {
    /// Encoded, in an object that does not change.
    Bytes(PyBackedBytes),
    /// Encoded, copied from an object that may.
    Owned(Vec<u8>),
    /// Encoded, in a column.
    Cell(Cell),
    /// In a file.
    Path(PathBuf),
    /// Decoded.
    Picture(Image),
    /// Nothing that could be read.
    Broken(String),
    /// Nothing.
    Null,
}

impl Input {
    /// Takes an image from Python. `mode` is what decoded pictures of other modes are converted to.
    ///
    /// # Errors
    /// `TypeError` for an object that is no image; what a file's `read` raises.
    pub fn of(object: &Bound<'_, PyAny>, mode: ColorMode) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.clone().into()));
        }
        if object.is_none() {
            return Ok(Self::Null);
        }
        if object.is_instance_of::<PyString>() || object.hasattr("__fspath__")? {
            return Ok(Self::Path(object.extract()?));
        }
        if is_pillow(object)? {
            return Ok(pillow(object, mode)
                .unwrap_or_else(|error| Self::Broken(said(object.py(), &error))));
        }
        if let Some(input) = buffer(object)? {
            return Ok(input);
        }
        if object.hasattr("read")? {
            return Self::of_file(object);
        }
        if object.hasattr("__array__")? {
            let array = object
                .py()
                .import("numpy")?
                .call_method1("asarray", (object,))?;
            // A tensor of torch, for one.
            return buffer(&array)?.ok_or_else(|| no_picture(&array));
        }
        if object.hasattr("as_py")? {
            // A value of pyarrow, as one gets them from a column one by one.
            let value = object.call_method0("as_py")?;
            if value.is_none()
                || value.is_instance_of::<PyBytes>()
                || value.is_instance_of::<PyString>()
            {
                return Self::of(&value, mode);
            }
        }
        Err(PyTypeError::new_err(format!(
            "{} is no image: give encoded bytes, a path, a Pillow image, a uint8 array (H, W, 3), or an open file",
            described(object)
        )))
    }

    fn of_file(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let read = object.call_method0("read")?;
        match read.cast::<PyBytes>() {
            Ok(bytes) => Ok(Self::Bytes(bytes.clone().into())),
            Err(_) => Err(PyTypeError::new_err(format!(
                "the file gave {}, not bytes: open it with mode \"rb\"",
                described(&read)
            ))),
        }
    }

    /// The file it comes from.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Path(path) => Some(path.display().to_string()),
            _ => None,
        }
    }

    /// Keeps a picture's memory for the next one of this thread.
    pub fn recycle(self) {
        match self {
            Self::Picture(image) if image.data.len() <= MOST_KEPT => PIXELS.set(image.data),
            _ => {}
        }
    }

    /// Reads and decodes it to the channels of `mode`, if it is not decoded yet.
    pub fn decode(&self, mode: ColorMode, limits: &Limits) -> Result<Cow<'_, Image>, Failure> {
        let decoded = |bytes: &[u8]| {
            let image = decode_as(bytes, mode, limits).map_err(resnest::Error::from)?;
            Ok(Cow::Owned(image))
        };
        match self {
            Self::Bytes(bytes) => decoded(bytes),
            Self::Owned(bytes) => decoded(bytes),
            Self::Cell(cell) => decoded(cell.bytes()),
            Self::Path(path) => {
                let read = std::fs::read(path);
                decoded(&read.map_err(|error| Failure::Unread(path.clone(), error))?)
            }
            Self::Picture(image) => Ok(Cow::Borrowed(image)),
            Self::Broken(reason) => Err(Failure::Other(reason.clone())),
            Self::Null => Err(Failure::Null),
        }
    }

    /// All the way to what `classifier` computes.
    pub fn prepare(&self, classifier: &Classifier) -> Result<Pixels, Failure> {
        let mode = classifier.transform().color_mode();
        let image = self.decode(mode, classifier.limits())?;
        Ok(classifier.preprocess_image(&*image)?)
    }
}

thread_local! {
    /// Memory of a picture that is done with: see `transform.rs`.
    static PIXELS: std::cell::Cell<Vec<u8>> = const { std::cell::Cell::new(Vec::new()) };
}

/// Of larger pictures the memory is not kept.
const MOST_KEPT: usize = 16 << 20;

/// So many bytes with anything in them.
fn pixels(len: usize) -> Vec<u8> {
    let mut pixels = PIXELS.take();
    pixels.resize(len, 0);
    pixels
}

/// What was given: one image, or some.
pub enum Given<'py> {
    One(Bound<'py, PyAny>),
    Many(Source<'py>),
}

/// Where images come from, one after the other.
pub enum Source<'py> {
    /// A Python iterator.
    Objects(Bound<'py, PyAny>),
    /// Rows of a column.
    Cells(std::vec::IntoIter<Input>),
}

impl<'py> Given<'py> {
    /// Tells one image from several.
    pub fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
            return Ok(Self::Many(Source::Objects(object.try_iter()?.into_any())));
        }
        if is_one(object)? {
            return Ok(Self::One(object.clone()));
        }
        if let Some(cells) = arrow::cells(object)? {
            return Ok(Self::Many(Source::Cells(cells.into_iter())));
        }
        if object.hasattr("__len__")? && object.hasattr("__iter__")? {
            return Ok(Self::Many(Source::Objects(object.try_iter()?.into_any())));
        }
        if object.hasattr("__next__")? {
            return Err(PyTypeError::new_err(
                "an iterator may have more images than memory holds: use stream(), or list() it",
            ));
        }
        Ok(Self::One(object.clone()))
    }
}

impl<'py> Source<'py> {
    /// For `stream`: anything that can be iterated over.
    pub fn of_iterable(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        match Given::of(object) {
            Ok(Given::Many(source)) => Ok(source),
            _ if is_one(object)? => Err(PyTypeError::new_err(format!(
                "{} is one image: stream() takes an iterable of images",
                described(object)
            ))),
            _ => Ok(Self::Objects(object.try_iter()?.into_any())),
        }
    }

    /// The next image, the one at place `at`; `None` after the last.
    pub fn next(&mut self, mode: ColorMode, at: usize) -> Option<PyResult<Input>> {
        match self {
            Self::Cells(cells) => cells.next().map(Ok),
            Self::Objects(iterator) => {
                let py = iterator.py();
                let next = iterator.cast::<pyo3::types::PyIterator>();
                let next = next.map(|iterator| iterator.clone().next());
                match next {
                    // What the iterator itself raises stays as it is.
                    Ok(next) => next.map(|object| {
                        Input::of(&object?, mode).map_err(|error| placed(py, error, at))
                    }),
                    Err(error) => Some(Err(error.into())),
                }
            }
        }
    }
}

/// An object that is no image, with its place.
fn placed(py: Python<'_>, error: PyErr, at: usize) -> PyErr {
    match error.get_type(py).is(py.get_type::<PyTypeError>()) {
        true => PyTypeError::new_err(format!("image {at}: {}", error.value(py))),
        false => error,
    }
}

/// Whether an object is one image though it may look like several: bytes have a length, pictures too.
fn is_one(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if object.is_instance_of::<PyBytes>()
        || object.is_instance_of::<PyString>()
        // An answer for each key would surprise.
        || object.is_instance_of::<PyDict>()
        || object.hasattr("__fspath__")?
        || is_pillow(object)?
        || object.hasattr("read")?
    {
        return Ok(true);
    }
    if object.hasattr("__arrow_c_stream__")? || object.hasattr("__arrow_c_array__")? {
        return Ok(false);
    }
    // A shape of four is several pictures, and an array of objects holds some.
    match PyBuffer::<u8>::get(object) {
        Ok(buffer) => Ok(buffer.dimensions() < 4),
        Err(_) => match object.getattr("shape").and_then(|shape| shape.len()) {
            Ok(sides) => Ok(sides == 2 || sides == 3),
            Err(_) => Ok(false),
        },
    }
}

/// A Pillow image; where Pillow was never imported there is none.
fn is_pillow(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let modules = object.py().import("sys")?.getattr("modules")?;
    let pillow = modules.call_method1("get", ("PIL.Image",))?;
    if pillow.is_none() {
        return Ok(false);
    }
    object.is_instance(&pillow.getattr("Image")?)
}

/// Pillow's own conversion, and its pixels.
fn pillow(object: &Bound<'_, PyAny>, mode: ColorMode) -> PyResult<Input> {
    let (name, channels) = match mode {
        ColorMode::Luma => ("L", 1),
        _ => ("RGB", 3),
    };
    let image = match object.getattr("mode")?.extract::<String>()? == name {
        true => object.clone(),
        false => object.call_method1("convert", (name,))?,
    };
    let (width, height) = image.getattr("size")?.extract()?;
    let bytes = image.call_method0("tobytes")?.extract::<PyBackedBytes>()?;
    let mut data = pixels(bytes.len());
    data.copy_from_slice(&bytes);
    Ok(picture(height, width, channels, data))
}

/// An object with the buffer protocol: of one dimension, encoded bytes; of two and three, a picture.
fn buffer(object: &Bound<'_, PyAny>) -> PyResult<Option<Input>> {
    let Ok(buffer) = PyBuffer::<u8>::get(object) else {
        return Ok(None);
    };
    let shape = buffer.shape().to_vec();
    let (height, width, channels) = match shape[..] {
        [_] => return Ok(Some(Input::Owned(buffer.to_vec(object.py())?))),
        [height, width] => (height, width, 1),
        [height, width, channels @ (1 | 3)] => (height, width, channels as u8),
        _ => {
            return Err(PyTypeError::new_err(format!(
                "an array of shape {shape:?} is no image: pictures are (H, W, 3), (H, W, 1) or (H, W)"
            )));
        }
    };
    let (height, width) = match (u32::try_from(height), u32::try_from(width)) {
        (Ok(height), Ok(width)) => (height, width),
        _ => {
            return Ok(Some(Input::Broken(format!(
                "{height}x{width} pixels are beyond any image"
            ))));
        }
    };
    let mut data = pixels(buffer.item_count());
    buffer.copy_to_slice(object.py(), &mut data)?;
    Ok(Some(picture(height, width, channels, data)))
}

/// Of an array that is no buffer of bytes.
fn no_picture(array: &Bound<'_, PyAny>) -> PyErr {
    let dtype = array
        .getattr("dtype")
        .map_or_else(|_| "objects".to_owned(), |dtype| dtype.to_string());
    PyTypeError::new_err(format!(
        "an array of {dtype} is no image: pictures are uint8, (H, W, 3) or (H, W)"
    ))
}

fn picture(height: u32, width: u32, channels: u8, data: Vec<u8>) -> Input {
    match Image::new(width, height, channels, data) {
        Ok(image) => Input::Picture(image),
        Err(error) => Input::Broken(error.to_string()),
    }
}

/// An exception's type and words.
fn said(py: Python<'_>, error: &PyErr) -> String {
    let kind = error
        .get_type(py)
        .name()
        .map_or_else(|_| "error".to_owned(), |name| name.to_string());
    format!("Pillow cannot read it ({kind}: {})", error.value(py))
}

/// An object of this type, in words.
fn described(object: &Bound<'_, PyAny>) -> String {
    match object.get_type().fully_qualified_name() {
        Ok(name) => format!("an object of type {name}"),
        Err(_) => "an object".to_owned(),
    }
}
