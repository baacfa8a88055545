//! A layer's place in a file of packed weights.

use super::buffer::Aligned;
use super::mapped::MappedWeights;
use crate::error::{Error, check_len};
use crate::tuning::LINE;
use std::ops::Range;
use std::sync::Arc;

/// Bytes to a multiple of which every buffer of a written layer is filled up, so that each begins on a cache line.
pub(crate) const BUFFER_ALIGN: usize = LINE * size_of::<f32>();

/// One layer of [`MappedWeights`]: its buffers in the order in which they were written, each filled up to a cache line.
#[derive(Debug)]
pub struct MappedLayer {
    weights: Arc<MappedWeights>,
    /// Bytes that no buffer has been taken from.
    left: Range<usize>,
}

impl MappedLayer {
    /// The layer that was [written](crate::PackedConv::write_to) to these bytes of `weights`. `None` unless they lie
    /// inside, from one multiple of 64 to another.
    pub fn new(weights: &Arc<MappedWeights>, bytes: Range<usize>) -> Option<Self> {
        let inside = weights.bytes().get(bytes.clone())?;
        let whole = [bytes.start, bytes.end]
            .iter()
            .all(|at| at.is_multiple_of(BUFFER_ALIGN));
        // Where the file begins is a page, and of a copy (under Miri) any place.
        let aligned = inside.as_ptr().cast::<f32>().is_aligned();
        (whole && aligned).then(|| MappedLayer {
            weights: Arc::clone(weights),
            left: bytes,
        })
    }

    /// The next buffer, of `len` values.
    pub(crate) fn buffer(&mut self, len: usize) -> Result<Aligned, Error> {
        let bytes = len
            .checked_mul(size_of::<f32>())
            .and_then(|bytes| bytes.checked_next_multiple_of(BUFFER_ALIGN))
            .filter(|bytes| *bytes <= self.left.len());
        let Some(bytes) = bytes else {
            return Err(Error::Length {
                name: "what is left of the packed layer",
                found: self.left.len() / size_of::<f32>(),
                expected: len,
            });
        };
        let start = self.left.start / size_of::<f32>();
        self.left.start += bytes;
        Ok(Aligned::mapped(Arc::clone(&self.weights), start, len))
    }

    /// Fails unless all of the layer has become buffers.
    pub(crate) fn end(&self) -> Result<(), Error> {
        check_len("the rest of the packed layer", self.left.len(), 0)
    }
}
