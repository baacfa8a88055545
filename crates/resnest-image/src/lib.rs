//! Encoded images to the pixels and tensors that timm and Pillow would make of them.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod batch;
mod decode;
mod error;
mod geometry;
mod limits;
mod normalise;
mod options;
mod pixels;
mod resize;
mod transform;

pub use batch::{apply_batch, decode_batch};
pub use decode::{DecodeOptions, Format, Header, decode, decode_as, decode_with, probe};
pub use error::{Error, Result};
pub use limits::{Limits, PILLOW_MAX_PIXELS};
pub use options::{ColorMode, CropMode, Interpolation, PassOrder};
pub use pixels::Image;
pub use resize::Kernel;
pub use transform::Transform;
