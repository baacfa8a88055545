//! Where the buffers of a packed convolution come from.

use crate::error::Error;
use crate::memory::buffer::Aligned;
use crate::memory::layer::MappedLayer;

/// What a convolution is packed from. Every algorithm asks for its buffers here, in one order, and fills them if they
/// are new: so a layer that is taken from a file has the buffers that were written, and their sizes are computed in one
/// place.
pub(crate) enum Origin<'a> {
    /// Weights as they were read: buffers are zeros, to be filled.
    Read(ReadWeights<'a>),
    /// A layer that was packed before: buffers are full.
    Mapped(MappedLayer),
}

/// Weights as they were read.
#[derive(Clone, Copy)]
pub(crate) struct ReadWeights<'a> {
    /// `[out][in / groups][k][k]`
    pub weight: &'a [f32],
    /// `[out]`
    pub bias: Option<&'a [f32]>,
}

impl<'a> Origin<'a> {
    /// The next buffer, of `len` values.
    ///
    /// # Errors
    /// When the layer that was packed before has not so many left.
    pub fn buffer(&mut self, len: usize) -> Result<Aligned, Error> {
        match self {
            Origin::Read(_) => Ok(Aligned::zeros(len)),
            Origin::Mapped(layer) => layer.buffer(len),
        }
    }

    /// What the buffers are to be filled with; `None` if they are full.
    pub fn read(&self) -> Option<ReadWeights<'a>> {
        match self {
            Origin::Read(weights) => Some(*weights),
            Origin::Mapped(_) => None,
        }
    }

    /// Fails if a layer that was packed before is larger than the buffers taken from it.
    pub fn end(&self) -> Result<(), Error> {
        match self {
            Origin::Read(_) => Ok(()),
            Origin::Mapped(layer) => layer.end(),
        }
    }
}
