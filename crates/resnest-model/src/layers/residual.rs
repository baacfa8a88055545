//! What a residual block adds to its result, and whether the sum may be written over it.

use std::ops::Deref;

use candle_core::Tensor;

/// A map (N, C, H, W) that a block is given or adds to its result.
#[derive(Debug)]
pub(crate) enum Residual<'a> {
    /// Others hold it too and may still read it: an image's map, a map that a caller takes.
    Borrowed(&'a Tensor),
    /// Nobody else holds it: the block's result may be written over it.
    Owned(Tensor),
}

impl Deref for Residual<'_> {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        match self {
            Residual::Borrowed(map) => map,
            Residual::Owned(map) => map,
        }
    }
}
